"""Kills a process right before each of its writes, or fills its disk, to see what is left.

A child is forked for each try, so that nothing is imported again. An audit hook counts what the
child does to a folder: opening for writing, renaming, removing, making folders, cutting. Before the
k-th of these the child kills itself. Writing within a file is no event for Python: there, the limit
for the size of a file ends the child in the middle of a write, with a signal that kills it.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from manylabel.errors import ManylabelError

EVENTS: Final = (
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"),
    *("os.fsync", "exchange"),
)
"""What changes a folder, besides opening for writing. The last two are announced by wrappers."""

DONE, KILLED, REFUSED, BROKEN = "done", "killed", "refused", "broken"
_REFUSED_CODE: Final = 3


@final
@dataclass(frozen=True)
class Writer:
    """Something that writes, and what may be found after it was killed.

    Args:
        name: The name in the table.
        prepare: Makes what is there before, in an empty folder.
        write: Writes in that folder.
        state: What is there: "none", "old" or "new". Anything else, or an error, is a failure.
        before: What `prepare` makes: "old", or "none".
        passing: A state that a kill may leave until the next writer comes.
    """

    name: str
    prepare: Callable[[Path], None]
    write: Callable[[Path], None]
    state: Callable[[Path], str]
    before: str = "old"
    passing: str = ""


@final
@dataclass
class Tally:
    """The tries of one writer, and the failures by what was wrong."""

    tries: int = 0
    passing: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def fail(self, what: str, example: str) -> None:
        """Count a failure."""
        self.failures[what] += 1
        self.examples.append(f"{what}: {example}")


def count_points(writer: Writer) -> int:
    """How many points there are at which `kill_at` can kill the writer."""
    with _prepared(writer) as home:
        reading, writing = os.pipe()
        counted = _Hook(home.path)

        def write() -> None:
            writer.write(home.path)
            os.write(writing, str(counted.seen).encode())

        assert _forked(write, counted.install) == DONE, writer.name
        os.close(writing)
        with open(reading, "rb") as pipe:
            return int(pipe.read())


def kill_at(writer: Writer, points: Iterable[int], tally: Tally) -> None:
    """Kill the writer before each of these points, from 1, and check what is left."""
    for point in points:
        with _prepared(writer) as home:
            end = _forked(partial(writer.write, home.path), _Hook(home.path, point).install)
            _judge(writer, home.path, tally, f"point {point}", end, {KILLED, DONE})


def kill_within_files(writer: Writer, sizes: Iterable[int], tally: Tally) -> None:
    """Kill the writer when a file of its own has grown to each of these sizes."""
    for size in sizes:
        with _prepared(writer) as home:
            end = _forked(partial(writer.write, home.path), partial(_limit, size, signal.SIG_DFL))
            _judge(writer, home.path, tally, f"killed at {size} bytes", end, {KILLED, DONE})


def fill_disk(writer: Writer, sizes: Iterable[int], tally: Tally) -> None:
    """Let no file grow beyond each of these sizes, as on a full disk. It must be told in words."""
    for size in sizes:
        with _prepared(writer) as home:
            end = _forked(partial(writer.write, home.path), partial(_limit, size, signal.SIG_IGN))
            if end == REFUSED and (left := _leftovers(home.path)):
                tally.fail("left after an error", f"full at {size} bytes: {left}")
            _judge(writer, home.path, tally, f"full at {size} bytes", end, {REFUSED, DONE})


def fill_real_disk(writer: Writer, free: Iterable[int], tally: Tally) -> bool:
    """Run the writer on a disk that has only so many bytes free. False: that is not permitted."""
    for size in free:
        with _prepared(writer, disk=True) as home:
            if not home.mounted:
                return False
            ballast = home.path / "ballast"
            left = shutil.disk_usage(home.path).free - size
            ballast.write_bytes(bytes(max(0, left)))
            end = _forked(partial(writer.write, home.path))
            if end == REFUSED and (left_over := _leftovers(home.path)):
                tally.fail("left after an error", f"{size} bytes free: {left_over}")
            ballast.unlink()
            _judge(writer, home.path, tally, f"{size} bytes free", end, {REFUSED, DONE})
    return True


def _judge(
    writer: Writer, home: Path, tally: Tally, example: str, end: str, allowed: set[str]
) -> None:
    """Check the state that a try left, then go on as a user does, and check again."""
    tally.tries += 1
    if end not in allowed:
        tally.fail("ended otherwise", f"{example}: {end}")
    state = _state(writer, home)
    if state == writer.passing:
        tally.passing += 1
    elif state not in {writer.before, "new"}:
        tally.fail("neither old nor new", f"{example}: {state}")
    if (end := _forked(partial(writer.write, home))) != DONE:
        tally.fail("cannot go on", f"{example}: {end}")
    if (state := _state(writer, home)) != "new":
        tally.fail("not new afterwards", f"{example}: {state}")
    if left := _leftovers(home):
        tally.fail("left behind", f"{example}: {left}")


def _state(writer: Writer, home: Path) -> str:
    try:
        return writer.state(home)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _leftovers(home: Path) -> list[str]:
    return sorted(
        path.relative_to(home).as_posix()
        for path in home.rglob(".*")
        if path.name.startswith(".unfinished-") or path.name.endswith("lock")
    )


@final
@dataclass(frozen=True)
class _Home:
    path: Path
    mounted: bool


@contextmanager
def _prepared(writer: Writer, *, disk: bool = False) -> Iterator[_Home]:
    """A new folder, prepared for the writer; with `disk`, one on a small disk of its own."""
    path = Path(tempfile.mkdtemp(prefix="faults-"))
    mounted = disk and _is_done("mount", "-t", "tmpfs", "-o", "size=16m", "none", str(path))
    try:
        writer.prepare(path)
        yield _Home(path, mounted)
    finally:
        if mounted:
            _is_done("umount", str(path))
        shutil.rmtree(path, ignore_errors=True)


def _is_done(*command: str) -> bool:
    """Whether a command is there and permitted."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _forked(work: Callable[[], object], begin: Callable[[], None] = lambda: None) -> str:
    """Do `work` in a forked child, and return how it ended."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 warns if there are threads. Those of a test runner do not matter to the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(_in_child(work, begin))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return KILLED
    codes = {0: DONE, _REFUSED_CODE: REFUSED}
    return codes.get(os.WEXITSTATUS(status), BROKEN)


def _in_child(work: Callable[[], object], begin: Callable[[], None]) -> int:
    try:
        begin()
        work()
    except ManylabelError:
        return _REFUSED_CODE
    except BaseException:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


def _limit(size: int, handler: Any) -> None:
    signal.signal(signal.SIGXFSZ, handler)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@final
class _Hook:
    """Counts what is done to a folder, and kills this process before a point."""

    def __init__(self, home: Path, point: int | None = None) -> None:
        self.home, self.point, self.seen = os.path.realpath(home), point, 0

    def install(self) -> None:
        sys.addaudithook(self._on_event)
        self._announce(os, "fsync", "os.fsync")
        try:
            from manylabel.atomic import placing
        except ImportError:  # an earlier version
            return
        self._announce(placing, "exchange", "exchange")

    def _announce(self, home: Any, name: str, event: str) -> None:
        real = getattr(home, name)

        def announced(*arguments: Any) -> Any:
            self._count()
            return real(*arguments)

        setattr(home, name, announced)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if (event == "open" and self._writes(arguments)) or (
            event in EVENTS and any(self._is_inside(argument) for argument in arguments)
        ):
            self._count()

    def _writes(self, arguments: tuple[Any, ...]) -> bool:
        path, mode, flags = arguments
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
        by_mode = isinstance(mode, str) and bool(set(mode) & set("wax+"))
        return self._is_inside(path) and (by_mode or bool((flags or 0) & writing))

    def _is_inside(self, argument: Any) -> bool:
        if isinstance(argument, int) and argument > 2:  # a descriptor, of what is relative to it
            try:
                argument = os.readlink(f"/proc/self/fd/{argument}")
            except OSError:
                return False
        if not isinstance(argument, str | bytes | os.PathLike):
            return False
        return os.fsdecode(argument).startswith(self.home)

    def _count(self) -> None:
        self.seen += 1
        if self.seen == self.point:
            os.kill(os.getpid(), signal.SIGKILL)
