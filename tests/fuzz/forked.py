"""Runs one try in a forked child that can do no harm, and says what the child did.

The child has a limit of memory and a limit of time. An audit hook refuses to open files outside of
the folder of the try, to connect to anything and to start a process; whoever tries has failed, even
if it goes on.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

import torch

from manylabel.errors import ManylabelError

MEMORY: Final = 1 << 30
"""The address space in bytes that a try may add to what is there before."""
SECONDS: Final = 3.0
"""The time of a processor that a try may take."""
HANG: Final = 10.0
"""A try that takes longer, in seconds, is ended."""
LONGEST: Final = 5_000
"""The largest number of characters of an error message."""

_FORBIDDEN: Final = (
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request"),
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("os.remove", "os.rename", "os.rmdir", "shutil.rmtree"),
)
"""Events of Python's audit hooks that no reader of a file has a reason for."""

Outcome = Literal["accepted", "refused", "failed"]


@final
@dataclass(frozen=True)
class Verdict:
    """What a try came to.

    Args:
        outcome: What the child did.
        reason: Why it failed, or the refusal.
        seconds: The time of a processor that it took.
    """

    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0


def tried(feed: Callable[[Path], None], folder: Path) -> Verdict:
    """The verdict on `feed(folder)`, which a forked child calls.

    Args:
        feed: Returns if it accepts the folder, and raises a `ManylabelError` if it refuses it.
            Everything else is a failure.
        folder: The only folder whose files may be opened.
    """
    read, write = os.pipe()
    with warnings.catch_warnings():  # torch has threads; the child uses none of them
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(read)
        _report(feed, folder, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        found = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGALRM:
        return Verdict("failed", f"It took more than {HANG:.0f} seconds.", HANG)
    if code:
        return Verdict("failed", f"The process ended with {code}.")
    return Verdict(**json.loads(found))


def _report(feed: Callable[[Path], None], folder: Path, write: int) -> None:
    """Call `feed` in this child, send the verdict and end the child."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        faulthandler.disable()
        torch.set_num_threads(1)  # the threads of the parent do not exist in the child
        verdict = _judged(feed, folder)
        os.write(write, json.dumps(asdict(verdict)).encode())
        code = 0
    finally:
        os._exit(code)


def _judged(feed: Callable[[Path], None], folder: Path) -> Verdict:
    forbidden = _watched(folder)
    _set_limits()
    started = time.process_time()
    outcome, reason = _outcome(feed, folder)
    seconds = time.process_time() - started
    resource.setrlimit(resource.RLIMIT_AS, (_hard_limit(), _hard_limit()))
    if forbidden:
        outcome, reason = "failed", f"It tried: {forbidden[0]}"
    elif seconds > SECONDS and outcome != "failed":
        outcome, reason = "failed", f"It took {seconds:.1f} seconds. {reason}"
    return Verdict(outcome, reason[:500], seconds)


def _outcome(feed: Callable[[Path], None], folder: Path) -> tuple[Outcome, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            feed(folder)
    except ManylabelError as error:
        fault = _message_fault(error)
        return ("failed", fault) if fault else ("refused", str(error).splitlines()[0])
    except BaseException as error:
        return "failed", _described(error)
    return "accepted", ""


def _described(error: BaseException) -> str:
    """The error and the place where it was raised, on one line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    message = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {message} ({Path(place.filename).name}, line {place.lineno})"


def _message_fault(error: ManylabelError) -> str:
    """What is wrong with the words of a refusal, if anything."""
    if not all(part.strip() for part in (error.what, error.where, error.fix)):
        return "The message does not say what, where and how to mend it."
    if len(str(error)) > LONGEST:
        return f"The message has {len(str(error)):,} characters."
    printable = str(error).replace("\n", "").isprintable()
    return "" if printable else "The message has control characters."


def _set_limits() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, _hard_limit()))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, HANG)


def _hard_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_AS)[1]


def _watched(folder: Path) -> list[str]:
    """The forbidden things that this process tries from now on; they do not happen."""
    found: list[str] = []
    own = (
        str(folder),
        "/proc/self/",
        "/sys/",
        sys.prefix,
        sys.base_prefix,
        *filter(None, sys.path),
    )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if path.startswith(own):
                return
            found.append(f"to open {path}")
        elif event in _FORBIDDEN:
            found.append(f"{event} {arguments!r:.100}")
        else:
            return
        raise PermissionError(found[-1])

    sys.addaudithook(hook)
    return found
