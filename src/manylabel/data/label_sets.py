"""Label sets: a small TOML file renames, merges, implies, drops and orders labels.

The parts are applied in this order. Each part uses the names that the parts before it give:

    rename -> merge -> parents -> drop or only -> order
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from manylabel.config import Config, parse, parse_toml
from manylabel.data.records import Box, Records
from manylabel.errors import ConfigError, DataError
from manylabel.files import read_text
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace
from manylabel.text import some_names

_Names = Annotated[tuple[str, ...], Field(min_length=1)]

_CLOSE: Final = 0.75
"""Names at least this similar, 0..1, may be one name with a mistake in it."""
_LISTS: Final = frozenset({"drop", "only", "order"})


class LabelSet(Config):
    """The changes to the labels of a data set."""

    rename: Mapping[str, str] = {}
    """New names of labels: `"old" = "new"`."""
    merge: Mapping[str, _Names] = {}
    """Labels that become one label: `"new" = ["a", "b"]`."""
    parents: Mapping[str, _Names] = {}
    """Labels that a label implies: `"dog" = ["animal"]`. Parents may be new labels, and they may
    have parents themselves."""
    drop: tuple[str, ...] = ()
    """Labels to leave out."""
    only: tuple[str, ...] = ()
    """Labels to keep; all others are left out. It cannot be given together with `drop`."""
    order: tuple[str, ...] = ()
    """Labels that come first, in this order. The others follow in their old order."""

    @model_validator(mode="after")
    def _check(self) -> LabelSet:
        if self.drop and self.only:
            raise ValueError("drop and only cannot be given together: give one of them")
        for table in ("merge", "parents"):
            # In TOML, a list below the line [merge] belongs to that table.
            below = sorted(_LISTS & getattr(self, table).keys())
            if below:
                raise ValueError(f"{below[0]!r} is in [{table}]; write it above all tables")
        for name in ("drop", "only", "order"):
            _require_once(getattr(self, name), name)
        merged = [label for labels in self.merge.values() for label in labels]
        _require_once(merged, "merge")
        _children_first(_children(self.parents))
        return self


def read_label_set(path: Path) -> LabelSet:
    """The label set in a TOML file.

    Raises:
        DataError: The file is missing or is not a text file.
        ConfigError: It is not TOML, or a key or value is not valid.
    """
    try:
        tables = parse_toml(read_text(path))
    except ValueError as error:
        raise ConfigError(
            f"The label set is not valid TOML: {error}.", where=str(path), fix="Correct that line."
        ) from None
    return parse(LabelSet, tables, where=str(path))


def apply(label_set: LabelSet, records: Records, *, where: str = "the label set") -> Records:
    """The records with the labels changed, and a note on every change.

    A merged label is present if any of its parts is present, absent if all are absent, and
    otherwise unknown. A parent is present if any of its children is present. If none is, a parent
    that the data set has keeps its target. A new parent is then absent if all its children are
    absent, and otherwise unknown. All other unknown targets (-1) stay unknown. Boxes get the new
    names. Boxes of labels that are left out are removed.

    In a data set whose images name the labels that they have, a label that the set names and no
    image does is absent in all of them, unless its name is nearly that of another label.

    Args:
        label_set: The changes.
        records: The records as a reader returns them.
        where: What the label set was read from, for messages.

    Raises:
        DataError: A named label does not exist, a label would exist twice, or no label is left.
    """
    records = _with_unnamed(label_set, records)
    before = records.targets
    labels = _LabelColumns(records.labels.names, before, {name: name for name in records.labels})
    notes: list[str] = []
    for change in (_rename, _merge, _imply, _leave_out, _put_in_order):
        labels, note = change(labels, label_set, where)
        notes += note
    space = LabelSpace(labels.names, where=where)
    bare = (before == PRESENT).any(axis=1) & ~(labels.targets == PRESENT).any(axis=1)
    if bare.any():
        notes.append(f"Images without a present label after this: {np.count_nonzero(bare):,}")
    kept = {old: new for old, new in labels.boxes.items() if new in space}
    boxes = None
    if records.boxes is not None:
        boxes = tuple(_relabelled(of_image, kept) for of_image in records.boxes)
        lost = sum(map(len, records.boxes)) - sum(map(len, boxes))
        if lost:
            notes.append(f"Boxes that are left out with their labels: {lost:,}")
    changed = replace(records, labels=space, targets=labels.targets, boxes=boxes)
    return changed.with_notes(*notes)


def _with_unnamed(label_set: LabelSet, records: Records) -> Records:
    """The records with the labels that the label set names and no image does, absent in all.

    A name that nearly is that of a label is taken for a mistake, and is not added.
    """
    if not records.absent_if_unnamed:
        return records
    wanted = dict.fromkeys(name for name in _named_before(label_set) if name not in records.labels)
    added = [name for name in wanted if not get_close_matches(name, records.labels, cutoff=_CLOSE)]
    if not added:
        return records
    wider = records.relabelled(LabelSpace([*records.labels, *added]))
    what = "Labels of the label set that no image names, taken as absent"
    note = f"{what}: {len(added):,} ({some_names(added)})"
    return replace(wider, notes=(*records.notes, note), absent_if_unnamed=True)


def _named_before(label_set: LabelSet) -> list[str]:
    """The names that a label set needs, without those that it makes itself."""
    merged = [part for parts in label_set.merge.values() for part in parts]
    kept = (*label_set.drop, *label_set.only, *label_set.order)
    made = {*label_set.rename.values(), *label_set.merge, *chain(*label_set.parents.values())}
    names = (*label_set.rename, *merged, *label_set.parents, *kept)
    return [name for name in names if name not in made]


def _relabelled(boxes: tuple[Box, ...], names: Mapping[str, str]) -> tuple[Box, ...]:
    return tuple(replace(box, label=names[box.label]) for box in boxes if box.label in names)


@dataclass(frozen=True)
class _LabelColumns:
    """The labels between two changes.

    `names` has C names, `targets` is int8 [N, C], and `boxes` maps the old names to the new ones.
    """

    names: tuple[str, ...]
    targets: NDArray[np.int8]
    boxes: Mapping[str, str]

    def column(self, name: str) -> NDArray[np.int8]:
        return self.targets[:, self.at[name]]

    @cached_property
    def at(self) -> Mapping[str, int]:
        """The column of each name."""
        return {name: i for i, name in enumerate(self.names)}

    def renamed(self, names: Mapping[str, str]) -> Mapping[str, str]:
        """`boxes` after some labels were renamed."""
        return {old: names.get(new, new) for old, new in self.boxes.items()}

    def chosen(self, names: Sequence[str]) -> _LabelColumns:
        """Only these labels, in this order."""
        columns = [self.at[name] for name in names]
        return replace(self, names=tuple(names), targets=self.targets[:, columns])


_Result = tuple[_LabelColumns, list[str]]


def _rename(labels: _LabelColumns, label_set: LabelSet, where: str) -> _Result:
    new = label_set.rename
    _require_known(new, labels.at, f"{where}, [rename]")
    names = tuple(new.get(name, name) for name in labels.names)
    _require_distinct(names, f"{where}, [rename]")
    changed = replace(labels, names=names, boxes=labels.renamed(new))
    return changed, [f"Labels renamed: {len(new):,}"] if new else []


def _merge(labels: _LabelColumns, label_set: LabelSet, where: str) -> _Result:
    merge = label_set.merge
    if not merge:
        return labels, []
    for new, parts in merge.items():
        _require_known(parts, labels.at, f"{where}, merge.{new!r}")
    whole = {part: new for new, parts in merge.items() for part in parts}
    # A merged label takes the position of the first of its parts.
    wholes = [whole.get(name, name) for name in labels.names]
    names = tuple(dict.fromkeys(wholes))
    for new in merge:
        if new in labels.at and new not in whole:
            raise _twice(new, f"{where}, merge.{new!r}", f"Add {new!r} to its parts.")
    targets = np.stack(
        [
            _any([labels.column(part) for part in merge[name]])
            if name in merge
            else labels.column(name)
            for name in names
        ],
        axis=1,
    )
    note = f"Labels merged: {len(whole):,} into {len(merge):,} ({_listed(merge)})"
    return _LabelColumns(names, targets, labels.renamed(whole)), [note]


def _imply(labels: _LabelColumns, label_set: LabelSet, where: str) -> _Result:
    children = _children(label_set.parents)
    if not children:
        return labels, []
    known = dict.fromkeys((*labels.names, *children))
    _require_known(label_set.parents, known, f"{where}, [parents]")
    columns = dict(zip(labels.names, labels.targets.T, strict=True))
    overruled: dict[str, int] = {}
    for parent in _children_first(children):
        implied = _any([columns[child] for child in children[parent]])
        given = columns.get(parent, implied)
        overruled[parent] = int(np.count_nonzero((given == ABSENT) & (implied == PRESENT)))
        columns[parent] = np.where(implied == PRESENT, implied, given)
    new = [name for name in known if name not in labels.at]
    notes = [f"New labels that others imply: {_listed(new)}"] if new else []
    if any(overruled.values()):
        counts = ", ".join(f"{name} {count:,}" for name, count in overruled.items() if count)
        notes.append(f"Changed from absent to present because a child is present: {counts}")
    names = tuple(known)
    targets = np.stack([columns[name] for name in names], axis=1)
    return replace(labels, names=names, targets=targets), notes


def _leave_out(labels: _LabelColumns, label_set: LabelSet, where: str) -> _Result:
    drop, only = label_set.drop, label_set.only
    _require_known(drop, labels.at, f"{where}, drop")
    _require_known(only, labels.at, f"{where}, only")
    out = set(drop) | (set(labels.names) - set(only) if only else set())
    names = [name for name in labels.names if name not in out]
    if not names:
        raise DataError(
            "No label is left.", where=f"{where}, drop", fix="Leave out fewer of the labels."
        )
    shown = _listed(name for name in labels.names if name in out)
    notes = [f"Labels left out: {len(out):,} ({shown})"] if out else []
    return labels.chosen(names), notes


def _put_in_order(labels: _LabelColumns, label_set: LabelSet, where: str) -> _Result:
    _require_known(label_set.order, labels.at, f"{where}, order")
    return labels.chosen(list(dict.fromkeys((*label_set.order, *labels.names)))), []


def _any(columns: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
    """Targets [N]: present if any column is present, absent if all are absent, else unknown."""
    stacked = np.stack(columns)
    some = np.where((stacked == ABSENT).all(axis=0), ABSENT, UNKNOWN)
    return np.where((stacked == PRESENT).any(axis=0), PRESENT, some).astype(np.int8)


def _children(parents: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The children of each parent."""
    children: dict[str, list[str]] = {}
    for child, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(child)
    return children


def _children_first(children: Mapping[str, Sequence[str]]) -> list[str]:
    """The parents, sorted so that each comes after those of its children that are parents.

    Raises:
        ValueError: There is no such order, because labels imply one another in a circle.
    """
    try:
        order = list(TopologicalSorter(children).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise ValueError(f"labels imply one another in a circle: {circle}") from None
    return [name for name in order if name in children]


def _require_known(names: Iterable[str], known: Collection[str], where: str) -> None:
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=3)
            shown = " or ".join(map(repr, close))
            fix = f"Did you mean {shown}?" if close else f"There are {_listed(known)}."
            raise DataError(f"There is no label {name!r}.", where=where, fix=fix)


def _require_distinct(names: Sequence[str], where: str) -> None:
    for name in _repeated(names):
        raise _twice(name, where, "To make one label from several, use [merge].")


def _twice(name: str, where: str, fix: str) -> DataError:
    return DataError(f"The label {name!r} would exist twice.", where=where, fix=fix)


def _require_once(names: Sequence[str], table: str) -> None:
    for name in _repeated(names):
        raise ValueError(f"{table} names {name!r} more than once")


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")
