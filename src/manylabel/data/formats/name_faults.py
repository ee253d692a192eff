"""Tells names of labels that are pieces of lists, quoted texts or errors of a spreadsheet."""

from __future__ import annotations

from typing import Final

_FAULTS: Final = frozenset({"#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"})
_PAIRS: Final = {"[": "]", "(": ")", "{": "}"}
_QUOTES: Final = "'\"`“”‘’«»„"


def fault_of_name(name: str) -> str | None:
    """What is wrong with the name of a label; None if nothing is.

    Example:
        >>> fault_of_name("['heron"), fault_of_name("cat (animal)"), fault_of_name(";)")
        ('begins with a bracket', None, None)
    """
    if name in _FAULTS:
        return "is an error of a spreadsheet"
    first, last = name[0], name[-1]
    if first.isalnum() and last.isalnum() or not any(map(str.isalnum, name)):
        return None
    if first in _QUOTES or (last in _QUOTES and not _ends_in_a_quote(name)):
        return "begins or ends with a quote"
    closing = _PAIRS.get(first)
    if closing is not None and (closing not in name or (first in "[{" and last == closing)):
        return "begins with a bracket"
    opening = next((o for o, c in _PAIRS.items() if c == last), None)
    if opening is not None and opening not in name:
        return "ends with a bracket"
    return None


def _ends_in_a_quote(name: str) -> bool:
    """Whether a quote at the end is an apostrophe or the sign for inches: James', 12"."""
    return name[-1] in "'’\"" and (name[-2:-1].isdigit() or name.lower().endswith(("s'", "s’")))
