"""What the cells of a column can say about one label: yes, no, unknown, or something else.

Text of CSV tables and the typed columns of Arrow tables get the same codes, so that both are read
alike.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.missing_words import is_missing_word
from manylabel.labels import ABSENT, PRESENT, UNKNOWN

GAP: Final = -3
"""A word for a missing value, such as nan."""
EMPTY: Final = -2
YES: Final = 2
NO: Final = 3
MARK: Final = 4
"""A cross or a tick, which only says that a label is present."""
FRACTION: Final = 5
"""A number between 0 and 1."""
COUNT: Final = 6
"""A whole number over 1."""
NUMBER: Final = 7
TEXT: Final = 8

ALL_CODES: Final = range(GAP, TEXT + 1)
LAST_WORD: Final = MARK
"""Codes up to this one say something about a label."""

_MOST: Final = 1 << 16
"""So many codes of cells are kept, so that equal cells are looked at once."""
_NUMBER: Final = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d{1,3})?")
_KNOWN: Final = {
    "1": PRESENT,
    "0": ABSENT,
    "-1": UNKNOWN,
    "": EMPTY,
    # pandas writes integers like this if a cell of the column is empty.
    "1.0": PRESENT,
    "0.0": ABSENT,
    "-1.0": UNKNOWN,
}
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "y", "t", "on", "present", "positive"), YES),
    **dict.fromkeys(("false", "no", "n", "f", "off", "absent", "negative"), NO),
    # Spreadsheets write TRUE and FALSE in the language of the computer.
    **dict.fromkeys(("wahr", "ja", "vrai", "oui", "verdadero", "sí", "si", "vero", "waar"), YES),
    **dict.fromkeys(("falsch", "nein", "faux", "non", "falso", "onwaar", "nee"), NO),
    **dict.fromkeys(("unknown",), UNKNOWN),
    **dict.fromkeys(("x", "✓", "✔", "☑", "✅", "☒", "×"), MARK),
    **dict.fromkeys(("☐", "✗", "✘", "❌"), NO),
}


class CellCodes(dict[str, int]):
    """The code of each cell of text."""

    def __init__(self) -> None:
        super().__init__(_KNOWN)

    def __missing__(self, cell: str) -> int:
        code = code_of(cell)
        if len(self) < _MOST:
            self[cell] = code
        return code


def code_of(cell: str) -> int:
    """The code of a cell of text.

    Example:
        >>> code_of(" TRUE ") == YES, code_of("1,0") == PRESENT, code_of("0.7") == FRACTION
        (True, True, True)
    """
    text = cell.strip().lower()
    known = _KNOWN.get(text, _WORDS.get(text))
    if known is not None:
        return known
    if _NUMBER.fullmatch(text):
        return int(codes_of_numbers(np.array([float(text.replace(",", "."))]))[0])
    return GAP if is_missing_word(text) else TEXT


def codes_of_numbers(values: NDArray[np.float64]) -> NDArray[np.int8]:
    """The codes [N] of numbers; NaN is a missing value."""
    codes = np.full(values.shape, NUMBER, dtype=np.int8)
    codes[(values > 0) & (values < 1)] = FRACTION
    codes[(values > 1) & (values == np.floor(values)) & np.isfinite(values)] = COUNT
    for target in (PRESENT, ABSENT, UNKNOWN):
        codes[values == target] = target
    codes[np.isnan(values)] = EMPTY
    return codes


def targets_of(codes: NDArray[np.int8], *, empty: int) -> NDArray[np.int8]:
    """The targets of codes up to `LAST_WORD`. The codes are changed in place.

    Args:
        codes: int8, of any shape.
        empty: The target of empty cells and missing values.
    """
    codes[codes < UNKNOWN] = empty
    codes[(codes == YES) | (codes == MARK)] = PRESENT
    codes[codes == NO] = ABSENT
    return codes
