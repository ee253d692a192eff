"""Text for people, and text from files that is safe to show.

Labels, keys and paths may contain any character. Some characters command a terminal instead of
being shown, and some change the order in which the text beside them is shown. People see such
characters as an escape. The values in files of data stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: among them ESC, line ends, and the 8-bit CSI
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates of writing directions
    "\u061c\u200e\u200f"  # marks of writing directions
    "\ud800-\udfff]"  # halves of pairs: bytes of a path that are not UTF-8
)


_FORMULA: Final = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a formula begins in a spreadsheet, perhaps after our marks. The last four are full-width."""


def visible(text: str) -> str:
    r"""The text with an escape in place of each character that a terminal would obey.

    Every line end is escaped too, so the result is one line. All other characters stay, also those
    that join letters, which some scripts and emoji need.

    Example:
        >>> visible("cat\x1b[2J\n"), visible("雪 é")
        ('cat\\x1b[2J\\n', '雪 é')
    """
    return _HIDDEN.sub(lambda found: repr(found[0])[1:-1], text)


def for_spreadsheet(cell: str) -> str:
    """The text as a cell of a table that a spreadsheet shows and does not run as a formula.

    It gets a `'` before it if it begins like a formula. A text that would be read back changed,
    because it begins with `'` and goes on like a formula, gets another one.

    Example:
        >>> for_spreadsheet("=1+1"), for_spreadsheet("'=1"), for_spreadsheet("cat")
        ("'=1+1", "''=1", 'cat')
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def from_spreadsheet(cell: str) -> str:
    """The text of a cell that `for_spreadsheet` gave.

    Example:
        >>> from_spreadsheet("'=1+1"), from_spreadsheet("''=1"), from_spreadsheet("'cat'")
        ('=1+1', "'=1", "'cat'")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def json_line(value: Any) -> str:
    r"""The value as one line of JSON, with all letters readable. A parser gives the exact value.

    Example:
        >>> json_line({"é": "\x9b1m"})
        '{"é": "\\u009b1m"}'
    """
    line = json.dumps(value, ensure_ascii=False)
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], line)


def counted(number: int, thing: str, things: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "image"), counted(1200, "image"), counted(2, "entry", "entries")
        ('1 image', '1,200 images', '2 entries')
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def some_names(names: Sequence[str], shown: int = 5) -> str:
    """The first names of a list, as text for a message.

    Example:
        >>> some_names(["a", "b", "c"], shown=2)
        'a, b, ...'
    """
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
