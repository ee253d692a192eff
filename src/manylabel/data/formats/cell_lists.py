"""Reads lists that other programs wrote into a cell as text.

['heron', 'reed']     Python; also tuples, sets, and what NumPy and pandas print
["heron", "reed"]     JSON
{heron,"grey reed"}   PostgreSQL
{"choices": [...]}    Label Studio
[0, 1, 0]             a number for each label
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import Final, final

_OPENING: Final = {"[": "]", "(": ")", "{": "}"}
_WRAPPED: Final = re.compile(
    r"(?:np\.|numpy\.|pd\.)?"
    r"(?:array|list|tuple|set|frozenset|Index|Series|dict_keys|dict_values|StringArray|ListConfig)"
    r"\((.*?)(?:,\s*dtype=[^()]*(?:\([^()]*\))?)?\s*\)",
    re.DOTALL,
)
_QUOTED: Final = r"""[ubrUBR]{0,2}(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_TOKEN: Final = re.compile(
    rf"\s*(?:(?:np|numpy)\.str_\(\s*(?P<scalar>{_QUOTED})\s*\)|(?P<quoted>{_QUOTED})"
    r"|(?P<bare>[^\s,'\"\[\](){}]+))\s*(?P<comma>,?)",
    re.DOTALL,
)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_BOOLEAN: Final = {"true": "1", "false": "0"}
_LISTED: Final = frozenset({"choices", "labels", "tags", "label", "taxonomy"})
"""Keys of a JSON object whose value lists names."""


@final
@dataclass(frozen=True)
class CellList:
    """What a cell with a list holds; exactly one of the fields is not None.

    Args:
        names: The names, in quotes in the cell.
        numbers: The numbers of a list of numbers, or of booleans.
        text: The inside of brackets in which nothing is in quotes.
        fault: Why the list cannot be read, as a sentence without a full stop.
    """

    names: list[str] | None = None
    numbers: list[float] | None = None
    text: str | None = None
    fault: str | None = None


def read_list(cell: str) -> CellList | None:
    """The list in a cell; None if the cell is not in brackets.

    Example:
        >>> read_list("['heron', 'grey reed']").names
        ['heron', 'grey reed']
        >>> read_list("traffic light (red)") is None
        True
    """
    cell = _unwrapped(cell)
    if len(cell) < 2 or _OPENING.get(cell[0]) != cell[-1]:
        return None
    if cell[1:-1].strip() == "":
        return CellList(names=[])
    if cell[0] == "{" or (cell[0] == "[" and "{" in cell):
        known = _json_names(cell)
        if known is not None:
            return known
    inner = cell[1:-1].strip()
    if cell[0] == "(" and not any(mark in inner for mark in "'\","):
        return None  # "(other)" is a name
    return _read_inner(inner)


def _unwrapped(cell: str) -> str:
    """The cell without the name of a type around it: `array([...], dtype=object)`, `set()`."""
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and cell[1:2] in _OPENING:
        try:
            cell = str(json.loads(cell)).strip()  # JSON that was written as a JSON text
        except ValueError:
            return cell
    wrapped = _WRAPPED.fullmatch(cell)
    if wrapped is None:
        return cell
    return wrapped[1].strip() or "[]"


def _json_names(cell: str) -> CellList | None:
    """The names in a JSON object as Label Studio exports it; None if the cell is no object."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return _python_dict(cell)
    objects = value if isinstance(value, list) else [value]
    if not any(isinstance(each, dict) for each in objects):
        return None
    names: list[str] = []
    for each in objects:
        inside = next((each[key] for key in _LISTED if key in each), None) if each else None
        one = [inside] if isinstance(inside, str) else inside
        single = isinstance(each, dict) and len(each) == 1
        if not (single and isinstance(one, list) and all(isinstance(x, str) for x in one)):
            return CellList(fault="The cell holds JSON objects, not a list of names")
        names += one
    return CellList(names=names)


def _python_dict(cell: str) -> CellList | None:
    if re.search(r"""['"]\s*:""", cell):
        return CellList(fault="The cell holds a dictionary, not a list of names")
    return None


def _read_inner(inner: str) -> CellList:
    if "'" not in inner and '"' not in inner:
        numbers = _numbers(inner)
        return CellList(text=inner) if numbers is None else CellList(numbers=numbers)
    names: list[str] = []
    quoted, at = 0, 0
    while at < len(inner):
        token = _TOKEN.match(inner, at)
        if token is None:
            return _unread(inner)
        bare = token["bare"]
        if bare is not None and set(bare) == {"."}:
            return CellList(fault="The list was shortened with ... when it was written")
        if bare is None:
            quoted += 1
            names.append(_unquoted(token["scalar"] or token["quoted"]))
        else:
            names.append(bare)
        at = token.end()
    return CellList(names=names) if quoted else _unread(inner)


def _unread(inner: str) -> CellList:
    """What has no sound quotes: an apostrophe in a name, a list in a list, or a cut list."""
    if inner[:1] in _OPENING or any(mark in inner for mark in ("[", "]", "{", "}")):
        return CellList(fault="The cell holds lists in a list")
    if inner[:1] in "'\"" or inner[-1:] in "'\"":
        return CellList(fault="A quote in the list is not closed")
    return CellList(text=inner)


def _unquoted(token: str) -> str:
    """The text of a quoted word of Python or JSON."""
    try:
        if token[0] == '"':
            return str(json.loads(token, strict=False))
        value = ast.literal_eval(token)
    except (ValueError, SyntaxError):
        return token.lstrip("ubrUBR")[1:-1]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _numbers(inner: str) -> list[float] | None:
    """The numbers or booleans of a list; None if there is something else."""
    words = inner.replace(",", " ").split()
    texts = [_BOOLEAN.get(word.lower(), word) for word in words]
    return list(map(float, texts)) if all(map(_NUMBER.fullmatch, texts)) else None
