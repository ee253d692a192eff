"""Finds label names that may mean the same."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

_MIN_LENGTH: Final = 5
"""Names with fewer letters are never close, for example "cat" and "car"."""

_MANY: Final = 100
"""Of more names than this that are alike, not all pairs are listed."""

NamePairs = list[tuple[str, str]]


def near_names(names: Sequence[str]) -> tuple[NamePairs, NamePairs]:
    """Pairs of names that differ only in spelling, and pairs that differ in one letter.

    Differences in spelling are case, accents, spaces, punctuation and a plural s. Names that differ
    in a digit ("level 1", "level 2") are different on purpose and are not reported.

    Example:
        >>> near_names(["bag", "T-shirt", "bags", "t shirt", "glasses", "glases"])
        ([('bag', 'bags'), ('T-shirt', 't shirt')], [('glasses', 'glases')])
    """
    bare = {name: _bare(name) for name in names}
    by_singular: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_singular[_singular(bare[name])].append(name)
    same = [pair for equal in by_singular.values() for pair in _pairs(equal)]
    known = set(same)
    close = [
        pair
        for pair in _one_letter_apart(bare)
        if pair not in known and _singular(bare[pair[0]]) != _singular(bare[pair[1]])
    ]
    return same, close


def _pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """All pairs of a few names; of many names, each with the first, as there would be too many."""
    if len(names) <= _MANY:
        return combinations(names, 2)
    return ((names[0], name) for name in names[1:])


def _bare(name: str) -> str:
    """The letters and digits of a name in lower case, without accents; the name if it has none."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in plain if c.isalnum()) or name


def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("sses", "shes", "ches", "xes"):
        if word.endswith(ending):
            return word[:-2]
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word


def _one_letter_apart(bare: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Pairs of long names where one inserted, deleted or replaced letter turns one into the other.

    Two such names are equal after one letter is removed from one or both. So only names that share
    such a shorter form are compared.
    """
    by_shorter: dict[str, list[str]] = defaultdict(list)
    for name, word in bare.items():
        if len(word) >= _MIN_LENGTH:
            for shorter in {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}:
                by_shorter[shorter].append(name)
    pairs = {pair: None for equal in by_shorter.values() for pair in _pairs(equal)}
    order = {name: i for i, name in enumerate(bare)}
    for a, b in sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]])):
        if _differ_by_a_letter(bare[a], bare[b]):
            yield a, b


def _differ_by_a_letter(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    start = next((i for i, c in enumerate(short) if c != long[i]), len(short))
    if len(short) == len(long):
        odd, same = long[start : start + 1] + short[start : start + 1], short[start + 1 :]
    else:
        odd, same = long[start], short[start:]
    return long[start + 1 :] == same and len(odd) > 0 and not odd.isdigit()
