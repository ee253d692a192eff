"""Finds the mark between two labels of a cell, from all cells of a column together.

A mark may also belong to names: "T-shirt, blue", ";)". So each mark is judged by how many cells it
divides, and by whether the names that it gives come again in other cells. Where two marks would do,
nothing is guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from manylabel.errors import DataError

_MARKS: Final = "|;,\n\t"
_SAMPLE: Final = 20_000
"""The marks are judged by at most so many different cells, evenly spaced in the table."""
_RARE: Final = 0.05
_BOTH_PLACES: Final = 0.25
_SHOWN: Final = 3


def split_labels(cell: str, mark: str | None) -> list[str]:
    """The labels of a cell, separated by `mark`; None: the cell is one label."""
    if mark is None:
        return [cell] if cell else []
    parts = cell.split() if mark == " " else cell.split(mark)
    return [part.strip() for part in parts if part.strip()]


def guess_delimiter(cells: Sequence[str], where: str) -> str | None:
    """The delimiter between labels; None if each cell seems to be one label.

    Args:
        cells: The cells of the column. Equal cells may be left out.
        where: The column, for messages.

    Raises:
        DataError: Two marks would do, or it is unclear whether a mark belongs to the names.
    """
    counts = _sample(cells)
    found = [use for mark in _MARKS if (use := _use(mark, counts)).support]
    best = next((use for use in found if all(_beats(use, o) for o in found if o is not use)), None)
    if found and best is None:
        raise _ask([use.mark for use in found], found[0].example, where)
    spaces = _spaces(counts)
    if best is None:
        if spaces is not None and not spaces.certain:
            raise _ask([" "], spaces.example, where)
        return None if spaces is None else " "
    if spaces is not None and spaces.certain and _separated_by_spaces(spaces, best):
        return " "
    if _may_be_names(best, counts):
        raise _ask([best.mark], best.example, where)
    return best.mark


@dataclass(frozen=True)
class _Use:
    """What a mark does to the cells.

    Args:
        mark: The mark.
        support: How many different cells it divides.
        again: The share of the names in these cells that also occur in another cell, 0..1.
        names: How many different names all cells have with this mark.
        example: A cell that it divides.
        certain: For the space: whether it surely separates labels.
    """

    mark: str
    support: int
    again: float
    names: int
    example: str = ""
    certain: bool = True


def _sample(cells: Sequence[str]) -> Counter[str]:
    """Different cells, each with how often it occurs among those that were looked at."""
    step = max(1, len(cells) // _SAMPLE)
    return Counter(cell for cell in cells[::step] if cell)


def _use(mark: str, counts: Mapping[str, int]) -> _Use:
    lists = {cell: split_labels(cell, mark) for cell in counts}
    divided = [cell for cell, names in lists.items() if _divides(cell, names, mark, counts)]
    if not divided:
        return _Use(mark, 0, 0.0, len(lists))
    cells_with = Counter(name for names in lists.values() for name in set(names))
    inside = [name for cell in divided for name in lists[cell]]
    again = sum(cells_with[name] > 1 for name in inside) / len(inside)
    return _Use(mark, len(divided), again, len(cells_with), divided[0])


def _divides(cell: str, names: Sequence[str], mark: str, cells: Mapping[str, int]) -> bool:
    """Whether the mark stands between words, or ends one, and is not only part of a smiley."""
    if len(names) > 1 and any(name in cells for name in names):
        return True
    words = sum(any(map(str.isalnum, name)) for name in names)
    return words > 1 or (words == len(names) == 1 and cell != names[0] and cell.endswith(mark))


def _beats(one: _Use, other: _Use) -> bool:
    """Whether a mark is clearly the better one of two."""
    if one.again < other.again or one.support < other.support:
        return False
    twice_the_cells = one.support >= 2 * other.support and one.names <= other.names
    return twice_the_cells or 2 * one.names <= other.names


def _spaces(counts: Mapping[str, int]) -> _Use | None:
    """The use of spaces; None if they seem to be part of names ("traffic light").

    If spaces separate labels, there are fewer different words than different cells. But names such
    as "red car" and "blue bus" also share their words. In those a word keeps its place: it is
    always the last one or never. Among labels, some words are once the last and once not.
    """
    lists = [cell.split() for cell in counts]
    words = Counter(word for parts in lists for word in set(parts))
    several = [parts for parts in lists if len(parts) > 1]
    if len(words) >= len(counts) or not several:
        return None
    last = {parts[-1] for parts in several}
    earlier = {word for parts in several for word in parts[:-1]}
    both = len(last & earlier)
    known = sum(words[word] > 1 for word in last | earlier)
    certain = both > 0 and both >= _BOTH_PLACES * known
    inside = [word for parts in several for word in parts]
    again = sum(words[word] > 1 for word in inside) / len(inside)
    example = " ".join(several[0])
    return _Use(" ", len(several), again, len(words), example, certain)


def _separated_by_spaces(spaces: _Use, other: _Use) -> bool:
    """Whether the other mark, which few cells have, belongs to names in a list with spaces."""
    few = spaces.support >= 2 * other.support and spaces.names < other.names
    return few and other.again < min(0.5, spaces.again)


def _may_be_names(use: _Use, counts: Mapping[str, int]) -> bool:
    """Whether a comma or semicolon may be part of names: "tench, Tinca tinca".

    Then whole cells come again, and the parts of a cell are in no other cell.
    """
    if use.mark not in ",;" or use.again:
        return False
    divided = [cell for cell in counts if len(split_labels(cell, use.mark)) > 1]
    come_again = sum(counts[cell] > 1 for cell in counts)
    whole = len(divided) > 1 and all(counts[cell] > 1 for cell in divided)
    return whole or (come_again > 0 and use.support <= _RARE * len(counts))


def _ask(marks: Sequence[str], example: str, where: str) -> DataError:
    shown = " or ".join(map(repr, marks))
    first = marks[0]
    typed = {"\n": "$'\\n'", "\t": "$'\\t'"}.get(first, f"'{first}'")
    other = next(mark for mark in "|;/" if mark not in marks)
    return DataError(
        f"It is unclear what separates two labels: {shown} may be the delimiter, or be part of a "
        f"name, as in {_short(example)}.",
        where=where,
        fix=f"Say which text is between two labels: --label-delimiter {typed}. If each cell is one "
        f"label, give a mark that no cell has, such as --label-delimiter '{other}'.",
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
