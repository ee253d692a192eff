"""A CSV or TSV file in columns: strings where they are needed, numbers for the cells of labels."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final, TextIO, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.encodings import not_utf8, require_text
from manylabel.data.formats.tabular import (
    ROWS_LOOKED_AT,
    TRUTH_NAMES,
    WEAK_LABEL_NAMES,
    Columns,
    NamedColumns,
    choose_columns,
)
from manylabel.data.formats.truth_cells import CellCodes
from manylabel.errors import DataError
from manylabel.files import open_text
from manylabel.images import has_image_ending
from manylabel.labels import ABSENT, PRESENT, repeated
from manylabel.text import from_spreadsheet

_SHOWN: Final = 5
"""How many names a message lists."""

_DIGITS: Final = bytes.maketrans(b"01", bytes((ABSENT, PRESENT)))


@final
@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row, and the line on which it begins."""

    line: int
    cells: list[str]


@final
@dataclass(frozen=True)
class TextTable:
    """A table of N rows in columns, so that a million rows fit into memory.

    Args:
        path: The file.
        header: The names of the columns.
        columns: The columns with a role, such as the column of images.
        lines: The line on which each row begins.
        texts: The cells of each of `columns`, by its position.
        others: Positions of the K other columns; none if one column holds all labels, and only
            those that may contradict it.
        codes: int8 [N, K], the cells of `others`: codes of `truth_cells`.
        marked: The number of texts that were read without the mark of `for_spreadsheet`.
    """

    path: Path
    header: list[str]
    columns: Columns
    lines: Sequence[int]
    texts: Mapping[int, list[str]]
    others: list[int]
    codes: NDArray[np.int8]
    marked: int

    def at(self, line: int, column: int | None = None) -> str:
        """The place of a cell, for messages."""
        name = "" if column is None else f", column {self.header[column]!r}"
        return f"{self.path}, line {line}{name}"

    def text(self, row: int, column: int | None) -> str | None:
        """A cell of one of `columns`; None if it is empty or there is no such column."""
        return None if column is None else self.texts[column][row] or None


def load_table(path: Path, named: NamedColumns) -> TextTable:
    """The whole table, in columns.

    Args:
        path: The file, UTF-8.
        named: The columns that the user named; usual names are looked for in place of others.

    Raises:
        DataError: The file is missing, empty, not UTF-8, malformed, or without header or rows; or a
            named column does not exist.
    """
    rows = read_rows(path)
    first = next(rows, None)
    if first is None:
        raise DataError("The table is empty.", where=str(path), fix="Give a header and rows.")
    header = Row(first.line, [from_spreadsheet(name.strip()) for name in first.cells])
    _check_header(header, path)
    ahead = list(islice(rows, ROWS_LOOKED_AT))
    columns = choose_columns(header.cells, named, str(path), [row.cells for row in ahead])
    weak = [] if columns.label is not None else _weak_columns(header.cells, named.ignored)
    taken, lines, codes = columns.taken(), array("q"), array("b")
    others = _others(header.cells, columns, named.ignored)
    texts: dict[int, list[str]] = {i: [] for i in (*taken, *(i for i in weak if i not in taken))}
    shared: dict[str, str] = {}
    marked = sum(name != cell.strip() for name, cell in zip(header.cells, first.cells, strict=True))
    append_codes = _coder(others)
    for line, cells in ((row.line, row.cells) for row in chain(ahead, rows)):
        _check_length(cells, header.cells, f"{path}, line {line}")
        lines.append(line)
        for i, column in texts.items():
            text = cells[i].strip()
            cell = from_spreadsheet(text)
            marked += cell != text
            unique = i in (columns.image, columns.key)
            column.append(cell if unique else shared.setdefault(cell, cell))
        append_codes(codes, cells)
    if not lines:
        raise DataError(
            "The table has a header and no rows.", where=str(path), fix="Add a row for each image."
        )
    matrix = np.frombuffer(codes, dtype=np.int8).reshape(len(lines), len(others))
    return TextTable(path, header.cells, columns, lines, texts, others, matrix, marked)


