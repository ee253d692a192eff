"""Reads and writes files and folders. A file is written completely or not at all.

An error that is raised here names the file. A new file or folder is first written under a
temporary name beside its final place, and then takes its place in one step. So a reader never sees
half of it, and the old file stays until the new one is complete. After a full disk, an error,
Ctrl-C or a kill, the old or the new one is there, whole. What a killed writer left behind is
removed by the next writer in the same folder. `manylabel.atomic` has the parts of this.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

from manylabel.atomic.placing import NEW, placed
from manylabel.atomic.unfinished import unfinished_file, unfinished_folder
from manylabel.errors import DataError, RunError, os_errors_as, reason

MAX_READ: Final = 2 * 2**30
"""The most bytes of a file that is read whole, such as JSON or a list: 2 GiB."""


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `DataError` about the file that is read.

    Raises:
        DataError: The file does not exist or cannot be read.
    """
    fix = "Give a file that can be read."
    with os_errors_as(DataError, "The file cannot be read", where=path, fix=fix):
        try:
            yield
        except FileNotFoundError:
            raise DataError(
                "The file does not exist.", where=str(path), fix="Check the path."
            ) from None


def read_bytes(path: Path, *, at_most: int = MAX_READ) -> bytes:
    """The bytes of an ordinary file.

    Args:
        path: The file.
        at_most: The most bytes that the file may have.

    Raises:
        DataError: The file does not exist, cannot be read, is a pipe or a device, or is larger.
    """
    with read_errors(path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > at_most:
            raise DataError(
                f"The file has {size:,} bytes, and may have {at_most:,}.",
                where=str(path),
                fix="Check that it is the right file. If it is, divide it.",
            )
        return file.read()


def open_regular(path: str | Path) -> BufferedReader:
    """Open an ordinary file for reading bytes.

    Pipes and devices are refused without reading from them: they may have no end, or may wait.

    Raises:
        OSError: The file does not exist, cannot be read, or is a folder, a pipe or a device.
    """
    _require_regular(os.stat(path))
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    try:
        _require_regular(os.fstat(file.fileno()))  # it may have been replaced meanwhile
    except OSError:
        file.close()
        raise
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _require_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "It is a folder, a pipe or a device, and not an ordinary file")


def open_text(path: Path) -> TextIO:
    """Open a UTF-8 text file for reading line by line. Line endings stay as they are.

    A byte order mark is skipped. Reading raises a `UnicodeDecodeError` if the file is not UTF-8.

    Raises:
        DataError: The file does not exist, cannot be read, or is a pipe or a device.
    """
    with read_errors(path):
        return TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        DataError: The file does not exist, cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"The file is not UTF-8 text: byte {error.start:,} is not valid.",
            where=str(path),
            fix="Save it as UTF-8.",
        ) from None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank. Each is stripped and has its number from 1.

    Raises:
        DataError: The file does not exist, cannot be read, or is not UTF-8.
    """
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


_FREE_SPACE: Final = "Free disk space or give another path. What was there before is unchanged."
_WRITE_FIXES: Final = {
    errno.ENOENT: "Make its folder first, or give another path.",
    errno.ENOTDIR: "Give a path whose folder is a folder.",
    errno.EEXIST: "Give the path of a folder, or of one that does not exist.",
    errno.EISDIR: "Give the path of a file.",
    errno.EACCES: "Give a path that you may write to.",
    errno.EFBIG: "Raise the limit of the size of files (ulimit -f), or give another path.",
}
"""What to do about the errors of writing that have another cause than a full disk."""


@contextmanager
def write_errors(path: Path, what: str = "The file", *, fix: str | None = None) -> Iterator[None]:
    """Turn an `OSError` of the block into a `RunError`: "The report cannot be written: ...".

    Args:
        path: The file or folder that is written.
        what: What the file is, as the beginning of a sentence.
        fix: What the user can do about the error; if not given, what helps against its cause.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        known = _WRITE_FIXES.get(error.errno or 0, _FREE_SPACE)
        raise RunError(
            f"{what} cannot be written: {reason(error)}.", where=str(path), fix=fix or known
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file completely or not at all. Its folder is made if it does not exist.

    Line endings are written as they are.

    Raises:
        OSError: The file cannot be written. What was there before is unchanged.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file completely or not at all. Its folder is made if it does not exist.

    Raises:
        OSError: The file cannot be written. What was there before is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as unfinished:
        unfinished.write_bytes(data)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, completely or not at all. The file is made if it is missing.

    Raises:
        OSError: The line cannot be written. The file is as it was before.
    """
    data = f"{line}\n".encode()
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(before)
            raise


def mend_last_line(path: Path) -> None:
    """Remove the end of a text file after its last line break: a line that was not completed.

    Raises:
        OSError: The file cannot be read or changed.
    """
    with suppress(FileNotFoundError), path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary path to write a file to. When the block ends, the file replaces `path`.

    The temporary path has the ending of `path`. If the block raises, the new file is removed and
    `path` stays as it was. If `path` is a link, the link stays and the file that it points to is
    replaced. Devices and pipes, such as `/dev/stdout`, cannot be replaced: the block then gets
    `path` itself.

    Raises:
        OSError: The file cannot be moved to `path`.
    """
    with replaced_files(path) as (unfinished,):
        yield unfinished


@contextmanager
def replaced_files(*paths: Path) -> Iterator[list[Path]]:
    """As `replaced_file`, for files that belong together: none is replaced before all are complete.

    Raises:
        OSError: A file cannot be completed or moved to its path.
    """
    with ExitStack() as stack:
        moves: dict[Path, Path] = {}
        given: list[Path] = []
        for path in paths:
            if _is_stream(path):
                given.append(path)
                continue
            target = Path(os.path.realpath(path))
            given.append(stack.enter_context(unfinished_file(target)))
            moves[given[-1]] = target
        yield given
        for unfinished in moves:
            _sync(unfinished)
        for unfinished, target in moves.items():
            os.replace(unfinished, target)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write files into. When the block ends, it replaces `folder`.

    Everything that was in `folder` is then removed. If the block raises, `folder` stays as it was.
    If `folder` is a link, the link stays and the folder that it points to is replaced. Where the
    system can exchange two folders, `folder` is there at every moment.

    Raises:
        OSError: The folders cannot be made or renamed.
    """
    target = Path(os.path.realpath(folder))
    with staging_folder(target.parent) as staging:
        new = staging / target.name
        new.mkdir()
        yield new
        for file in sorted(new.rglob("*")):
            if file.is_file():
                _sync(file)
        with placed(staging, target.parent):
            pass


@contextmanager
def staging_folder(home: Path) -> Iterator[Path]:
    """A new, hidden folder in `home`, on the same disk. It is removed when the block ends.

    `home` is made if it does not exist.

    Raises:
        OSError: The folder cannot be made.
    """
    with unfinished_folder(home) as folder:
        staging = folder / NEW
        staging.mkdir()
        yield staging


def _is_stream(path: Path) -> bool:
    """Whether `path` cannot be replaced: a device, a pipe, or the target of stdout or stderr."""
    if not path.exists():
        return False
    return not path.is_file() or any(_is_descriptor(path, number) for number in (1, 2))


def _is_descriptor(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except OSError:  # the descriptor is closed
        return False


def _sync(path: Path) -> None:
    """Wait until the file is on the disk. Only now is it certain that the disk is not full."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
