"""Text from files, made safe to show: labels, keys and paths may contain any character.

Some characters command a terminal instead of being shown, and some change the order in which the
text beside them is shown. People see such characters as an escape. The values in files of data stay
as they are.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: among them ESC, line ends, and the 8-bit CSI
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates of writing directions
    "\ud800-\udfff]"  # halves of pairs: bytes of a path that are not UTF-8
)


def visible(text: str) -> str:
    r"""The text with an escape in place of each character that a terminal would obey.

    Every line end is escaped too, so the result is one line. All other characters stay, also those
    that join letters, which some scripts and emoji need.

    Example:
        >>> visible("cat\x1b[2J\n"), visible("雪 é")
        ('cat\\x1b[2J\\n', '雪 é')
    """
    return _HIDDEN.sub(lambda found: repr(found[0])[1:-1], text)


def json_line(value: Any) -> str:
    r"""The value as one line of JSON, with all letters readable. A parser gives the exact value.

    Example:
        >>> json_line({"é": "\x9b1m"})
        '{"é": "\\u009b1m"}'
    """
    line = json.dumps(value, ensure_ascii=False)
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], line)
