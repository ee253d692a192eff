"""Files that appear together, whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Proof = TypeVar("Proof")


@contextmanager
def built_in(staging: Path) -> Iterator[None]:
    """A new folder, which is gone afterwards with all that is still in it."""
    staging.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def placed(staging: Path, home: Path, proved: Callable[[], Proof]) -> Proof:
    """Move what was built into `home`, and give what proves it; if nothing does, all is as before.

    Args:
        staging: The folder that it was built in; what it replaces is moved there.
        home: The folder that it is moved to, on the same disk.
        proved: Called once all is in place; whatever it raises undoes the moves.
    """
    names = sorted(entry.name for entry in staging.iterdir())
    aside = staging / "replaced"
    aside.mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for name in names:
            for origin, goal in ((home / name, aside / name), (staging / name, home / name)):
                if os.path.lexists(origin):
                    os.rename(origin, goal)
                    moved.append((origin, goal))
        return proved()
    except BaseException:  # an interrupt too
        for origin, goal in reversed(moved):
            os.rename(goal, origin)
        raise
