"""Standard output and errors of the command line: what happens when nobody can take them.

If the reader of a pipe has left, as `head -1` does, the command ends without a word, as other
programs do. If the output cannot be written for another reason, such as a full disk, that is an
error like any other. Python alone would print a traceback in both cases, some of them only when it
ends.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Final, TextIO, final

from manylabel.errors import RunError, reason

READER_LEFT: Final = 141
"""The exit code if the reader of the output has left: 128 plus the number of SIGPIPE."""


def guard_streams() -> None:
    """Let `sys.stdout` and `sys.stderr` say what is wrong when they cannot be written.

    Terminals, and streams that were replaced, for example by a test, stay as they are. A stream
    that was closed before the process began takes what is written to it and drops it. Letters that
    the encoding of a stream does not have are written as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _is_utf8(stream):
            stream.reconfigure(errors="backslashreplace")
    if os.name == "posix":
        sys.stdout = _guarded(sys.stdout, sys.__stdout__, 1)
        sys.stderr = _guarded(sys.stderr, sys.__stderr__, 2)


def write_as_utf8(stream: TextIO) -> None:
    """Let a stream of data be UTF-8, as files of data are, whatever the system's encoding is."""
    if isinstance(stream, io.TextIOWrapper) and not _is_utf8(stream):
        stream.reconfigure(encoding="utf-8")


def _is_utf8(stream: TextIO) -> bool:
    return codecs.lookup(stream.encoding).name == "utf-8"


def _guarded(stream: TextIO | None, original: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lasts as long as the process
    if stream is not original or stream.isatty():
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream is sys.stderr,
    )


@final
class _Output(io.FileIO):
    """One of the two streams, below the buffer."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)

    def write(self, data, /) -> int | None:
        """Write bytes.

        Raises:
            SystemExit: The reader has left.
            RunError: They cannot be written.
        """
        try:
            return super().write(data)
        except BrokenPipeError:
            self._drop_the_rest()
            raise SystemExit(READER_LEFT) from None
        except OSError as error:
            self._drop_the_rest()
            name = "stdout" if self.fileno() == 1 else "stderr"
            raise RunError(
                f"The output cannot be written: {reason(error)}.",
                where=name,
                fix="Make room on the disk, or send the output to another place.",
            ) from None

    def _drop_the_rest(self) -> None:
        """Let what is still in the buffer go nowhere when the process ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
