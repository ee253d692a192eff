"""Recipes that the command line changes: which change made a mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manylabel.config import AnyConfig, override
from manylabel.errors import ConfigError


def check_changed(
    check: Callable[[dict[str, Any]], AnyConfig],
    tables: Mapping[str, Any],
    settings: Sequence[str],
    *,
    option: str = "--set",
) -> AnyConfig:
    """The settings that `check` makes of changed tables; an error names the change that brought it.

    Args:
        check: Checks tables, and raises a `ConfigError` if they do not fit.
        tables: The tables before the changes.
        settings: The changes, as key=value.
        option: The command-line option with which they were given.

    Raises:
        ConfigError: The changed tables do not fit. `where` is the first change that makes the same
            error, or is left as it is if the tables had it before.
    """
    try:
        return check(override(tables, settings, option=option))
    except ConfigError as error:
        faults = [_fault(check, tables, settings[:count]) for count in range(len(settings))]
        first = faults.index(error.what) if error.what in faults else len(settings)
        if first == 0:
            raise
        where = f"{option} {settings[first - 1]}"
        raise ConfigError(error.what, where=where, fix=error.fix, details=error.details) from None


def _fault(
    check: Callable[[dict[str, Any]], Any], tables: Mapping[str, Any], settings: Sequence[str]
) -> str | None:
    """What is wrong with tables that are changed so; None: nothing."""
    try:
        check(override(tables, settings))
    except ConfigError as error:
        return error.what
    return None
