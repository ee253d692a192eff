"""Finds the position of each file in a tar archive, so that it can be read without the others.

Source: the ustar and pax formats of POSIX.1-2001. An archive ends with two blocks of zeros.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, final

from manylabel.errors import DataError, reason
from manylabel.files import open_regular, read_errors

_BLOCK: Final = 512
_CHUNK: Final = 1 << 20
_TAR_DAMAGE: Final = (tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError)
"""tarfile raises all of these on damaged archives."""


@final
class Member(NamedTuple):
    """A file in an archive: its name, and the offset and number of its bytes."""

    name: str
    offset: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """The files of an uncompressed tar archive, in its order. Their contents are not read.

    Raises:
        DataError: The file does not exist, is not a tar archive, is incomplete or damaged, or holds
            links or sparse files.
    """
    with read_errors(path), open_regular(path) as file:
        yield from _members(file, path)


def _members(file: BinaryIO, path: Path) -> Iterator[Member]:
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (header := archive.next()) is not None:
                # tarfile keeps all headers for `getmembers`; this frees them.
                archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
                if header.size < 0 or archive.offset <= end:
                    raise _damaged(path, ": a size is below 0")  # it would be read for ever
                end = archive.offset
                if not header.isdir():
                    yield _member(header, path)
            end = archive.offset
    except _TAR_DAMAGE as error:
        raise _damaged(path, f": {reason(error)}") from None
    # tarfile stops without an error at a header that is incomplete or damaged.
    _require_end(file, end, path)


def _member(header: tarfile.TarInfo, path: Path) -> Member:
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise DataError(
            "The archive holds something that is not a regular file.",
            where=f"{path}, {header.name}",
            fix="Pack regular files only: no links and no sparse files.",
        )
    return Member(header.name, header.offset_data, header.size)


def _require_end(file: BinaryIO, end: int, path: Path) -> None:
    """Checks that at least two blocks of zeros follow the last member, and nothing else."""
    file.seek(end)
    size = 0
    while chunk := file.read(_CHUNK):
        if chunk.count(0) < len(chunk):
            raise _damaged(path, " after its last readable file, or it is several joined archives")
        size += len(chunk)
    if size < 2 * _BLOCK:
        raise _damaged(path, ": its end is missing")


def _damaged(path: Path, how: str) -> DataError:
    return DataError(
        f"The archive is incomplete or damaged{how}.",
        where=str(path),
        fix="Download or pack it again, as one uncompressed tar archive.",
    )
