"""Reads predictions from a CSV or TSV table, in little more memory than the numbers need.

If pyarrow is installed, it parses the numbers of plain tables, which takes a third of the time. A
table that it refuses is read again by the csv module, whose errors name line and column. Both give
the same numbers: the double that is nearest to the text.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator, Sequence
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

_AT_ONCE: Final = 2**24
_BLOCK: Final = 2**22
"""So many bytes of a file are parsed at once, in blocks that pyarrow gives to its threads."""


def read_table(path: Path) -> Raw:
    """Read a CSV or TSV table: a column `image`, and one column for each label.

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
    found = (
        _read_quickly(path, first.line - 1, len(names)) if column == 0 < len(names) - 1 else None
    )
    keys, values = found or _read_exactly(path, names, column)
    labels = names[:column] + names[column + 1 :]
    keys = [from_spreadsheet(key.strip()) for key in keys]
    return keys, labels, values.reshape(len(keys), len(labels))


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


def _read_exactly(path: Path, names: list[str], column: int) -> tuple[list[str], Numbers]:
    """The keys, and the numbers of all rows in one array."""
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
            values.extend(map(float, row.cells[:column]))
            values.extend(map(float, row.cells[column + 1 :]))
        except ValueError:
            raise _number_error(path, row, names, column) from None
    return keys, np.frombuffer(values, dtype=np.float64)


def _number_error(path: Path, row: Row, names: list[str], column: int) -> DataError:
    for position, (name, cell) in enumerate(zip(names, row.cells, strict=True)):
        if position != column and not _is_number(cell):
            return DataError(
                f"{cell!r} is not a number.",
                where=f"{path}, line {row.line}, column {name!r}",
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