def _weak_columns(header: Sequence[str], ignored: Sequence[str]) -> list[int]:
    """Columns that may name the labels, such as `class`."""
    left = ["" if name in ignored else name.lower() for name in header]
    return [i for i, name in enumerate(left) if name in WEAK_LABEL_NAMES]


def _others(header: Sequence[str], columns: Columns, ignored: Sequence[str]) -> list[int]:
    """The columns of which the codes are needed."""
    taken = columns.taken()
    left = [i for i, name in enumerate(header) if i not in taken and name not in ignored]
    if columns.label is None:
        return left
    return [i for i in left if header[i].lower() in TRUTH_NAMES]


def _coder(others: list[int]) -> Callable[[array[int], list[str]], None]:
    """A function that appends the codes of the cells at these positions of a row."""
    code_of = CellCodes().__getitem__
    run = range(others[0], others[-1] + 1) if others else range(0)
    side_by_side = list(run) == others

    def append(codes: array[int], cells: list[str]) -> None:
        chosen = cells[run.start : run.stop] if side_by_side else [cells[i] for i in others]
        joined = "".join(chosen)
        # Most rows have only cells 0 and 1: these are converted all at once.
        if len(joined) == len(chosen) and not joined.strip("01") and "" not in chosen:
            codes.frombytes(joined.encode().translate(_DIGITS))
        else:
            codes.extend(map(code_of, chosen))

    return append


def read_rows(path: Path) -> Iterator[Row]:
    """The rows that are not empty, read one after another. The cells are not changed.

    Raises:
        DataError: The file is missing, not UTF-8 or malformed.
    """
    line = 1
    require_text(path)
    with open_text(path) as file:
        try:
            separator = separator_of(path, file)
            # Without `strict`, a quote that is never closed takes in the rest of the file.
            reader = csv.reader(file, delimiter=separator, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield Row(line, cells)
                line = reader.line_num + 1
        except csv.Error as error:
            raise _row_error(error, f"{path}, line {line}") from None
        except UnicodeDecodeError:
            raise not_utf8(path) from None


def _row_error(error: csv.Error, where: str) -> DataError:
    if "field limit" in str(error):
        return DataError(
            f"A cell has more than {csv.field_size_limit():,} characters.",
            where=where,
            fix="Close every quote. If the cell is meant, convert the table to Parquet.",
        )
    return DataError(
        f"The row cannot be read: {error}.",
        where=where,
        fix="Close every quote, and double a quote that belongs to a cell.",
    )


def separator_of(path: Path, file: TextIO) -> str:
    """The separator of cells: the one that occurs most often in the header, outside of quotes.

    The file is read from its beginning, and is at its beginning again afterwards.
    """
    if path.suffix.lower() == ".tsv":
        return "\t"
    lines, quotes, blank = [], 0, True
    for line in file:
        lines.append(line)
        quotes += line.count('"')
        blank = blank and not line.strip()
        if not blank and quotes % 2 == 0:  # otherwise the row goes on in the next line
            break
    file.seek(0)
    header = re.sub('"[^"]*"', "", "".join(lines))
    mark = max(",;\t", key=header.count)
    return "|" if mark not in header and "|" in header else mark


def _check_length(cells: Sequence[str], header: Sequence[str], where: str) -> None:
    if len(cells) != len(header):
        raise DataError(
            f"The row has {len(cells)} cells and the header {len(header)}.",
            where=where,
            fix="Give each row a cell for each column; quote a cell that holds a separator.",
        )


def _check_header(header: Row, path: Path) -> None:
    where = f"{path}, line {header.line}"
    if len(header.cells) <= 2 and header.cells[0].lower().startswith("sep="):
        raise DataError(
            "The first line is a hint for Excel, not a header.",
            where=where,
            fix=f"Remove the line {header.cells[0]!r}: manylabel finds the separator by itself.",
        )
    if any(map(has_image_ending, header.cells)):
        raise DataError(
            "The table has no header: its first row names an image.",
            where=where,
            fix="Add a first line that names the columns, for instance image,labels.",
        )
    named = [name for name in header.cells if name]
    twice = repeated(named)
    if twice:
        raise DataError(
            f"Columns have the same name: {', '.join(twice[:_SHOWN])}.",
            where=where,
            fix="Rename or remove one of each.",
        )
