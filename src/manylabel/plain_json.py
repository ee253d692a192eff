"""Reads JSON that a stranger may have written: bounded, and with one meaning only.

Python's own reader accepts more than JSON, and takes whatever time and memory the text asks for. It
reads NaN, which JSON does not have; keeps the last of two equal keys; turns 1e999 into infinity;
and nests as deep as the interpreter allows. Other programs read such texts in another way. So they
are refused here, with the reason in words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, NoReturn

MAX_VALUES: Final = 2_000_000
"""The largest number of values in a text."""
MAX_DEPTH: Final = 32
"""The largest number of objects and lists within one another."""
MAX_DIGITS: Final = 20
"""The largest number of digits of a whole number: those of 64 bits."""


def parse_json(data: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is not JSON in UTF-8, or it is beyond one of the bounds. The message is the
            end of a sentence, without a full stop. A byte order mark is skipped.

    Example:
        >>> parse_json(b'{"labels": ["cat"], "thresholds": [0.5]}')
        {'labels': ['cat'], 'thresholds': [0.5]}
        >>> parse_json(b'{"seed": 1, "seed": 2}')
        Traceback (most recent call last):
        ValueError: the key 'seed' is given twice
    """
    if sum(data.count(mark) for mark in b",[{") > MAX_VALUES:  # before they take memory
        raise ValueError(f"it holds more than {MAX_VALUES:,} values")
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_whole, parse_constant=_constant
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    _check(value)
    return value


def require_depth(value: Any) -> None:
    """Check that objects and lists are not nested more than `MAX_DEPTH` deep.

    Raises:
        ValueError: They are. The message is the end of a sentence, without a full stop.
    """
    for _ in _levels(value):
        pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice[:60]!r} is given twice")
    return values


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON has")


def _check(value: Any) -> None:
    """Check depth, fractions and texts."""
    for level in _levels(value):
        for item in level:
            if isinstance(item, str):
                if not item.isascii():
                    _check_text(item)
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError("a number is too large")


def _levels(value: Any) -> Iterator[list[Any]]:
    """The values with as many objects and lists around them, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        yield level
        inner = list[Any]()
        for item in level:
            if isinstance(item, dict):
                inner += item
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        if not inner:
            return
        level = inner
    raise _too_deep()


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character: "\ud800"
        raise ValueError("a text holds half a character, an unpaired surrogate") from None


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_DEPTH} deep")
