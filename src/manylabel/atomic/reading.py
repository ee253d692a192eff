"""Reads the files of a folder that another process may replace at the same time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from manylabel.errors import ManylabelError

T = TypeVar("T")

_TRIES: Final = 100
_PAUSE: Final = 0.01
"""The seconds to wait for a folder that is not there, but may be about to come."""


def read_whole(folder: Path, read: Callable[[], T]) -> T:
    """What `read` gives, which reads several files of `folder`.

    If it fails, and `folder` is another one than before, it is called again. `read` must fail if
    its files are from two different folders, for example because a hash differs.

    Raises:
        ManylabelError: `read` raised it, and `folder` was not replaced meanwhile.
    """
    for _ in range(_TRIES):
        with _pinned(folder) as before:
            try:
                return read()
            except ManylabelError:
                if not _was_replaced(folder, before):
                    raise
    return read()


@contextmanager
def _pinned(folder: Path) -> Iterator[os.stat_result | None]:
    """What the folder is now; None if it is not there.

    While the block runs, the folder is kept open, so that no other one gets its number.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # it is not there, or is no folder, or the system opens no folders
        yield _stat(folder)
        return
    try:
        yield os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _was_replaced(folder: Path, before: os.stat_result | None) -> bool:
    now = _stat(folder)
    if before is not None and now is not None:
        return not os.path.samestat(before, now)
    if before is None and now is None and not _has_writers(folder):
        return False
    time.sleep(_PAUSE)
    return True


def _has_writers(folder: Path) -> bool:
    """Whether something is being written beside the folder's place."""
    return any(Path(os.path.realpath(folder)).parent.glob(".unfinished-*"))


def _stat(folder: Path) -> os.stat_result | None:
    try:
        return folder.stat()
    except OSError:
        return None
