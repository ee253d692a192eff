"""Checkpoints: one file with all that a run needs to resume. It is complete or does not exist.

The first line of the file holds its format and the SHA-256 of all that follows, which is what
`torch.save` writes. The digest is checked before anything else is read. So a file with a damaged
bit is refused, and never resumed from with other numbers.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, Final, final

import torch

from manylabel.errors import CheckpointError, reason
from manylabel.files import open_regular, replaced_file, write_errors
from manylabel.models.saved import load_saved

CHECKPOINT: Final = "checkpoint.pt"

_FORMAT: Final = 3
"""The format of a checkpoint. Other formats are refused. The first two had no line of their own."""
_HEADER: Final = b"manylabel checkpoint %d sha256 %s\n"
_HEADER_SIZE: Final = len(_HEADER % (_FORMAT, b"0" * 64))
_KNOWN: Final = re.compile(rb"manylabel checkpoint (\d) sha256 ([0-9a-f]{64})\n")
_OLD: Final = b"PK"
"""What the files of `torch.save` begin with."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`. If this fails, the previous checkpoint is kept.

    Raises:
        RunError: It cannot be written, for instance because the disk is full.
    """
    fix = "Make room on the disk, then train again: there is no earlier checkpoint."
    if path.exists():
        fix = (
            "Make room on the disk. The previous checkpoint is kept: "
            f"manylabel train --resume {path.parent}"
        )
    with (
        write_errors(path, "The checkpoint", fix=fix),
        replaced_file(path) as unfinished,
        unfinished.open("wb") as file,
    ):
        file.seek(_HEADER_SIZE)
        payload = _Digested(file)
        _write(state, payload)
        file.seek(0)
        file.write(_HEADER % (_FORMAT, payload.digest.hexdigest().encode()))


def load_checkpoint(path: Path, *, identity: str) -> dict[str, Any]:
    """The state in the checkpoint at `path`.

    Args:
        path: The checkpoint.
        identity: The identity of the run that is resumed: of its recipe and data.

    Raises:
        CheckpointError: The checkpoint is missing or damaged, was written by another version of
            manylabel, or belongs to another recipe or data set.
    """
    with _open(path) as file:
        _check(file, path)
        state = _read(file, path)
    if state.get("identity") != identity:
        raise CheckpointError(
            "The checkpoint belongs to another recipe or to other data.",
            where=str(path),
            fix="Resume with the recipe and data set that the run began with, or start a new run "
            "in another folder.",
        )
    return state


def require_checkpoint(path: Path) -> None:
    """Check that there is a whole checkpoint at `path` that this version of manylabel can read.

    The file is read once, and nothing in it is used. So a run that cannot resume says so before its
    data set is read.

    Raises:
        CheckpointError: The checkpoint is missing or damaged, or was written by another version of
            manylabel.
    """
    with _open(path) as file:
        _check(file, path)


def _open(path: Path) -> io.BufferedReader:
    try:
        return open_regular(path)
    except FileNotFoundError:
        raise CheckpointError(
            "There is no checkpoint to resume from.",
            where=str(path),
            fix="Give the folder of a run that was stopped, or train without --resume.",
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint cannot be read: {reason(error)}.",
            where=str(path),
            fix="Check its permissions.",
        ) from None


def _check(file: io.BufferedReader, path: Path) -> None:
    """Check the format and the digest; the file then stands where torch's bytes begin."""
    try:
        header = file.read(_HEADER_SIZE)
        known = _KNOWN.fullmatch(header)
        if header.startswith(_OLD) or (known and int(known[1]) != _FORMAT):
            raise CheckpointError(
                "The checkpoint was written by another version of manylabel.",
                where=str(path),
                fix="Resume with the version that began the run, or start a new run in another "
                "folder.",
            )
        if known is None:
            raise _damaged("it does not begin as a checkpoint does", path)
        if hashlib.file_digest(file, "sha256").hexdigest().encode() != known[2]:
            raise _damaged("it is incomplete, or bytes of it have changed", path)
        file.seek(_HEADER_SIZE)
    except OSError as error:
        raise _damaged(reason(error), path) from None


def _read(file: io.BufferedReader, path: Path) -> dict[str, Any]:
    payload: Any = _Payload(file)  # torch needs no more of a file than this
    try:
        state = load_saved(payload, os.fstat(file.fileno()).st_size)
    except UnpicklingError:
        raise _damaged("it asks for more than the state of a run", path) from None
    except Exception:  # the digest is right, so another program wrote the file
        raise _damaged("it holds something else than the state of a run", path) from None
    if not isinstance(state, dict):
        raise _damaged("it holds something else than the state of a run", path)
    return state


def _damaged(fault: str, path: Path) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint is damaged: {fault}.",
        where=str(path),
        fix="Start a new run in another folder.",
    )


@final
class _Digested:
    """A file to write to, which computes the digest of what is written. torch never seeks in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


@final
class _Payload(io.RawIOBase):
    """What follows the first line of a checkpoint, as a file of its own."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = _HEADER_SIZE if whence == io.SEEK_SET else 0
        return self._file.seek(start + offset, whence) - _HEADER_SIZE

    def tell(self) -> int:
        return self._file.tell() - _HEADER_SIZE

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


def _write(state: dict[str, Any], file: _Digested) -> None:
    """Save as `torch.save` does, but raise an `OSError` if the system reports one."""
    try:
        torch.save(state, file)  # pyright: ignore[reportArgumentType]
    except RuntimeError as error:  # torch replaces the system's error by its own
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
