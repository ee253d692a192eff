"""How much memory the images may take that are decoded at the same time."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Final, final

from manylabel.errors import ConfigError
from manylabel.images.limits import require_memory

SHARE: Final = 0.8
"""The share of the free memory that is used if no limit is given."""

LEAST: Final = 256_000_000
"""The bytes that images share in any case: enough for one photograph of 30 megapixels."""

_UNITS: Final = {
    **{"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40},
}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]i?B|%)", re.IGNORECASE)

_LARGE_FILE: Final = 16 * 1024 * 1024
"""Of files with more bytes, one is read at a time: what it needs is known only when it is read."""

_LARGE_IMAGE: Final = 100_000_000
"""Before an image that needs more bytes, the memory that earlier ones left is given back."""

_CGROUPS: Final = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""The limit of a container and what it uses, in versions 2 and 1 of control groups."""


@final
class Memory:
    """Lets threads decode images together as long as they stay below a limit.

    Args:
        limit: The bytes for all images that are decoded at the same time.
        fix: What to do if one image needs more.
    """

    def __init__(self, limit: int, *, fix: str = "Make it smaller first, or free memory.") -> None:
        self.limit, self.fix = limit, fix
        self._used = 0
        self._changed = threading.Condition()
        self._large_file = threading.Lock()

    def reading(self, size: int) -> AbstractContextManager[object]:
        """Hold the right to read a file of so many bytes and to keep it while it is decoded."""
        return self._large_file if size > _LARGE_FILE else nullcontext()

    @contextmanager
    def room(self, needed: int) -> Iterator[None]:
        """Wait until there is room for so many bytes, and hold it.

        A thread must not ask for room while it holds some: two such threads could wait for each
        other.

        Raises:
            ImageError: It is more than the whole limit.
        """
        require_memory(needed, self.limit, fix=self.fix)
        with self._changed:
            self._changed.wait_for(lambda: self._used + needed <= self.limit)
            self._used += needed
        try:
            if needed > _LARGE_IMAGE:
                _give_back()
            yield
        finally:
            with self._changed:
                self._used -= needed
                self._changed.notify_all()


def free_memory_share() -> Memory:
    """A limit of `SHARE` of the memory that is free now, on the machine or in the container.

    It is at least `LEAST`: the system may still find that much.
    """
    return Memory(max(LEAST, int(SHARE * free_bytes())))


def parse_size(text: str) -> int:
    """The bytes that a text such as "4GB", "512MiB" or "50%" means.

    MB is a million bytes and MiB 1,048,576; a percentage is of the memory of the machine or
    container.

    Raises:
        ConfigError: The text is not a size.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or not float(found[1]) or (found[2] == "%" and float(found[1]) > 100):
        raise ConfigError(
            f"'{text}' is not a size of memory that can be kept.",
            where="--max-memory",
            fix="Give a number above 0 with a unit, such as 4GB, 512MiB or 50%; at most 100%.",
        )
    if found[2] == "%":
        return int(float(found[1]) / 100 * total_bytes())
    return int(float(found[1]) * _UNITS[found[2].upper()])


def total_bytes() -> int:
    """The memory of the machine, or of the container if that has less."""
    limits = [limit for limit, _ in _container()]
    return min([_machine("MemTotal"), *limits])


def free_bytes() -> int:
    """The memory that processes can still take, on the machine or in the container."""
    left = [max(0, limit - used) for limit, used in _container()]
    return min([_machine("MemAvailable"), *left])


def own_bytes() -> int:
    """The most memory that this process has used so far; 0 if the system does not say it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _give_back() -> None:
    """Give memory that was freed back to the system. glibc would keep much of it in each thread."""
    if (trim := _trimmer()) is not None:
        trim(0)


@cache
def _trimmer() -> Callable[[int], object] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another system gives memory back by itself
        return None


def _machine(name: str) -> int:
    """A figure of /proc/meminfo. Where there is none: all memory, or an amount that is common."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration, ValueError, IndexError):
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else -1
        return pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else 4 * 10**9


def _container() -> Iterator[tuple[int, int]]:
    """The limits of the control groups of this process, each with what the group uses."""
    for folder in _control_groups():
        for limit, used in _CGROUPS:
            try:
                bound, taken = int((folder / limit).read_text()), int((folder / used).read_text())
            except (OSError, ValueError):  # not there, or "max": no limit
                continue
            yield bound, taken - _cached_bytes((folder / used).parent)


def _cached_bytes(group: Path) -> int:
    """The cached parts of files that a control group holds, which make room when it is needed."""
    try:
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    figures = dict(line.split(maxsplit=1) for line in lines)
    return sum(int(figures.get(name, 0)) for name in ("inactive_file", "active_file"))


def _control_groups(root: Path = Path("/sys/fs/cgroup")) -> Iterator[Path]:
    """The folder of this process's control group, and those that contain it."""
    yield root
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in own:
        *_, name = line.split(":", 2)
        inner = root / name.lstrip("/")
        yield from (each for each in (inner, *inner.parents) if root in each.parents)
