"""Files: read whole with errors that say where, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from manylabel.errors import DataError


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            "The file does not exist.", where=str(path), fix="Check the path."
        ) from None
    except OSError as error:
        raise DataError(
            f"The file cannot be read: {error.strerror or error}.",
            where=str(path),
            fix="Give a file that can be read.",
        ) from None


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
