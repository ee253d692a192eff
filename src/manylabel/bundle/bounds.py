"""How much a `bundle.json` may hold, checked before its values are.

Only the lists with an entry for each label are long. A check of values that are wrong takes far
longer than one of right values, so a file with a million of them is refused by its size.
"""

from __future__ import annotations

from typing import Any, Final

from manylabel.labels import MAX_LABELS

MAX_OTHERS: Final = 20_000
"""The largest number of keys and values in all, without the lists of all labels."""

_OF_LABELS: Final = ("labels", "thresholds")
"""The keys whose lists have an entry for each label; so do all lists of `calibration`."""


def require_bounds(tables: Any) -> None:
    """Check how much the tables of a `bundle.json` hold.

    Args:
        tables: What `parse_json` returned.

    Raises:
        ValueError: They hold too much. The message is the end of a sentence, without a full stop.
    """
    if not isinstance(tables, dict):
        return
    others = dict(tables)
    _take_lists(others, _OF_LABELS)
    calibration = others.get("calibration")
    if isinstance(calibration, dict):
        others["calibration"] = dict(calibration)
        _take_lists(others["calibration"], tuple(calibration))
    if _size(others) > MAX_OTHERS:
        raise ValueError(
            f"it holds more than {MAX_OTHERS:,} keys and values beside the lists of all labels"
        )


def _take_lists(table: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Replace lists with an entry for each label by nothing."""
    for key in keys:
        value = table.get(key)
        if isinstance(value, list):
            if len(value) > MAX_LABELS:
                raise ValueError(
                    f"{key[:60]!r} has {len(value):,} entries, more than {MAX_LABELS:,}"
                )
            table[key] = None


def _size(value: Any) -> int:
    """The number of keys and values within a value that JSON has."""
    if isinstance(value, dict):
        return 2 * len(value) + sum(map(_size, value.values()))
    if isinstance(value, list):
        return len(value) + sum(map(_size, value))
    return 0
