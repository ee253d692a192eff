"""Tells which files are not text in UTF-8, and what to do about them."""

from __future__ import annotations

import shlex
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from pathlib import Path
from typing import Final

from manylabel.errors import DataError
from manylabel.files import open_regular, read_errors

_HEAD: Final = 4096
_BOMS: Final = {
    # The mark of UTF-32 begins with that of UTF-16.
    BOM_UTF32_LE: "UTF-32",
    BOM_UTF32_BE: "UTF-32",
    BOM_UTF16_LE: "UTF-16",
    BOM_UTF16_BE: "UTF-16",
}
_OTHERS: Final = {
    b"PK\x03\x04": "a spreadsheet (.xlsx or .ods) or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (.xls)",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a file that was compressed with gzip",
}
_SAVE: Final = (
    "Save the table as UTF-8: in Excel, File > Save As > CSV UTF-8 (Comma delimited); in "
    "LibreOffice, Save As > Text CSV, character set UTF-8."
)
SPREADSHEETS: Final = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
"""Endings of files of spreadsheets, which are not read."""


def require_text(path: Path) -> None:
    """Refuse a file whose first bytes show that it is not text in UTF-8.

    Raises:
        DataError: It is a spreadsheet, an archive or a text in UTF-16 or UTF-32; or the file does
            not exist or cannot be read.
    """
    with read_errors(path), open_regular(path) as file:
        head = file.read(_HEAD)
    if path.suffix.lower() in SPREADSHEETS:
        raise _spreadsheet(path, "a spreadsheet")
    for start, what in _OTHERS.items():
        if head.startswith(start):
            raise _spreadsheet(path, what)
    encoding = _wide_encoding(head)
    if encoding is not None:
        raise DataError(
            f"The file is text in {encoding}, not in UTF-8.",
            where=str(path),
            fix=f"{_SAVE} {_convert(path, encoding)}",
        )


def _spreadsheet(path: Path, what: str) -> DataError:
    return DataError(
        f"The file is {what}, not a table of text.",
        where=str(path),
        fix=f"{_SAVE} Then give the new file."
        if "spreadsheet" in what
        else "Give a CSV file in UTF-8; or, for Parquet, give the file the ending .parquet.",
    )


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, from the mark at the beginning, or from zeros between the letters."""
    for mark, encoding in _BOMS.items():
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if half < 4 or max(even, odd) < half / 2 or min(even, odd) > half / 4:
        return None
    return "UTF-16LE" if odd > even else "UTF-16BE"


def not_utf8(path: Path) -> DataError:
    """The error about a file that is not UTF-8: it names the line, and shows how it may read."""
    number, line, error = _first_bad_line(path)
    position = error.start
    word = _word_at(line, position).decode("cp1252", errors="replace")
    return DataError(
        f"The file is not UTF-8 text: byte 0x{line[position]:02x} is not valid. In the code page "
        f"1252 of Windows the word is {word!r}.",
        where=f"{path}, line {number}",
        fix=f"{_SAVE} If the word above reads well: {_convert(path, 'CP1252')}",
    )


def _first_bad_line(path: Path) -> tuple[int, bytes, UnicodeDecodeError]:
    with read_errors(path), open_regular(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.removeprefix(BOM_UTF8).decode()
            except UnicodeDecodeError as error:
                return number, line.removeprefix(BOM_UTF8), error
    raise AssertionError("every line is UTF-8")


def _word_at(line: bytes, position: int) -> bytes:
    """The word around a byte, at most some letters of it."""
    stops = b' \t\r\n,;|"'
    start, end = position, position
    while start > 0 and line[start - 1] not in stops and position - start < 20:
        start -= 1
    while end < len(line) and line[end] not in stops and end - position < 20:
        end += 1
    return line[start:end]


def _convert(path: Path, encoding: str) -> str:
    out = shlex.quote(f"{path.stem}-utf8{path.suffix}")
    return f"On Linux or macOS, type: iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > {out}"
