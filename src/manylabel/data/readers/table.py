"""A table, CSV or TSV, with a header: one image a row.

Labels stand in one column, with a mark between them, or in a column for each label:

    image,labels,split              image,person,car
    a.jpg,person|car,train          a.jpg,1,1
    b.jpg,car,test                  b.jpg,0,

In the second form 1 is present, 0 absent, and -1 or nothing unknown.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final, TextIO

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
from manylabel.files import open_text, read_text
from manylabel.images import EXTENSIONS
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

_EMPTY: Final = -2
_MEANT: Final = 2
_NO_TARGET: Final = 3
"""Codes of cells that are no target: empty ones, such as are meant as targets, and others."""


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
    table = _load(path, image_column, label_column, split_column)
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
    notes = _told(table, labels)
    if repeated := len(table.lines) - len(records):
        notes.append(f"Rows that repeat another, merged with it: {repeated:,}")
    return records.with_notes(*notes)


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: list[str]


@dataclass(frozen=True)
class _Table:
    """A table of N rows in columns, so that a million rows fit into memory.

    Args:
        path: The file.
        header: The headers.
        columns: Which of them are no single label's.
        lines: The line that each row begins on.
        texts: The cells of each of `columns`, by its position.
        others: Positions of the other columns; none where one column holds all labels.
        codes: int8 [N, K], what the cells of `others` say: a target, or one of the codes above.
    """

    path: Path
    header: list[str]
    columns: Columns
    lines: Sequence[int]
    texts: Mapping[int, list[str]]
    others: list[int]
    codes: NDArray[np.int8]

    def at(self, line: int, column: int | None = None) -> str:
        """Where a cell stands, for messages."""
        name = "" if column is None else f", column {self.header[column]!r}"
        return f"{self.path}, line {line}{name}"

    def text(self, row: int, column: int | None) -> str | None:
        """A cell of one of `columns`; None where it is empty or there is no such column."""
        return None if column is None else self.texts[column][row] or None


class _Codes(dict[str, int]):
    """The code of a cell of a column that may be a label's."""

    def __missing__(self, cell: str) -> int:
        stripped = cell.strip()
        if stripped != cell:
            return self[stripped]
        return _MEANT if cell.lower() in _MEANT_AS_TARGETS else _NO_TARGET


def _load(
    path: Path, image_column: str | None, label_column: str | None, split_column: str | None
) -> _Table:
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise DataError("The table is empty.", where=str(path), fix="Give a header and rows.")
    header = _Row(first.line, [name.strip() for name in first.cells])
    _check_header(header, path)
    columns = choose_columns(
        header.cells, str(path), image=image_column, label=label_column, split=split_column
    )
    taken, lines, codes = columns.taken(), array("q"), array("b")
    others = [i for i in range(len(header.cells)) if i not in taken and columns.label is None]
    texts: dict[int, list[str]] = {i: [] for i in taken}
    shared: dict[str, str] = {}
    code_of = _Codes(_TARGETS | {"": _EMPTY}).__getitem__
    for line, cells in ((row.line, row.cells) for row in rows):
        _check_length(cells, header.cells, f"{path}, line {line}")
        lines.append(line)
        for i, column in texts.items():
            cell = cells[i].strip()
            unique = i in (columns.image, columns.key)
            column.append(cell if unique else shared.setdefault(cell, cell))
        codes.extend([code_of(cells[i]) for i in others])
    if not lines:
        raise DataError(
            "The table has a header and no rows.", where=str(path), fix="Add a row for each image."
        )
    matrix = np.frombuffer(codes, dtype=np.int8).reshape(len(lines), len(others))
    return _Table(path, header.cells, columns, lines, texts, others, matrix)


def _rows(path: Path) -> Iterator[_Row]:
    """The rows that hold anything, read as they are asked for, cells as they are.

    A row's line is the one that it begins on.
    """
    line = 1
    with open_text(path) as file:
        try:
            separator = _separator(path, file)
            file.seek(0)
            # Strict: otherwise a quote that is never closed swallows the rest of the file.
            reader = csv.reader(file, delimiter=separator, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield _Row(line, cells)
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"The row cannot be read: {error}.",
                where=f"{path}, line {line}",
                fix="Close every quote, and double a quote that belongs to a cell.",
            ) from None
        except UnicodeDecodeError:
            read_text(path)  # says which byte it is
            raise


def _separator(path: Path, file: TextIO) -> str:
    """What separates the cells: of the marks outside of quotes, the header's most frequent one."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    header, quotes = "", 0
    for line in file:
        header += line
        quotes += line.count('"')
        if header.strip() and quotes % 2 == 0:  # else the row goes on in the next line
            break
    header = re.sub('"[^"]*"', "", header)
    return max(",;\t", key=header.count)


def _check_length(cells: Sequence[str], header: Sequence[str], where: str) -> None:
    if len(cells) != len(header):
        raise DataError(
            f"The row has {len(cells)} cells and the header {len(header)}.",
            where=where,
            fix="Give each row a cell for each column; quote a cell that holds a separator.",
        )


def _check_header(header: _Row, path: Path) -> None:
    where = f"{path}, line {header.line}"
    if any(PurePosixPath(name).suffix.lower() in EXTENSIONS for name in header.cells):
        raise DataError(
            "The table has no header: its first row names an image.",
            where=where,
            fix="Add a first line that names the columns, for instance image,labels.",
        )
    named = [name for name in header.cells if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise DataError(
            f"Columns have the same name: {', '.join(twice)}.",
            where=where,
            fix="Rename or remove one of each.",
        )


@dataclass(frozen=True)
class _Labels:
    """What the label columns say: targets int8 [N, C] follow the rows."""

    space: LabelSpace
    targets: NDArray[np.int8]
    columns: set[int]
    notes: list[str]


def _from_one_column(table: _Table, column: int, delimiter: str | None) -> _Labels:
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


def _from_label_columns(table: _Table) -> _Labels:
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
    targets[targets == _EMPTY] = UNKNOWN
    notes = [f"Each of {len(columns)} columns is a label: 1 present, 0 absent, -1 or empty unknown"]
    return _Labels(space, targets, set(columns), notes)


def _is_label(table: _Table, position: int, column: int) -> bool:
    """Whether a column is meant as a label's: then a cell that is no target is a mistake."""
    codes = table.codes[:, position]
    filled = np.count_nonzero(codes != _EMPTY)
    meant = filled - np.count_nonzero(codes == _NO_TARGET)
    return bool(table.header[column] and filled and 2 * meant >= filled)


def _no_target(table: _Table, columns: Sequence[int], targets: NDArray[np.int8]) -> DataError:
    """The error that names the first cell that is no target; it is looked up in the file."""
    row, position = np.argwhere(targets > PRESENT)[0].tolist()
    column = columns[position]
    found = next(islice(_rows(table.path), row + 1, None)).cells[column].strip()
    return DataError(
        f"{found!r} is no target.",
        where=table.at(table.lines[row], column),
        fix="Write 1 for present, 0 for absent, -1 or nothing for unknown; "
        "remove the column if it is no label.",
    )


def _record(table: _Table, row: int, root: Path, targets: NDArray[np.int8]) -> Record:
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


def _told(table: _Table, labels: _Labels) -> list[str]:
    """Notes on what each column was taken for."""
    known = table.columns.taken() | labels.columns
    ignored = [repr(name) for i, name in enumerate(table.header) if i not in known]
    notes = [table.columns.told(table.header), *labels.notes]
    if ignored:
        notes.append(f"Columns that are ignored: {', '.join(ignored)}")
    return notes
