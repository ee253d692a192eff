"""Moves new files and folders to their places, so that a move that was cut short can be undone.

The new ones are in a hidden folder beside their places:

    .unfinished-.../new/NAME      what will be at home/NAME; after an exchange, what was there
                    old/NAME      what was at home/NAME, if the system cannot exchange
                    journal       the inode of each new one, until all of them are to stay

While there is a journal, `undo` can put back what was there before, also after a kill. Removing the
journal is the moment from which the new ones stay.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from manylabel.atomic.exchange import exchange

NEW: Final = "new"
_OLD: Final = "old"
_UNDONE: Final = "undone"
_JOURNAL: Final = "journal"


@contextmanager
def placed(staging: Path, home: Path) -> Iterator[None]:
    """Move everything in `staging` into `home`. If the block raises, everything is moved back.

    The block can check that what was moved is correct. Old files and folders in `home` with the
    same names go when the staging folder goes. If the block raises, they are put back.

    Args:
        staging: What `files.staging_folder` gave, on the same disk as `home`.
        home: The folder that the files and folders are moved to.

    Raises:
        OSError: Something cannot be moved. Everything is then as it was before.
    """
    folder = staging.parent
    names = sorted(entry.name for entry in staging.iterdir())
    for kept in (_OLD, _UNDONE):
        (folder / kept).mkdir()
    inodes = json.dumps({name: _inode(staging / name) for name in names})
    (folder / _JOURNAL).write_text(inodes, encoding="utf-8")
    try:
        for name in names:
            _place(staging / name, home / name, folder / _OLD / name)
        yield
        (folder / _JOURNAL).unlink()
    except BaseException:  # Ctrl-C too
        undo(folder, home)
        raise


def undo(folder: Path, home: Path) -> None:
    """Put back what was in `home` before, if there is a journal. It can be repeated after a kill.

    Raises:
        OSError: Something cannot be moved back. The journal then stays.
    """
    for name, inode in _journal(folder).items():
        new, goal = folder / NEW / name, home / name
        places = (folder / _OLD / name, new)
        old = next((place for place in places if _inode(place) not in (None, inode)), None)
        if _inode(goal) == inode:
            if old is not None and exchange(old, goal):
                continue
            os.rename(goal, folder / _UNDONE / name)
        if old is not None and not os.path.lexists(goal):
            os.rename(old, goal)
    (folder / _JOURNAL).unlink(missing_ok=True)


def is_undone(folder: Path) -> bool:
    """Whether the folder holds nothing that belongs elsewhere, so that it can be removed."""
    return not (folder / _JOURNAL).exists()


def _place(new: Path, goal: Path, old: Path) -> None:
    if os.path.lexists(goal):
        if exchange(new, goal):
            return
        os.rename(goal, old)
    os.rename(new, goal)


def _journal(folder: Path) -> dict[str, int]:
    """What the journal says. It is empty if it was not finished: then nothing was moved."""
    with suppress(FileNotFoundError, NotADirectoryError, ValueError):
        return json.loads((folder / _JOURNAL).read_text(encoding="utf-8"))
    return {}


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None
