"""The mistakes a user can make, each told as what, where and how to mend it.

    ManylabelError
    ├── ConfigError         a recipe, a setting or an argument               exit 2
    ├── DataError           a data set: files, columns, labels, splits       exit 2
    │   └── ImageError      one image that cannot be used                    exit 2
    ├── BundleError         a bundle that is missing, newer or damaged       exit 2
    ├── CheckpointError     a checkpoint that is missing or foreign          exit 2
    ├── MissingExtraError   an optional dependency that is not installed     exit 2
    └── RunError            work that had begun and could not go on          exit 1

Exit 2 says that what was asked for cannot be started; exit 1 that it was started and did not
end well. They are raised low and caught once, by the command line. A fault of manylabel itself
is an `assert` or an ordinary exception with a traceback, never one of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class ManylabelError(Exception):
    """A mistake that the user can mend.

    Args:
        what: The fault in one sentence.
        where: The file, key, line or label that it was met at.
        fix: What to do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.where}\n  fix:   {self.fix}"

    def __reduce__(self):  # keyword-only arguments: tell pickle how to make it anew
        return _remake, (type(self), self.what, self.where, self.fix)


def _remake(kind: type[ManylabelError], what: str, where: str, fix: str) -> ManylabelError:
    return kind(what, where=where, fix=fix)


class ConfigError(ManylabelError):
    """A recipe, a setting or an argument is wrong."""

    exit_code = 2


class DataError(ManylabelError):
    """A data set cannot be read as it is."""

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
    """Work that had begun could not go on: a loss that is not a number, a full disk."""

    exit_code = 1


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


def reason(error: Exception) -> str:
    """Why it failed: the first line of what an error says, without the full stop."""
    said = error.strerror if isinstance(error, OSError) else None
    lines = (said or str(error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
