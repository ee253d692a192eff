"""The label space: label names in order, and the meaning of the targets 1, 0 and -1.

Everywhere in manylabel, targets are `int8`: 1 present, 0 absent, -1 unknown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Final, final
from unicodedata import category, normalize

import numpy as np
from numpy.typing import NDArray

from manylabel.errors import DataError

PRESENT: Final = 1
ABSENT: Final = 0
UNKNOWN: Final = -1

MAX_LABELS: Final = 200_000
"""The largest number of labels."""
MAX_NAME: Final = 1000
"""The largest number of characters of a label name."""

_NO_WIDTH: Final = re.compile("[\u200b\u2060\ufeff\u00ad]")
"""Characters that nobody sees and that join or shape no letters."""

_UNSEEN: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode's categories of control characters, characters that only shape others, and spaces."""

_SHOWN: Final = 20
"""How many label names a message lists."""


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


@final
class LabelSpace:
    """Label names in a fixed order. The index of a label is its column in targets and logits.

    Args:
        names: The names in order, none empty and none repeated. At most 200,000 names of at most
            1,000 characters.
        where: What they were read from, for error messages.

    Raises:
        DataError: There is no name or there are too many; or a name is empty, is repeated, looks
            as another one, is too long, or is not valid Unicode.

    Example:
        >>> labels = LabelSpace(["cat", "dog"])
        >>> labels.index("dog"), labels[0], len(labels)
        (1, 'cat', 2)
        >>> labels.encode(["dog"]).tolist()
        [0, 1]
    """

    def __init__(self, names: Iterable[str], *, where: str = "label names") -> None:
        self.names: tuple[str, ...] = tuple(names)
        self._index = {name: i for i, name in enumerate(self.names)}
        if (fault := _fault(self.names)) is not None:
            what, fix = fault
            raise DataError(what, where=where, fix=fix)

    @classmethod
    def numbered(cls, count: int) -> LabelSpace:
        """`count` labels with numbers from 1 as names, for where only their count matters.

        Example:
            >>> LabelSpace.numbered(3).names
            ('1', '2', '3')
        """
        return cls(str(number) for number in range(1, count + 1))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSpace) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        return f"LabelSpace({len(self.names)}: {shown})"

    def index(self, name: str) -> int:
        """The column of `name`.

        Raises:
            DataError: There is no such label. The error suggests the closest names.
        """
        try:
            return self._index[name]
        except KeyError:
            close = get_close_matches(name, self.names, n=3)
            more = ", ..." if len(self) > _SHOWN else ""
            fix = f"Known labels: {', '.join(self.names[:_SHOWN])}{more}."
            if close:
                fix = f"Did you mean {' or '.join(map(repr, close))}?"
            raise DataError(f"Unknown label {name!r}.", where="label space", fix=fix) from None

    def encode(self, present: Iterable[str], unknown: Iterable[str] = ()) -> NDArray[np.int8]:
        """The targets [C] in {1, 0, -1} of one image; labels in neither list are absent."""
        targets = np.zeros(len(self), dtype=np.int8)
        for name in unknown:
            targets[self.index(name)] = UNKNOWN
        for name in present:
            targets[self.index(name)] = PRESENT
        return targets

    def decode(self, targets: NDArray[np.int8]) -> list[str]:
        """The names of the labels that are present in `targets` [C]."""
        return [name for name, target in zip(self.names, targets, strict=True) if target == PRESENT]


def _fault(names: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with label names, and how to mend it; None if nothing is."""
    if not names:
        return "There are no labels.", "Give at least one label name."
    if len(names) > MAX_LABELS:
        return (
            f"There are {len(names):,} labels, more than {MAX_LABELS:,}.",
            "Leave out rare labels, for instance with a label set.",
        )
    for name in names:
        if (fault := _fault_of_name(name)) is not None:
            return fault
    if twice := repeated(names):
        return (
            f"Label names are given more than once: {', '.join(twice[:5])}.",
            "Give each label name once.",
        )
    # One name may be written with different characters: "é" is one character or two.
    if twice := repeated(_as_seen(name) for name in names):
        return (
            f"Label names look the same but differ in their characters: {', '.join(twice[:5])}.",
            "Write each name in one way (Unicode's form NFC), or merge them with a label set.",
        )
    return None


def _as_seen(name: str) -> str:
    """The name in one form of Unicode, without characters that have no width."""
    return name if name.isascii() else normalize("NFC", _NO_WIDTH.sub("", name))


def _fault_of_name(name: str) -> tuple[str, str] | None:
    if all(category(character) in _UNSEEN for character in name):
        what = "empty" if not name.strip() else f"only of characters that are not seen: {name!r}"
        return f"A label name is {what}.", "Give every label a name."
    if len(name) > MAX_NAME:
        return (
            f"A label name has {len(name):,} characters, more than {MAX_NAME:,}: {name[:40]!r}...",
            "Give it a shorter name.",
        )
    if any("\ud800" <= character <= "\udfff" for character in name):
        return (
            f"A label name holds half a character: {name[:40]!r}.",
            "Write the name in UTF-8.",
        )
    return None
