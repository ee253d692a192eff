"""Temporary names of files and folders that are being written, and the end of forgotten ones.

A temporary name is hidden and belongs to one writer: `.unfinished-`, four digits of the machine's
name, and eight random ones. The writer holds a lock on it as long as it lives. So whoever gets the
lock knows that the writer is dead, and may remove what it left behind. The next writer in the same
folder does so.

Two machines that share a disk may not see each other's locks. What another machine left behind is
therefore removed only after a day.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from manylabel.atomic.placing import is_undone, undo
from manylabel.locks import LOCK, lock, unlock

_BEGINNING: Final = ".unfinished-"
_NAME: Final = re.compile(r"\.unfinished-[0-9a-f]{4}-[0-9a-f]{8}(\..*)?", re.DOTALL)
_DAY: Final = 24 * 3600.0


@contextmanager
def unfinished_file(target: Path) -> Iterator[Path]:
    """A new, empty, hidden file beside `target`, with its ending. It is removed if it is left.

    Raises:
        OSError: The file cannot be made.
    """
    sweep(target.parent)
    path, claim = _new_file(target)
    with _released(claim):
        try:
            yield path
        finally:
            with suppress(OSError):  # It is there only after an error, which is raised already.
                path.unlink()


@contextmanager
def unfinished_folder(home: Path) -> Iterator[Path]:
    """A new, hidden folder in `home`. It is removed when the block ends.

    It stays if it holds something of `home` that could not be put back.

    Raises:
        OSError: The folder cannot be made.
    """
    sweep(home)
    path, claim = _new_folder(home)
    with _released(claim):
        try:
            yield path
        finally:
            if is_undone(path):
                shutil.rmtree(path, ignore_errors=True)


def holds_nothing(folder: Path) -> bool:
    """Whether a folder is empty, apart from a lock and what writers that were killed left there.

    Raises:
        OSError: It is not a folder that can be read.
    """
    sweep(folder)
    return not any(entry.name != LOCK for entry in folder.iterdir())


def sweep(home: Path) -> None:
    """Remove the unfinished files and folders in `home` whose writers are dead.

    If a writer was killed while it moved files to their places, they are moved back first.
    """
    with suppress(OSError):
        for name in os.listdir(home):
            if name.startswith(_BEGINNING) and _NAME.fullmatch(name):
                with suppress(OSError):  # Another user's, or something else with such a name.
                    _remove_if_dead(home / name, home)


def _remove_if_dead(path: Path, home: Path) -> None:
    found = os.lstat(path)
    foreign = not path.name.startswith(_prefix())
    if foreign and time.time() - found.st_mtime < _DAY:
        return
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return
    claim = lock(path)
    if claim is None:
        return
    with _released(claim):
        if stat.S_ISDIR(found.st_mode):
            undo(path, home)
            shutil.rmtree(path)
        else:
            path.unlink()


def _new_file(target: Path) -> tuple[Path, int | None]:
    """A new file and the lock on it."""
    while True:
        path = target.with_name(_prefix() + uuid.uuid4().hex[:8] + target.suffix)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        with suppress(FileNotFoundError):  # a sweeper came in between
            return path, _claim(path)


def _new_folder(home: Path) -> tuple[Path, int | None]:
    """A new folder and the lock on it."""
    while True:
        path = home / (_prefix() + uuid.uuid4().hex[:8])
        path.mkdir(parents=True)
        with suppress(FileNotFoundError):  # a sweeper came in between
            return path, _claim(path)


def _claim(path: Path) -> int | None:
    """The lock on something new; None if there are no locks here.

    Raises:
        FileNotFoundError: It was removed by a sweeper.
    """
    try:
        return lock(path, wait=True)
    except FileNotFoundError:
        raise
    except OSError:
        return None


@contextmanager
def _released(claim: int | None) -> Iterator[None]:
    """Release a lock when the block ends."""
    try:
        yield
    finally:
        if claim is not None:
            unlock(claim)


@cache
def _prefix() -> str:
    """The beginning of the temporary names of this machine."""
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:4]
    return f"{_BEGINNING}{host}-"
