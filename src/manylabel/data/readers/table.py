"""A table, CSV or TSV, with a header: one image a row.

Labels stand in one column, with a mark between them, or in a column for each label:

    image,labels,split              image,person,car
    a.jpg,person|car,train          a.jpg,1,1
    b.jpg,car,test                  b.jpg,0,

In the second form 1 is present, 0 absent, and -1 or nothing unknown.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.tabular import (
    Columns,
    choose_columns,
    guess_delimiter,
    listed,
    merge_rows,
    path_key,
    split_labels,
    split_or_none,
)
from manylabel.data.records import Record, Records
from manylabel.errors import DataError
from manylabel.files import read_text
from manylabel.images import has_image_ending
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace

_ENDINGS: Final = (".csv", ".tsv")

_TARGETS: Final = {
    "1": PRESENT,
    "0": ABSENT,
    "-1": UNKNOWN,
    "": UNKNOWN,
    # pandas writes whole numbers so once a column has a gap.
    "1.0": PRESENT,
    "0.0": ABSENT,
    "-1.0": UNKNOWN,
}
_MEANT_AS_TARGETS: Final = frozenset({"true", "false", "yes", "no"})


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
    table = _load(path)
    columns = choose_columns(
        table.header, str(path), image=image_column, label=label_column, split=split_column
    )
    if columns.label is None:
        labels = _from_label_columns(table, columns.taken())
    else:
        labels = _from_one_column(table, columns.label, label_delimiter)
    root = path.parent if images is None else images
    records = [
        _record(table, row, columns, root, targets)
        for row, targets in zip(table.rows, labels.targets, strict=True)
    ]
    items = merge_rows(
        records,
        [row.line for row in table.rows],
        lambda one, two: f"{path}, lines {one} and {two}",
    )
    notes = _told(table, columns, labels)
    if len(items) < len(records):
        notes.append(f"Rows that repeat another, merged with it: {len(records) - len(items):,}")
    return Records(labels.space, items, str(path), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: list[str]


@dataclass(frozen=True)
class _Table:
    path: Path
    header: list[str]
    rows: list[_Row]

    def at(self, line: int, column: int | None = None) -> str:
        """Where a cell stands, for messages."""
        name = "" if column is None else f", column {self.header[column]!r}"
        return f"{self.path}, line {line}{name}"


def _load(path: Path) -> _Table:
    text = read_text(path)
    parsed = _parse(text, _separator(path, text), path)
    if not parsed:
        raise DataError("The table is empty.", where=str(path), fix="Give a header and rows.")
    header, *rows = parsed
    table = _Table(path, header.cells, rows)
    _check_header(table, header.line)
    if not rows:
        raise DataError(
            "The table has a header and no rows.", where=str(path), fix="Add a row for each image."
        )
    for row in rows:
        if len(row.cells) != len(table.header):
            raise DataError(
                f"The row has {len(row.cells)} cells and the header {len(table.header)}.",
                where=table.at(row.line),
                fix="Give each row a cell for each column; quote a cell that holds a separator.",
            )
    return table


def _separator(path: Path, text: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = text.strip().partition("\n")[0]
    if '"' in header:  # separators, and ends of lines, can be parts of quoted names
        header = re.sub('"[^"]*"', "", text.strip()).partition("\n")[0]
    return max(",;\t", key=header.count)


def _parse(text: str, separator: str, path: Path) -> list[_Row]:
    """The rows that hold anything, cells stripped; a row's line is the one that it begins on."""
    # Strict: otherwise a quote that is never closed swallows the rest of the file as one cell.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append(_Row(line, stripped))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"The row cannot be read: {error}.",
            where=f"{path}, line {line}",
            fix="Close every quote, and double a quote that belongs to a cell.",
        ) from None
    return rows


