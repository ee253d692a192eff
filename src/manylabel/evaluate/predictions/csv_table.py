"""Reads predictions from a CSV or TSV table, in little more memory than the numbers need.

Tables of `manylabel predict` also say which labels are predicted. `--format spreadsheet` has a
column `labels`, and `--format csv` a column `labels: NAME` for each label. They are not scores.

If pyarrow is installed, it parses the numbers of plain tables, which takes a third of the time. A
table that it refuses is read again by the csv module, whose errors name line and column. Both give
the same numbers: the double that is nearest to the text.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.text_table import Row, read_rows, separator_of
from manylabel.errors import DataError
from manylabel.files import open_regular, open_text
from manylabel.text import from_spreadsheet

Numbers = NDArray[np.floating[Any]]
Raw = tuple[list[str], list[str], Numbers]
"""N keys, C labels and numbers [N, C], as in the file."""

IMAGE_COLUMN: Final = "image"

LABELS_COLUMN: Final = "labels"
"""The column of the predicted labels of an image, as a text."""

_MARKS: Final = "|;,/~\t"
"""What may stand between the labels of an image; the first that no label has is used."""

_AT_ONCE: Final = 2**24
_BLOCK: Final = 2**22
"""So many bytes of a file are parsed at once, in blocks that pyarrow gives to its threads."""


def listed_column(label: str) -> str:
    """The column that says whether a label is predicted, by 1 or 0."""
    return f"{LABELS_COLUMN}: {label}"


def label_mark(labels: Iterable[str]) -> str:
    """What stands between the labels in the column of predicted labels."""
    used = set("".join(labels))
    return next((mark for mark in _MARKS if mark not in used), _MARKS[0])


def read_table(path: Path) -> tuple[list[str], list[str], Numbers, tuple[str, ...]]:
    """Read a CSV or TSV table: a column `image`, one column for each label, and notes.

    Raises:
        DataError: The file cannot be read, has no rows, or has a row that does not fit the header.
    """
    rows = read_rows(path)
    header = next(rows, None)
    first = next(rows, None)
    if header is None or first is None:
        raise DataError(
            "The table has no rows.",
            where=str(path),
            fix=f"Give a header, {IMAGE_COLUMN!r} and the labels, and a row for each image.",
        )
    names = [from_spreadsheet(name.strip()) for name in header.cells]
    column = image_column(names, path)
    if _has_listed_labels(path, names):
        keys, values = _read_exactly(path, names, column, ignored=1)
        labels, notes = names[2:], ("Column of predicted labels, not read as scores: 1",)
    else:
        plain = column == 0 < len(names) - 1
        quick = _read_quickly(path, first.line - 1, len(names)) if plain else None
        keys, values = quick or _read_exactly(path, names, column)
        labels, notes = names[:column] + names[column + 1 :], ()
    keys = [from_spreadsheet(key.strip()) for key in keys]
    labels, values, more = _without_flags(labels, values.reshape(len(keys), len(labels)))
    return keys, labels, values, (*notes, *more)


def _has_listed_labels(path: Path, names: list[str]) -> bool:
    """Whether the second column is the predicted labels, each of which has a column of scores.

    A label that is called "labels" has numbers, and there is no label of that name.
    """
    if names[:2] != [IMAGE_COLUMN, LABELS_COLUMN]:
        return False
    scored, mark = set(names[2:]), label_mark(names[2:])
    for row in islice(read_rows(path), 1, None):
        cell = from_spreadsheet(row.cells[1].strip()) if len(row.cells) > 1 else ""
        if cell and not {part.strip() for part in cell.split(mark)} <= scored:
            return False
    return True


def _without_flags(
    labels: list[str], values: Numbers
) -> tuple[list[str], Numbers, tuple[str, ...]]:
    """The labels and scores of a table without its columns of 1 and 0, and a note of these."""
    half = len(labels) // 2
    scored = labels[half:]
    if not half or labels[:half] != [listed_column(label) for label in scored]:
        return labels, values, ()
    if not np.isin(values[:, :half], (0, 1)).all():
        return labels, values, ()
    note = f"Columns of predicted labels, not read as scores: {half:,}"
    return scored, np.ascontiguousarray(values[:, half:]), (note,)


def image_column(names: Sequence[str], path: Path) -> int:
    """The position of the column of images.

    Raises:
        DataError: There is none.
    """
    if IMAGE_COLUMN in names:
        return names.index(IMAGE_COLUMN)
    raise DataError(
        f"There is no column {IMAGE_COLUMN!r}.",
        where=str(path),
        fix=f"Name the column of images {IMAGE_COLUMN!r}. All other columns are labels.",
    )


def _read_exactly(
    path: Path, names: list[str], column: int, *, ignored: int | None = None
) -> tuple[list[str], Numbers]:
    """The keys, and the numbers of all rows in one array, without those of an ignored column."""
    others = [i for i in range(len(names)) if i not in (column, ignored)]
    keys: list[str] = []
    values = array("d")
    for row in islice(read_rows(path), 1, None):
        if len(row.cells) != len(names):
            raise DataError(
                f"The row has {len(row.cells)} cells, but the header has {len(names)}.",
                where=f"{path}, line {row.line}",
                fix="Give each row a number for each label.",
            )
        keys.append(row.cells[column])
        try:
            values.extend([float(row.cells[i]) for i in others])
        except ValueError:
            raise _number_error(path, row, names, others) from None
    return keys, np.frombuffer(values, dtype=np.float64)


def _number_error(path: Path, row: Row, names: list[str], others: list[int]) -> DataError:
    for i in others:
        if not _is_number(row.cells[i]):
            return DataError(
                f"{row.cells[i]!r} is not a number.",
                where=f"{path}, line {row.line}, column {names[i]!r}",
                fix="Give each image a score for each label. Leave out columns of other things.",
            )
    raise AssertionError("every cell is a number")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_quickly(path: Path, skipped: int, width: int) -> tuple[list[str], Numbers] | None:
    """The same as `_read_exactly`, if the first column is the images and the table is plain.

    Args:
        path: The file.
        skipped: The number of lines up to the first row.
        width: The number of columns.

    Returns:
        None if pyarrow is not installed, or if anything in the file is unusual or wrong.
    """
    try:
        import pyarrow
        from pyarrow import csv
    except ImportError:
        return None
    with open_text(path) as text:
        separator = separator_of(path, text).encode()
    options = {
        "read_options": csv.ReadOptions(column_names=["number"], block_size=_BLOCK),
        "parse_options": csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        "convert_options": csv.ConvertOptions(
            column_types={"number": pyarrow.float64()}, null_values=[]
        ),
    }
    keys: list[str] = []
    values = array("d")
    try:
        for names, cells in _plain_cells(path, skipped, separator, width):
            parsed = csv.read_csv(io.BytesIO(cells), **options).column("number")
            assert len(parsed) == len(names) * (width - 1)
            keys += names
            values.frombytes(memoryview(parsed.to_numpy()).cast("B"))
    except (_NotPlainError, pyarrow.ArrowException, UnicodeDecodeError):
        return None
    return keys, np.frombuffer(values, dtype=np.float64)


class _NotPlainError(Exception):
    """The table needs the csv module."""


def _plain_cells(
    path: Path, skipped: int, separator: bytes, width: int
) -> Iterator[tuple[list[str], bytes]]:
    """The keys of some rows, and all their other cells, one on a line."""
    with open_regular(path) as file:
        if any(b"\r" in line.replace(b"\r\n", b"") for line in islice(file, skipped)):
            raise _NotPlainError  # it ends a line for the csv module, but not here
        for lines in _lines(file):
            if any(line.count(separator) != width - 1 for line in lines):
                raise _NotPlainError
            pairs = [line.split(separator, 1) for line in lines]
            cells = b"\n".join(rest for _, rest in pairs).replace(separator, b"\n")
            yield [key.decode() for key, _ in pairs], cells + b"\n"


def _lines(file: BinaryIO) -> Iterator[list[bytes]]:
    """The lines of a file without their ends, some at a time."""
    while lines := file.readlines(_AT_ONCE):
        text = b"".join(lines).replace(b"\r\n", b"\n")
        if any(mark in text for mark in (b'"', b"\r", b"\0")):
            raise _NotPlainError
        yield [line for line in text.split(b"\n") if line.strip()]
