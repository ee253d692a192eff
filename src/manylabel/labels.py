"""The label space: label names in order, and the meaning of the targets 1, 0 and -1.

Everywhere in manylabel, targets are `int8`: 1 present, 0 absent, -1 unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.errors import DataError

PRESENT: Final = 1
ABSENT: Final = 0
UNKNOWN: Final = -1

_SHOWN: Final = 20
"""How many label names a message lists."""


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


@final
class LabelSpace:
    """Label names in a fixed order. The index of a label is its column in targets and logits.

    Args:
        names: The names in order, none empty and none repeated.
        where: What they were read from, for error messages.

    Raises:
        DataError: There is no name, a name is empty, or a name is repeated.

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
        if not self.names:
            raise DataError(
                "There are no labels.", where=where, fix="Give at least one label name."
            )
        if any(not name.strip() for name in self.names):
            raise DataError("A label name is empty.", where=where, fix="Give every label a name.")
        if len(self._index) < len(self.names):
            twice = repeated(self.names)
            raise DataError(
                f"Label names are given more than once: {', '.join(twice[:5])}.",
                where=where,
                fix="Give each label name once.",
            )

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
