"""Files and folders: read with errors that say where, and written whole or not at all.

What is written is first built under another name beside its place, and then renamed. So a reader
never sees half of it, and what lay there before stays until the new one is whole: after a full
disk, an error or Ctrl-C nothing has changed. The other name is hidden and belongs to one writer
(`.unfinished-` and eight random digits), so that two processes do not disturb each other.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from manylabel.errors import DataError, RunError, os_errors_as


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `DataError` about the file that is read.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    fix = "Give a file that can be read."
    with os_errors_as(DataError, "The file cannot be read", where=path, fix=fix):
        try:
            yield
        except FileNotFoundError:
            raise DataError(
                "The file does not exist.", where=str(path), fix="Check the path."
            ) from None


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    with read_errors(path):
        return path.read_bytes()


def open_text(path: Path) -> TextIO:
    """Open a text file, UTF-8, to be read line by line; the ends of lines stay as they are.

    A byte order mark is left out. Reading raises a `UnicodeDecodeError` if the file is not UTF-8.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    with read_errors(path):
        return path.open(encoding="utf-8-sig", newline="")


def read_text(path: Path) -> str:
    """A file's text, UTF-8, a byte order mark left out.

    Raises:
        DataError: There is no such file, it cannot be read, or it is not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"The file is not UTF-8 text: byte {error.start:,} does not fit.",
            where=str(path),
            fix="Save it as UTF-8.",
        ) from None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """A text file's lines that hold anything, stripped, each with its number from 1.

    Raises:
        DataError: There is no such file, it cannot be read, or it is not UTF-8.
    """
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def write_errors(
    path: Path,
    what: str = "The file",
    *,
    fix: str = "Make room or name another place; what lay there before is untouched.",
) -> AbstractContextManager[None]:
    """Turn an `OSError` of the block into a `RunError`: "The report cannot be written: ...".

    Args:
        path: The file or folder that is written.
        what: What it is, as the beginning of a sentence.
        fix: What to do about it.
    """
    return os_errors_as(RunError, f"{what} cannot be written", where=path, fix=fix)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, line ends as they are, whole or not at all; its folder is made.

    Raises:
        OSError: It cannot be written; what lay there before is untouched.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; its folder is made if it is not there.

    Raises:
        OSError: It cannot be written; what lay there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as unfinished:
        unfinished.write_bytes(data)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A path to write a file to; when the block ends, the file takes the place of `path`.

    The path that is given has the ending of `path`. If the block raises, what it has written is
    removed and `path` stays as it was. If `path` is a link, the link stays and the file that it
    names is replaced. Devices and pipes, such as `/dev/stdout`, cannot be replaced: the block then
    gets `path` itself.

    Raises:
        OSError: The file cannot be put in its place.
    """
    if _is_stream(path):
        yield path
        return
    target = Path(os.path.realpath(path))
    unfinished = _unfinished(target)
    try:
        yield unfinished
        _sync(unfinished)
        os.replace(unfinished, target)
    finally:
        with suppress(OSError):  # it is there after a fault only, which is told already
            unfinished.unlink()


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write files into; when the block ends, it takes the place of `folder`.

    All that `folder` held before is removed then. If the block raises, `folder` stays as it was.
    If `folder` is a link, the link stays and the folder that it names is replaced.

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
    """A new, hidden folder in `home`, on the same disk, which is removed when the block ends.

    `home` is made if it is not there.

    Raises:
        OSError: The folder cannot be made.
    """
    staging = _unfinished(home / "folder")
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def placed(staging: Path, home: Path) -> Iterator[None]:
    """Move all that `staging` holds into `home`; if the block raises, undo that.

    The block may prove that what was placed is right. What lay in `home` under the same names is
    removed when the block has ended, and is put back if it raises.

    Args:
        staging: A folder on the same disk as `home`.
        home: The folder that the files and folders are moved to.

    Raises:
        OSError: Something cannot be moved; all is as it was before.
    """
    names = sorted(entry.name for entry in staging.iterdir())
    moved: list[tuple[Path, Path]] = []
    with staging_folder(home) as old:
        try:
            for name in names:
                for origin, goal in ((home / name, old / name), (staging / name, home / name)):
                    if os.path.lexists(origin):
                        os.rename(origin, goal)
                        moved.append((origin, goal))
            yield
        except BaseException:  # Ctrl-C too
            for origin, goal in reversed(moved):
                os.rename(goal, origin)
            raise


def _unfinished(path: Path) -> Path:
    """A name beside `path`, with its ending, that no other writer has."""
    return path.with_name(f".unfinished-{uuid.uuid4().hex[:8]}{path.suffix}")


def _is_stream(path: Path) -> bool:
    """Whether `path` cannot be replaced: a device, a pipe, or where stdout or stderr goes to."""
    if not path.exists():
        return False
    return not path.is_file() or any(_is_descriptor(path, number) for number in (1, 2))


def _is_descriptor(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except OSError:  # the descriptor is closed
        return False


def _sync(path: Path) -> None:
    """Wait until the disk has the file: a full disk may show only now."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
