"""Words with which programs write that a cell has no value."""

from __future__ import annotations

from typing import Final

_WORDS: Final = frozenset(
    {
        "nan",
        "-nan",
        "none",
        "null",
        "nil",
        "na",
        "n/a",
        "n.a.",
        "<na>",
        "#na",
        "#n/a",
        "#n/a n/a",
        "#nv",  # German
        "undefined",
        "<null>",
        "\\n",  # MySQL
        "1.#ind",
        "-1.#ind",
        "1.#qnan",
        "-1.#qnan",
    }
)

_LONGEST: Final = max(map(len, _WORDS))


def is_missing_word(text: str) -> bool:
    """Whether a text is a word for a missing value, in upper or lower case.

    Example:
        >>> is_missing_word("NaN"), is_missing_word("#N/A"), is_missing_word("nana")
        (True, True, False)
    """
    return len(text) <= _LONGEST and text.lower() in _WORDS
