"""A table, CSV or TSV, with a header: one image a row.

Labels stand in one column, with a mark between them, or in a column for each label:

    image,labels,split              image,person,car
    a.jpg,person|car,train          a.jpg,1,1
    b.jpg,car,test                  b.jpg,0,

In the second form 1 is present, 0 absent, and -1 or nothing unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.tabular import (
    guess_delimiter,
    listed,
    merge_rows,
    path_key,
    split_labels,
    split_or_none,
)
from manylabel.data.formats.text_table import (
    EMPTY,
    NO_TARGET,
    TextTable,
    load_table,
    read_rows,
)
from manylabel.data.records import Record, Records
from manylabel.errors import DataError
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace

_ENDINGS: Final = (".csv", ".tsv")


def find_table(path: Path) -> Path | None:
    """The table that `path` is, or the only one in that folder; None if there is none.

    Raises:
        DataError: The folder holds several.
    """
    if not path.is_dir():
        return path if path.suffix.lower() in _ENDINGS else None
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in _ENDINGS)
    if len(tables) > 1:
        raise DataError(
            f"The folder holds {len(tables)} tables: {', '.join(t.name for t in tables[:5])}.",
            where=str(path),
            fix="Give the one that is meant by its own path; put splits into a column 'split'.",
        )
    return tables[0] if tables else None


def read_table(
    path: Path,
    *,
    images: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    label_delimiter: str | None = None,
    split_column: str | None = None,
) -> Records:
    """The rows of a table.

    Columns that are not named here are found by their headers: image, path, file, ... (else the
    first column); labels, label, tags or tag (else each column of 1, 0, -1 and gaps is a label);
    split; group; mask; image_key, where an image is known by something else than its path. What
    was found and what was ignored is in the notes. Rows for one image that say the same are merged.

    Args:
        path: The file, UTF-8. A .tsv is split at tabs, others at the comma, semicolon or tab
            that the header has most of.
        images: The folder that image paths start from, if it is not the table's. Masks always
            start from the table's.
        image_column: Header of the column of image paths.
        label_column: Header of the column that holds all of a row's labels.
        label_delimiter: What stands between two labels.
        split_column: Header of the column of splits: train, val, valid, validation, test or empty.

    Raises:
        DataError: The table is missing, empty, without a header or malformed; a column that was
            named is not there; a value is no target or no split; rows contradict one another.
    """
    table = load_table(path, image_column, label_column, split_column)
    if table.columns.label is None:
        labels = _from_label_columns(table)
    else:
        labels = _from_one_column(table, table.columns.label, label_delimiter)
    root = path.parent if images is None else images
    items = merge_rows(
        len(table.lines),
        lambda row: _record(table, row, root, labels.targets[row]),
        lambda one, two: f"{path}, lines {table.lines[one]} and {table.lines[two]}",
    )
    records = Records.of(labels.space, items, str(path))
    notes = _describe(table, labels)
    if repeated := len(table.lines) - len(records):
        notes.append(f"Rows that repeat another, merged with it: {repeated:,}")
    return records.with_notes(*notes)


@dataclass(frozen=True)
class _Labels:
    """What the label columns say: targets int8 [N, C] follow the rows."""

    space: LabelSpace
    targets: NDArray[np.int8]
    columns: set[int]
    notes: list[str]


def _from_one_column(table: TextTable, column: int, delimiter: str | None) -> _Labels:
    cells = table.texts[column]
    mark = guess_delimiter(cells) if delimiter is None else delimiter
    lists = {cell: split_labels(cell, mark) for cell in cells}
    where = f"{table.path}, column {table.header[column]!r}"
    space = LabelSpace(sorted({name for names in lists.values() for name in names}), where=where)
    position = {cell: i for i, cell in enumerate(lists)}
    distinct = np.empty((len(lists), len(space)), dtype=np.int8)
    for row, names in enumerate(lists.values()):
        distinct[row] = space.encode(names)
    shown = "one a row" if mark is None else f"separated by {mark!r}"
    notes = [f"Labels are read from column {table.header[column]!r}, {shown}"]
    bare = sum(not lists[cell] for cell in cells)
    if bare:
        notes.append(f"Rows without a label, all labels absent: {bare:,}")
    return _Labels(space, distinct[[position[cell] for cell in cells]], {column}, notes)


def _from_label_columns(table: TextTable) -> _Labels:
    chosen = [j for j, column in enumerate(table.others) if _is_label(table, j, column)]
    if not chosen:
        raise DataError(
            f"No labels were found in the columns {listed(table.header)}.",
            where=str(table.path),
            fix="Name all labels of an image in a column 'labels' (or say which it is with "
            "label_column), or give each label a column of 1, 0 and -1.",
        )
    columns = [table.others[j] for j in chosen]
    space = LabelSpace((table.header[i] for i in columns), where=str(table.path))
    targets = np.ascontiguousarray(table.codes[:, chosen])
    if targets.max() > PRESENT:
        raise _no_target(table, columns, targets)
    targets[targets == EMPTY] = UNKNOWN
    notes = [f"Each of {len(columns)} columns is a label: 1 present, 0 absent, -1 or empty unknown"]
    return _Labels(space, targets, set(columns), notes)


def _is_label(table: TextTable, position: int, column: int) -> bool:
    """Whether a column is meant as a label's: then a cell that is no target is a mistake."""
    codes = table.codes[:, position]
    filled = np.count_nonzero(codes != EMPTY)
    meant = filled - np.count_nonzero(codes == NO_TARGET)
    return bool(table.header[column] and filled and 2 * meant >= filled)


def _no_target(table: TextTable, columns: Sequence[int], targets: NDArray[np.int8]) -> DataError:
    """The error that names the first cell that is no target; it is looked up in the file."""
    row, position = np.argwhere(targets > PRESENT)[0].tolist()
    column = columns[position]
    found = next(islice(read_rows(table.path), row + 1, None)).cells[column].strip()
    return DataError(
        f"{found!r} is no target.",
        where=table.at(table.lines[row], column),
        fix="Write 1 for present, 0 for absent, -1 or nothing for unknown; "
        "remove the column if it is no label.",
    )


def _record(table: TextTable, row: int, root: Path, targets: NDArray[np.int8]) -> Record:
    columns, line = table.columns, table.lines[row]
    image, mask = table.text(row, columns.image), table.text(row, columns.mask)
    if image is None:
        raise DataError(
            "The row names no image.",
            where=table.at(line, columns.image),
            fix="Give the image's path or remove the row.",
        )
    name = path_key(image)
    split = table.text(row, columns.split)
    return Record(
        key=table.text(row, columns.key) or name,
        image=root / name,
        targets=targets,
        split=split_or_none(split, lambda: table.at(line, columns.split)),
        mask=None if mask is None else table.path.parent / path_key(mask),
        group=table.text(row, columns.group),
    )


def _describe(table: TextTable, labels: _Labels) -> list[str]:
    """Notes that say how each column is used."""
    known = table.columns.taken() | labels.columns
    ignored = [repr(name) for i, name in enumerate(table.header) if i not in known]
    notes = [table.columns.describe(table.header), *labels.notes]
    if ignored:
        notes.append(f"Columns that are ignored: {', '.join(ignored)}")
    return notes
