"""Locks between processes. The system releases a lock when its process ends, however it ends.

`held` makes sure that one process at a time writes somewhere. It locks a small file, which says who
holds the lock. `lock` is what it is built of: it locks a file or a folder that exists.

Windows has no `flock`: there, `held` uses the package filelock. Some file systems know no locks:
there, nothing is checked.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from manylabel.errors import ConfigError, RunError, os_errors_as

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK: Final = ".lock"
"""The name of the lock file of a folder that files are written into."""

_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without locks answers."""

_CAREFULLY: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""How to open what somebody else may have put there: not through a link, and without waiting."""

_LONGEST: Final = 200
"""The number of bytes of a lock file that are shown."""

_mine: dict[Path, int] = {}
"""The lock files that this process holds, with the thread that took each."""

_descriptors: set[int] = set()
"""The descriptors that hold the locks of this process."""


def lock_beside(path: Path) -> Path:
    """The lock file of a file or folder that is replaced as a whole: a hidden file beside it."""
    target = Path(os.path.realpath(path))
    return target.with_name(f".{target.name[:200]}{LOCK}")


@contextmanager
def held(
    path: Path,
    *,
    fix: str = "Wait until it ends, or give another place.",
    on_wait: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file `path`. Its folder is made if it does not exist.

    A thread that holds it already goes on. The file is removed when the block ends, and the folder
    too if it was made here and is empty. After a kill the file stays, but nobody holds it.

    Args:
        path: The lock file.
        fix: What to do if another process holds it.
        on_wait: Called once before waiting, if another process holds it. If it is None, that is an
            error.

    Raises:
        ConfigError: Another process, or another thread, holds it.
        RunError: The file cannot be written into its folder.
    """
    key = Path(os.path.realpath(path))
    if _mine.get(key) == threading.get_ident():
        yield
        return
    other = "Give a folder that you may write to. If this file is there, remove it."
    with os_errors_as(RunError, "The lock file cannot be written", where=path, fix=other):
        made = [folder for folder in key.parents if not folder.exists()]
        release = _take(path, fix, on_wait)
    _mine[key] = threading.get_ident()
    try:
        yield
    finally:
        _mine.pop(key, None)
        release()
        with suppress(OSError):  # one that is not empty
            for folder in made:
                folder.rmdir()


def remove_forgotten(path: Path) -> None:
    """Remove a lock file that nobody holds: what a kill at the very end of the work left."""
    with suppress(OSError):
        descriptor = lock(path)
        if descriptor is not None:
            path.unlink()
            unlock(descriptor)


def lock(path: Path, *, flags: int = os.O_RDONLY, wait: bool = False) -> int | None:
    """Lock a file or folder, and return the descriptor that holds the lock, for `unlock`.

    Args:
        path: The file or folder. A link is not followed.
        flags: How to open it.
        wait: Whether to wait while another process holds it.

    Returns:
        None if another process holds it.

    Raises:
        OSError: It cannot be opened, or there are no locks here.
    """
    while True:
        descriptor = os.open(path, flags | _CAREFULLY, 0o666)
        try:
            _flock(descriptor, wait=wait)
            if _is_at(path, descriptor):
                _forget_in_children()
                _descriptors.add(descriptor)
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:  # Ctrl-C too
            os.close(descriptor)
            raise
        os.close(descriptor)  # the one who held it has removed it: open what is there now


def unlock(descriptor: int) -> None:
    """Release what `lock` locked. In a forked child it does nothing."""
    if descriptor in _descriptors:
        _descriptors.discard(descriptor)
        os.close(descriptor)


def _take(path: Path, fix: str, on_wait: Callable[[], None] | None) -> Callable[[], None]:
    """Lock the file, and return what releases it."""
    if fcntl is None:
        return _take_by_filelock(path, fix, on_wait)
    try:
        descriptor = _lock_file(path, wait=False)
        if descriptor is None:
            _wait_or_refuse(path, fix, on_wait)
            descriptor = _lock_file(path, wait=True)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return lambda: path.unlink(missing_ok=True)
    assert descriptor is not None
    taken, place = descriptor, Path(os.path.abspath(path))

    def release() -> None:
        if taken in _descriptors:  # not in a forked child
            with suppress(OSError):  # if it cannot be removed, it is in nobody's way
                place.unlink()
        unlock(taken)

    try:
        os.ftruncate(taken, 0)
        os.write(taken, _myself().encode())
    except BaseException:
        release()
        raise
    return release


def _lock_file(path: Path, *, wait: bool) -> int | None:
    while True:
        with suppress(FileNotFoundError):  # whoever held it has removed the empty folder
            path.parent.mkdir(parents=True, exist_ok=True)
            return lock(path, flags=os.O_RDWR | os.O_CREAT, wait=wait)


def _take_by_filelock(
    path: Path, fix: str, on_wait: Callable[[], None] | None
) -> Callable[[], None]:
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    taken = FileLock(path)
    try:
        taken.acquire(timeout=0)
    except Timeout:
        _wait_or_refuse(path, fix, on_wait)
        taken.acquire()
    return taken.release


def _wait_or_refuse(path: Path, fix: str, on_wait: Callable[[], None] | None) -> None:
    if on_wait is None:
        raise ConfigError(
            f"Another process is writing here: {_holder(path)}.", where=str(path), fix=fix
        )
    on_wait()


def _myself() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on {socket.gethostname()}, since {since}\n"


def _holder(path: Path) -> str:
    """What a lock file says about who holds it."""
    with suppress(OSError), path.open("rb") as file:
        words = file.read(_LONGEST).decode("utf-8", "replace").partition("\n")[0]
        if words.isprintable() and words:
            return words
    return "it does not say which one"


def _flock(descriptor: int, *, wait: bool) -> None:
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to what was opened."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@cache
def _forget_in_children() -> None:
    """Let forked children close the descriptors of locks.

    A lock lasts until the last copy of its descriptor is closed. A process that reads images would
    otherwise keep it for some seconds after a kill of the process that trains.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    for descriptor in _descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()
    _mine.clear()
