"""Errors for mistakes of the user. Each says what is wrong, where, and how to fix it.

    ManylabelError
    ├── ConfigError         a recipe, a setting or an argument               exit 2
    ├── DataError           a data set: files, columns, labels, splits       exit 2
    │   └── ImageError      one image that cannot be used                    exit 2
    ├── BundleError         a bundle that is missing, newer or damaged       exit 2
    ├── CheckpointError     a checkpoint that is missing or of another run   exit 2
    ├── MissingExtraError   an optional dependency that is not installed     exit 2
    └── RunError            work that started and could not continue         exit 1
        └── StoppedError    work that the user stopped by Ctrl-C             exit 130

Exit 2 means that the work cannot start. Exit 1 means that the work started and an error ended it.
These errors are raised where the mistake is found, and only the command line catches them. A fault
of manylabel itself is an `assert` or an ordinary exception with a traceback, never one of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from manylabel.text import visible


class ManylabelError(Exception):
    """A mistake that the user can fix.

    Args:
        what: What is wrong, in one sentence.
        where: The file, key, line or label where it was found.
        fix: What the user can do.
        details: More about what is wrong, one line each, for instance one for each image.

    `str()` gives all of it for people: characters that a terminal would obey are escaped.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str, fix: str, details: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix
        self.details = tuple(details)

    def __str__(self) -> str:
        indented = [f"    {visible(detail)}" for detail in self.details]
        where, fix = f"  where: {visible(self.where)}", f"  fix:   {visible(self.fix)}"
        return "\n".join([visible(self.what), *indented, where, fix])

    def __reduce__(self):  # pickle cannot rebuild an object with keyword-only arguments
        return _remake, (type(self), self.what, self.where, self.fix, self.details)


def _remake(
    kind: type[ManylabelError], what: str, where: str, fix: str, details: tuple[str, ...]
) -> ManylabelError:
    return kind(what, where=where, fix=fix, details=details)


class ConfigError(ManylabelError):
    """A recipe, a setting or an argument is wrong."""

    exit_code = 2


class DataError(ManylabelError):
    """A data set cannot be read or used."""

    exit_code = 2


class ImageError(DataError):
    """One image cannot be used."""


class BundleError(ManylabelError):
    """A bundle is missing, damaged or made by a newer version."""

    exit_code = 2


class CheckpointError(ManylabelError):
    """A checkpoint is missing or belongs to another run."""

    exit_code = 2


class MissingExtraError(ManylabelError):
    """A feature needs an optional dependency that is not installed."""

    exit_code = 2


class RunError(ManylabelError):
    """Work that started could not continue, for example because of a NaN loss or a full disk."""

    exit_code = 1


class StoppedError(RunError):
    """Work that the user stopped by Ctrl-C, after it was saved."""

    exit_code = 130


@contextmanager
def os_errors_as(
    kind: type[ManylabelError], what: str, *, where: object, fix: str
) -> Iterator[None]:
    """Turn an `OSError` of the block into an error of `kind`, and add the system's reason to it.

    Args:
        kind: The class of the error.
        what: The fault without a full stop, such as "The report cannot be written".
        where: The file, folder or image that it was met at.
        fix: What to do about it.

    Raises:
        ManylabelError: Of `kind`; the block raised an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {reason(error)}.", where=str(where), fix=fix) from error


def to_install(extra: str) -> str:
    """How to install an optional dependency, for the fix of an error.

    manylabel is installed from its folder, because no release of it is in an index of packages.

    Example:
        >>> to_install("report")
        "Install it, in the folder of manylabel: pip install -e '.[report]'."
    """
    return f"Install it, in the folder of manylabel: pip install -e '.[{extra}]'."


def reason(error: Exception) -> str:
    """Why it failed: the first line of what an error says, without the full stop."""
    if isinstance(error, FileExistsError):  # what the system says of making a folder
        return "There is a file where a folder is needed"
    said = error.strerror if isinstance(error, OSError) else None
    lines = (said or str(error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
