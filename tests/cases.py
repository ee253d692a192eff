"""Many cheap cases in one test: a failure names the case that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def case(**values: object) -> Iterator[None]:
    """Adds the values of a case to the traceback of an error that is raised within it."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the case {values}")
        raise
