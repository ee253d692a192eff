"""Files: read whole with errors that say where, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from manylabel.errors import DataError


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def open_text(path: Path) -> TextIO:
    """A file's text, UTF-8, to be read line by line; the ends of lines stay as they are.

    A file that is not UTF-8 is found out while it is read, by a UnicodeDecodeError.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise _unreadable(path, error) from None


def read_text(path: Path) -> str:
    """A file's text, UTF-8, a byte order mark left out.

    Raises:
        DataError: There is no such file, it cannot be read, or it is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"The file is not UTF-8 text: byte {error.start:,} does not fit.",
            where=str(path),
            fix="Save it as UTF-8.",
        ) from None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """A text file's lines that hold anything, stripped, each with its number from 1.

    Raises:
        DataError: There is no such file, it cannot be read, or it is not UTF-8.
    """
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _unreadable(path: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError("The file does not exist.", where=str(path), fix="Check the path.")
    return DataError(
        f"The file cannot be read: {error.strerror or error}.",
        where=str(path),
        fix="Give a file that can be read.",
    )
