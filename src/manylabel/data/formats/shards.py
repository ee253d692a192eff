"""Where each member of a tar archive lies, so that it can be read without the others.

Source: the ustar and pax formats of POSIX.1-2001; an archive ends with two blocks of zeros.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, final

from manylabel.errors import DataError, reason
from manylabel.files import read_errors

_BLOCK: Final = 512
_CHUNK: Final = 1 << 20


@final
class Member(NamedTuple):
    """A file within an archive: its name there, and where its bytes lie."""

    name: str
    offset: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """The files of an uncompressed tar archive, in its order; no content is read.

    Raises:
        DataError: There is no such file, it is no tar archive, it is cut short or damaged, or it
            holds links or sparse files.
    """
    with read_errors(path), path.open("rb") as file:
        yield from _members(file, path)


def _members(file: BinaryIO, path: Path) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (header := archive.next()) is not None:
                # tarfile keeps them all, for `getmembers`.
                archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
                if not header.isdir():
                    yield _member(header, path)
            end = archive.offset
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise _damaged(path, f": {reason(error)}") from None
    # tarfile stops without a word at a header that is cut short or damaged.
    _require_end(file, end, path)


def _member(header: tarfile.TarInfo, path: Path) -> Member:
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise DataError(
            "The archive holds something else than plain files.",
            where=f"{path}, {header.name}",
            fix="Pack the files themselves: no links, no sparse files.",
        )
    return Member(header.name, header.offset_data, header.size)


def _require_end(file: BinaryIO, end: int, path: Path) -> None:
    """What follows the last member are two blocks of zeros or more."""
    file.seek(end)
    size = 0
    while chunk := file.read(_CHUNK):
        if chunk.count(0) < len(chunk):
            raise _damaged(path, " after its last readable file, or several were joined")
        size += len(chunk)
    if size < 2 * _BLOCK:
        raise _damaged(path, ": its end is missing")


def _damaged(path: Path, how: str) -> DataError:
    return DataError(
        f"The archive is cut short or damaged{how}.",
        where=str(path),
        fix="Fetch or pack it again, as one uncompressed tar archive.",
    )
