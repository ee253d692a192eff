"""A CSV or TSV table with a header and one row per image.

Labels are in one column, with a separator between them, or each label has its own column:

    image,labels,split              image,person,car
    a.jpg,person|car,train          a.jpg,1,1
    b.jpg,car,test                  b.jpg,0,

In the second form, 1 means present, 0 means absent, and -1 or an empty cell means unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.room import matrix
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
    """`path`, if it is a table, or the only table in the folder `path`; None if there is none.

    Raises:
        DataError: The folder contains several tables.
    """
    if not path.is_dir():
        return path if path.suffix.lower() in _ENDINGS else None
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in _ENDINGS)
    if len(tables) > 1:
        raise DataError(
            f"The folder contains {len(tables)} tables: {', '.join(t.name for t in tables[:5])}.",
            where=str(path),
            fix="Give the path of one table. If each table is a split, merge them into one table "
            "with a column 'split'.",
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

    Columns that are not named here are found by their headers:

    - image, path, file, ...: the path of the image. Without such a header, the first column.
    - labels, label, tags or tag: all labels. Without such a header, each column of 1, 0, -1 and
      empty cells is a label.
    - split, group and mask.
    - image_key: the key of the image, if it is not the path.

    The notes say which columns were found and which are ignored. Rows of one image with the same
    values are merged.

    Args:
        path: The file, UTF-8. In a .tsv file, tabs separate the columns. In other files, it is the
            comma, semicolon or tab, whichever the header has most often.
        images: The folder that image paths are relative to, if it is not the folder of the table.
            Paths of masks are always relative to the folder of the table.
        image_column: Header of the column of image paths.
        label_column: Header of the column that holds all labels of a row.
        label_delimiter: The separator between two labels.
        split_column: Header of the column of splits: train, val, valid, validation, test or empty.

    Raises:
        DataError: The table is missing, empty, without a header or malformed; a named column does
            not exist; a value is not a target or not a split; rows of one image differ.
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
    records = replace(records, absent_if_unnamed=table.columns.label is not None)
    notes = _describe(table, labels)
    if repeated := len(table.lines) - len(records):
        notes.append(f"Rows that repeat another row, merged with it: {repeated:,}")
    return records.with_notes(*notes)


@dataclass(frozen=True)
class _Labels:
    """The content of the label columns. The targets, int8 [N, C], are in the order of the rows."""

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
    distinct = matrix(len(lists), len(space), 0, str(table.path))
    for row, names in enumerate(lists.values()):
        distinct[row] = space.encode(names)
    shown = "one per row" if mark is None else f"separated by {mark!r}"
    notes = [f"Labels are read from column {table.header[column]!r}, {shown}"]
    empty = sum(not lists[cell] for cell in cells)
    if empty:
        notes.append(f"Rows without a label, all labels absent: {empty:,}")
    return _Labels(space, distinct[[position[cell] for cell in cells]], {column}, notes)


def _from_label_columns(table: TextTable) -> _Labels:
    chosen = [j for j, column in enumerate(table.others) if _is_label_column(table, j, column)]
    if not chosen:
        raise DataError(
            f"No labels were found in the columns {listed(table.header)}.",
            where=str(table.path),
            fix="Put all labels of an image into a column 'labels' (or name the column with "
            "label_column), or give each label a column of 1, 0 and -1.",
        )
    columns = [table.others[j] for j in chosen]
    space = LabelSpace((table.header[i] for i in columns), where=str(table.path))
    targets = np.ascontiguousarray(table.codes[:, chosen])
    if targets.max() > PRESENT:
        raise _target_error(table, columns, targets)
    targets[targets == EMPTY] = UNKNOWN
    notes = [f"Each of {len(columns)} columns is a label: 1 present, 0 absent, -1 or empty unknown"]
    return _Labels(space, targets, set(columns), notes)


def _is_label_column(table: TextTable, position: int, column: int) -> bool:
    """Whether a column is a label: at least half of the cells that are not empty are targets.

    In such a column, any other value is a mistake.
    """
    codes = table.codes[:, position]
    filled = np.count_nonzero(codes != EMPTY)
    valid = filled - np.count_nonzero(codes == NO_TARGET)
    return bool(table.header[column] and filled and 2 * valid >= filled)


def _target_error(table: TextTable, columns: Sequence[int], targets: NDArray[np.int8]) -> DataError:
    """The error for the first cell that is not a target. The text of the cell is read again."""
    row, position = np.argwhere(targets > PRESENT)[0].tolist()
    column = columns[position]
    found = next(islice(read_rows(table.path), row + 1, None)).cells[column].strip()
    return DataError(
        f"{found!r} is not a target.",
        where=table.at(table.lines[row], column),
        fix="Write 1 for present, 0 for absent, -1 or nothing for unknown. "
        "If the column is not a label, remove it.",
    )


def _record(table: TextTable, row: int, root: Path, targets: NDArray[np.int8]) -> Record:
    columns, line = table.columns, table.lines[row]
    image, mask = table.text(row, columns.image), table.text(row, columns.mask)
    if image is None:
        raise DataError(
            "The row has no image.",
            where=table.at(line, columns.image),
            fix="Add the path of the image or remove the row.",
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
    if table.marked:
        notes.append(f"Texts like '=1, read without the ' for spreadsheets: {table.marked:,}")
    if ignored:
        notes.append(f"Ignored columns: {', '.join(ignored)}")
    return notes
