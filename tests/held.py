"""A lock of another process, for tests of what is refused then."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manylabel.locks import lock, unlock


@contextmanager
def held_elsewhere(path: Path) -> Iterator[None]:
    """The lock file is held by a descriptor of its own, as by another process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = lock(path, flags=os.O_RDWR | os.O_CREAT)
    assert descriptor is not None
    os.write(descriptor, b"process 7 on elsewhere, since yesterday\n")
    try:
        yield
    finally:
        path.unlink()
        unlock(descriptor)