def _check_header(table: _Table, line: int) -> None:
    if any(map(has_image_ending, table.header)):
        raise DataError(
            "The table has no header: its first row names an image.",
            where=table.at(line),
            fix="Add a first line that names the columns, for instance image,labels.",
        )
    named = [name for name in table.header if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise DataError(
            f"Columns have the same name: {', '.join(twice)}.",
            where=table.at(line),
            fix="Rename or remove one of each.",
        )


@dataclass(frozen=True)
class _Labels:
    """What the label columns say: targets [N, C] follow the rows."""

    space: LabelSpace
    targets: Sequence[NDArray[np.int8]]
    columns: set[int]
    notes: list[str]


def _from_one_column(table: _Table, column: int, delimiter: str | None) -> _Labels:
    cells = [row.cells[column] for row in table.rows]
    mark = guess_delimiter(cells) if delimiter is None else delimiter
    lists = [split_labels(cell, mark) for cell in cells]
    where = f"{table.path}, column {table.header[column]!r}"
    space = LabelSpace(sorted({name for names in lists for name in names}), where=where)
    shown = "one a row" if mark is None else f"separated by {mark!r}"
    notes = [f"Labels are read from column {table.header[column]!r}, {shown}"]
    bare = sum(not names for names in lists)
    if bare:
        notes.append(f"Rows without a label, all labels absent: {bare:,}")
    return _Labels(space, [space.encode(names) for names in lists], {column}, notes)


def _from_label_columns(table: _Table, taken: set[int]) -> _Labels:
    columns = [i for i in range(len(table.header)) if i not in taken and _is_label(table, i)]
    if not columns:
        raise DataError(
            f"No labels were found in the columns {listed(table.header)}.",
            where=str(table.path),
            fix="Name all labels of an image in a column 'labels' (or say which it is with "
            "label_column), or give each label a column of 1, 0 and -1.",
        )
    space = LabelSpace((table.header[i] for i in columns), where=str(table.path))
    targets = [
        np.array([_target(table, row, i) for i in columns], dtype=np.int8) for row in table.rows
    ]
    notes = [f"Each of {len(columns)} columns is a label: 1 present, 0 absent, -1 or empty unknown"]
    return _Labels(space, targets, set(columns), notes)


def _is_label(table: _Table, column: int) -> bool:
    """Whether a column is meant as a label's: then a cell that is no target is a mistake."""
    cells = [row.cells[column].lower() for row in table.rows if row.cells[column]]
    meant = sum(cell in _TARGETS or cell in _MEANT_AS_TARGETS for cell in cells)
    return bool(table.header[column]) and bool(cells) and 2 * meant >= len(cells)


def _target(table: _Table, row: _Row, column: int) -> int:
    cell = row.cells[column]
    if cell not in _TARGETS:
        raise DataError(
            f"{cell!r} is no target.",
            where=table.at(row.line, column),
            fix="Write 1 for present, 0 for absent, -1 or nothing for unknown; "
            "remove the column if it is no label.",
        )
    return _TARGETS[cell]


def _record(
    table: _Table, row: _Row, columns: Columns, root: Path, targets: NDArray[np.int8]
) -> Record:
    image = row.cells[columns.image]
    if not image:
        raise DataError(
            "The row names no image.",
            where=table.at(row.line, columns.image),
            fix="Give the image's path or remove the row.",
        )
    name = path_key(image)
    mask = _optional(row, columns.mask)
    return Record(
        key=_optional(row, columns.key) or name,
        image=root / name,
        targets=targets,
        split=split_or_none(
            _optional(row, columns.split), lambda: table.at(row.line, columns.split)
        ),
        mask=None if mask is None else table.path.parent / path_key(mask),
        group=_optional(row, columns.group),
    )


def _optional(row: _Row, column: int | None) -> str | None:
    return None if column is None else row.cells[column] or None


def _told(table: _Table, columns: Columns, labels: _Labels) -> list[str]:
    """Notes on what each column was taken for."""
    known = columns.taken() | labels.columns
    ignored = [repr(name) for i, name in enumerate(table.header) if i not in known]
    notes = [columns.told(table.header), *labels.notes]
    if ignored:
        notes.append(f"Columns that are ignored: {', '.join(ignored)}")
    return notes
