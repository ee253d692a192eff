"""Examples: tables of photographs with labels, matched with a folder and merged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.tabular import LABEL_NAMES, find_column
from manylabel.data.formats.text_table import read_rows
from manylabel.data.read import DataSource, read, recognise
from manylabel.data.records import SPLITS, Record, Records
from manylabel.data.splits.stratify import stratified
from manylabel.errors import ConfigError, DataError
from manylabel.labelling.tables import is_ours, read_ours, require_plain
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace
from manylabel.text import counted

FEWEST: Final = 20
"""With fewer examples, nothing is trained."""
FEWEST_OF_A_LABEL: Final = 2
"""A label with fewer examples is left out: one is needed to learn from, and one to measure on."""
FEW: Final = 5
"""A label with fewer examples is named, since little can be learned of it."""
_TUNED_ON: Final = 20
"""So many examples for measuring are wanted: with fewer, thresholds are not tuned."""
_SHARES: Final = (0.25, 0.35)
"""The smallest and the largest share of the examples for measuring."""
_NAMED: Final = 3
_TRAIN: Final = SPLITS.index("train")

Row = tuple[Path, NDArray[np.int8], str | None]
"""The file, the targets [C] and the group of an example."""


@final
@dataclass(frozen=True)
class Examples:
    """Photographs with labels.

    Args:
        records: Their keys are paths relative to the folder of photographs, or whole paths outside
            of it.
        tables: The tables that they are from.
        notes: What was understood, one sentence each.
    """

    records: Records
    tables: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> str:
        """The tables by name, for messages."""
        return ", ".join(path.name for path in self.tables)


@dataclass(frozen=True)
class _Table:
    """The examples of one table. Whether a label that is not named is absent: `listed`."""

    path: Path
    labels: LabelSpace | None
    rows: list[tuple[str, NDArray[np.int8], str | None]]
    listed: bool
    notes: list[str]


@dataclass(frozen=True)
class _Matched:
    """The examples of a table whose files exist: by key, the file, targets and group."""

    table: _Table
    rows: dict[str, Row]
    notes: list[str]


def key_of(image: Path, photos: Path) -> str:
    """The name of an image in all tables: its path below the folder, or its whole path."""
    whole, root = os.path.realpath(image), os.path.realpath(photos)
    if whole.startswith(os.path.join(root, "")):
        return Path(os.path.relpath(whole, root)).as_posix()
    return Path(whole).as_posix()


def read_examples(sources: Sequence[DataSource], photos: Path) -> Examples:
    """The examples of some tables. Of an image that several name, the last table tells the labels.

    The paths of a table are relative to the folder of photographs, or to the folder of the table:
    whichever gives more files.

    Args:
        sources: The tables. Those that `label` wrote need no settings.
        photos: The folder of photographs.

    Raises:
        DataError: A table cannot be read, or most of its images are not there.
        ConfigError: A data set is not a table.
    """
    tables = [_match(_read_table(source, photos), photos) for source in sources]
    notes = [note for each in tables for note in each.notes]
    merged, more = _merge(tables)
    require_plain(merged.labels, merged.source)
    return Examples(merged, tuple(source.path for source in sources), (*notes, *more))


def require_enough(examples: Examples) -> tuple[Records, list[str]]:
    """The examples to train on, without labels that cannot be learned, and what to say of them.

    Raises:
        DataError: There are too few examples or labels. It says how many more are needed.
    """
    records = examples.records
    if len(records) < FEWEST:
        more = FEWEST - len(records)
        raise DataError(
            f"{counted(len(records), 'example')} {_are(len(records))} too few: training needs at "
            f"least {FEWEST}.",
            where=records.source,
            fix=f"Give labels to {counted(more, 'more photograph')}. With 100, a model is useful.",
        )
    counts = np.count_nonzero(records.targets == PRESENT, axis=0)
    kept = counts >= FEWEST_OF_A_LABEL
    if kept.sum() < 2:
        raise DataError(
            f"Two labels or more are needed that {FEWEST_OF_A_LABEL} examples have. "
            f"There {_are(int(kept.sum()))} {int(kept.sum())} of {len(counts)}.",
            where=records.source,
            fix=f"Give examples of more labels, at least {FEW} of each.",
        )
    labels = [name for name, keep in zip(records.labels, kept, strict=True) if keep]
    chosen = Records.of(
        LabelSpace(labels),
        (Record(each.key, each.image, each.targets[kept], group=each.group) for each in records),
        records.source,
    )
    return chosen, _rare(records.labels, counts)


def with_measured(records: Records, seed: int) -> Records:
    """The same records, each to train on or to measure on. Every label can be trained on.

    The splits of the tables, if there are any, are not used: all examples help to train and tune.

    Raises:
        DataError: There are too few groups to divide.
    """
    low, high = _SHARES
    share = min(high, max(low, _TUNED_ON / len(records)))
    drawn = stratified(records, {"train": 1 - share, "val": share}, seed=seed)
    splits = drawn.splits.copy()
    for present in (records.targets == PRESENT).T:
        if not (present & (splits == _TRAIN)).any():
            splits[_together(records, int(present.argmax()))] = _TRAIN
    return drawn.with_splits(splits)


def _together(records: Records, row: int) -> list[int]:
    """The rows of the group of a row, or the row alone."""
    group = None if records.groups is None else records.groups[row]
    if records.groups is None or group is None:
        return [row]
    return [i for i, each in enumerate(records.groups) if each == group]


def _read_table(source: DataSource, photos: Path) -> _Table:
    path = source.path
    if is_ours(path):
        return _read_ours(path)
    kind, _ = recognise(path)
    if kind not in ("table", "parquet"):
        raise ConfigError(
            f"The examples are not a table, but a data set of the kind {kind!r}.",
            where=f"--examples {path}",
            fix="Convert them first: manylabel data convert DATA --out examples.csv",
        )
    records = read(source.model_copy(update={"images": photos}))
    rows = [
        (_name_below(each.image, photos), each.targets, each.group)
        for each in records
        if isinstance(each.image, Path)
    ]
    notes = [note for note in records.notes if not note.startswith("Ignored columns")]
    if len(rows) < len(records):
        notes.append(f"Images inside the table, not used: {len(records) - len(rows):,}")
    if records.split_counts():
        notes.append("The splits of the table are not used: all of its examples are")
    return _Table(path, records.labels, rows, _is_listed(source), notes)


def _name_below(image: Path, folder: Path) -> str:
    """The path as the table has it: without the folder that the reader put before it."""
    return str(image.relative_to(folder)) if image.is_relative_to(folder) else str(image)


def _read_ours(path: Path) -> _Table:
    given, guesses = read_ours(path)
    names = sorted({name for _, labels in given for name in labels})
    space = LabelSpace(names, where=str(path)) if names else None
    none = np.zeros(0, dtype=np.int8)
    rows = list[tuple[str, NDArray[np.int8], str | None]]()
    for image, labels in given:
        rows.append((image, none if space is None else space.encode(labels), None))
    notes = []
    if guesses:
        notes.append(
            f"Rows that say 'predicted', which are no examples: {guesses:,}. Where you checked "
            "one, write 'given' in the column 'source'"
        )
    return _Table(path, space, rows, True, notes)


def _is_listed(source: DataSource) -> bool:
    """Whether a table has its labels in one column, so that a label not named is absent."""
    if source.label_column is not None or source.path.suffix.lower() == ".parquet":
        return True
    header = next(iter(read_rows(source.path))).cells
    return find_column([cell.strip() for cell in header], LABEL_NAMES) is not None


def _match(table: _Table, photos: Path) -> _Matched:
    """The rows whose files exist, below the one of two folders that gives more of them."""
    roots = {photos: "the folder of photographs", table.path.parent: "the folder of the table"}
    found = {root: [os.path.isfile(root / name) for name, *_ in table.rows] for root in roots}
    root = max(found, key=lambda root: sum(found[root]))
    exists = found[root]
    if table.rows and 2 * sum(exists) < len(exists):
        raise _unmatched(table, photos, exists)
    rows = {
        key_of(root / name, photos): (root / name, targets, group)
        for (name, targets, group), is_there in zip(table.rows, exists, strict=True)
        if is_there
    }
    note = f"{counted(sum(exists), 'example')}, with paths relative to {roots[root]}"
    missing = [row[0] for row, is_there in zip(table.rows, exists, strict=True) if not is_there]
    if missing:
        note += f"; {len(missing):,} without a file, left out: {_some(missing)}"
    return _Matched(table, rows, [f"{table.path.name}: {each}" for each in (note, *table.notes)])


def _unmatched(table: _Table, photos: Path, exists: list[bool]) -> DataError:
    missing = [row[0] for row, is_there in zip(table.rows, exists, strict=True) if not is_there]
    return DataError(
        f"Of {counted(len(exists), 'image')} in the table, only {sum(exists):,} were found. "
        f"Missing: {_some(missing)}.",
        where=str(table.path),
        fix=f"Paths have to be relative to {photos} or to the table's folder. Give the folder that "
        "the table was made for, or name the column with --image-column.",
    )


def _merge(tables: Sequence[_Matched]) -> tuple[Records, list[str]]:
    """All examples in one set of records, and what to say of it."""
    names = dict.fromkeys(name for each in tables for name in each.table.labels or ())
    source = ", ".join(str(each.table.path) for each in tables)
    space = LabelSpace(names, where=source)
    rows: dict[str, Row] = {}
    notes = list[str]()
    for position, each in enumerate(tables):
        widened = {
            key: (image, _widen(targets, each.table, space), group)
            for key, (image, targets, group) in each.rows.items()
        }
        notes += _replaced(each.table.path.name, rows, widened)
        notes += _new_labels(each.table, [earlier.table for earlier in tables[:position]])
        rows |= widened
    items = (
        Record(key, file, targets, group=group) for key, (file, targets, group) in rows.items()
    )
    return Records.of(space, items, source), notes


def _widen(targets: NDArray[np.int8], table: _Table, space: LabelSpace) -> NDArray[np.int8]:
    """The targets for all labels. A label that the table does not have is absent or unknown."""
    wide = np.full(len(space), ABSENT if table.listed else UNKNOWN, dtype=np.int8)
    if table.labels is not None:
        wide[[space.index(name) for name in table.labels]] = targets
    return wide


def _replaced(name: str, before: dict[str, Row], now: dict[str, Row]) -> list[str]:
    both = before.keys() & now.keys()
    if not both:
        return []
    other = sum(not np.array_equal(before[key][1], now[key][1]) for key in both)
    return [
        f"{name}: {counted(len(both), 'example')} of earlier tables given again, {other:,} with "
        "other labels; the later ones count"
    ]


def _new_labels(table: _Table, earlier: Sequence[_Table]) -> list[str]:
    """A note on labels that no earlier table has: new ones, or slips of the hand."""
    known = list(dict.fromkeys(name for each in earlier for name in each.labels or ()))
    new = [name for name in table.labels or () if name not in known]
    if not new or not known:
        return []
    taken = "absent" if all(each.listed for each in earlier) else "absent or unknown"
    return [
        f"{table.path.name}: {counted(len(new), 'label')} that no earlier table has, taken as "
        f"{taken} in the earlier images: {_some([_with_nearest(name, known) for name in new])}"
    ]


def _with_nearest(name: str, known: Sequence[str]) -> str:
    nearest = get_close_matches(name, known, n=1)
    return f"{name!r} (is it {nearest[0]!r}?)" if nearest else repr(name)


def _rare(labels: LabelSpace, counts: NDArray[np.intp]) -> list[str]:
    """Notes on the labels that have too few examples, and how many more they need."""
    each = list(zip(labels, counts.tolist(), strict=True))
    out = [f"{name} ({count})" for name, count in each if count < FEWEST_OF_A_LABEL]
    few = [f"{name} ({count})" for name, count in each if FEWEST_OF_A_LABEL <= count < FEW]
    notes = []
    if out:
        notes.append(
            f"Left out, since fewer than {FEWEST_OF_A_LABEL} examples have them: {_some(out, 10)}. "
            f"Give at least {FEW} of each"
        )
    if few:
        notes.append(
            f"Little can be learned of labels with fewer than {FEW} examples: {_some(few, 10)}"
        )
    return notes


def _some(names: Sequence[str], most: int = _NAMED) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
