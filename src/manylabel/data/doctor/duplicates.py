"""Findings about duplicate images. Duplicates in different splits come first: they are leaks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple, final

import numpy as np

from manylabel.data.doctor.findings import SHOWN, Finding, Severity, listed
from manylabel.data.doctor.look import Looks
from manylabel.data.doctor.similar import find_alike
from manylabel.data.records import Record, Records
from manylabel.labels import ABSENT, PRESENT
from manylabel.text import counted


@final
@dataclass(frozen=True)
class Duplicates:
    """The images of a data set that are the same picture or look alike.

    Args:
        exact: One list for each picture that occurs more than once, in order. It has the positions
            of the images with the same bytes.
        near: Pairs of pictures that look alike, the most alike first. Each picture is a list of
            the positions of its images; the list has one entry if there is only one. There are
            enough pairs to connect all pictures that look alike.
    """

    exact: list[list[int]]
    near: list[tuple[list[int], list[int]]]


def find_duplicates(looks: Looks) -> Duplicates:
    """The images with the same bytes, and those that look alike."""
    same: dict[bytes, list[int]] = defaultdict(list)
    for i in looks.good().tolist():
        same[looks.digests[i]].append(i)
    pictures = list(same.values())
    first = np.array([members[0] for members in pictures], dtype=np.intp)
    pairs = find_alike(looks.luma[first], looks.tints[first])
    near = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    return Duplicates(
        exact=[members for members in pictures if len(members) > 1],
        near=[(pictures[a], pictures[b]) for a, b in near],
    )


def duplicate_findings(records: Records, duplicates: Duplicates) -> list[Finding]:
    """Findings of six kinds: leaks, contradictions and harmless duplicates, each exact and near.

    Each picture or pair is in one finding, with one exception. An exact duplicate with different
    labels is a contradiction even if it is also a leak.
    """
    same = [(members, members) for members in duplicates.exact]
    exact = [_case(records, *pair, "=") for pair in same]
    near = [_case(records, *pair, "~") for pair in duplicates.near]
    exact_in_one_split = [case for case in exact if not case.leaks]
    near_in_one_split = [case for case in near if not case.leaks]
    cases = {
        "leak": [case for case in exact if case.leaks],
        "near_leak": [case for case in near if case.leaks],
        "contradiction": [case for case in exact if case.differ],
        "near_contradiction": [case for case in near_in_one_split if case.differ],
        "exact": [case for case in exact_in_one_split if not case.differ],
        "near": [case for case in near_in_one_split if not case.differ],
    }
    return [_finding(name, found) for name, found in cases.items() if found]


class _Kind(NamedTuple):
    """The severity and the texts of one kind of finding; `{n}` is the number and its noun."""

    severity: Severity
    what: str
    fix: str


_KINDS: Final[dict[str, _Kind]] = {
    "leak": _Kind(
        "error",
        "{n}: the same file is in two splits, so a model is tested on an image that it has seen.",
        "Remove the copy from train, or make new splits that keep duplicates together.",
    ),
    "near_leak": _Kind(
        "warning",
        "{n}: two images that look alike are in two splits, so a model may be tested on an image "
        "that it has seen.",
        "Look at the pairs. Remove one of each from train, or make new splits that keep "
        "duplicates together.",
    ),
    "contradiction": _Kind(
        "warning",
        "{n}: the same file occurs several times, and a label is present in one copy and absent in "
        "another.",
        "Find out which labels are right, correct them and keep one copy.",
    ),
    "near_contradiction": _Kind(
        "warning",
        "{n}: two images of one split look alike, but a label is present in one and absent in the "
        "other.",
        "Look at the pairs: often one of the two was labelled less carefully.",
    ),
    "exact": _Kind(
        "note",
        "{n}: the same file occurs several times, in one split and with labels that agree.",
        "Keep one copy of each, unless the image should count more than once.",
    ),
    "near": _Kind(
        "note",
        "{n}: two images of one split look alike, and their labels agree.",
        "Nothing to do, unless they should be different. In new splits, keep them together.",
    ),
}


class _Case(NamedTuple):
    """The images of one picture, or of two pictures that look alike."""

    first: Record
    second: Record
    """`first` and `second` are the two images that show the problem best."""
    leaks: bool
    """Whether the images are in more than one split."""
    differ: list[str]
    """Labels that are present in one image and absent in another."""
    keys: list[str]
    """The keys of all images."""
    sign: str
    """What stands between two keys: "=" for the same picture, "~" for pictures that look alike."""

    def __str__(self) -> str:
        pair = f" {self.sign} ".join(
            f"{record.key} ({record.split})" if record.split else record.key
            for record in (self.first, self.second)
        )
        more = f" and {len(self.keys) - 2} more" if len(self.keys) > 2 else ""
        return pair + more + (f"; differ in {listed(self.differ)}" if self.differ else "")


def _case(records: Records, first: list[int], second: list[int], sign: str) -> _Case:
    a, b = [records[i] for i in first], [records[i] for i in second]
    leak = _find_leak(a, b)
    contradiction, differ = _find_contradiction(a, b)
    x, y = leak or contradiction or (a[0], b[-1])
    keys = list(dict.fromkeys(record.key for record in (*a, *b)))
    return _Case(x, y, leak is not None, [records.labels[c] for c in differ], keys, sign)


def _find_leak(a: Sequence[Record], b: Sequence[Record]) -> tuple[Record, Record] | None:
    """An image of `a` and one of `b` that are in different splits; None if there are none.

    Images without a split are ignored.
    """
    firsts = product(_first_of_each_split(a), _first_of_each_split(b))
    return next(((x, y) for x, y in firsts if x.split != y.split), None)


def _first_of_each_split(records: Iterable[Record]) -> list[Record]:
    first: dict[str, Record] = {}
    for record in records:
        if record.split is not None:
            first.setdefault(record.split, record)
    return list(first.values())


def _find_contradiction(
    a: Sequence[Record], b: Sequence[Record]
) -> tuple[tuple[Record, Record] | None, list[int]]:
    """An image of `a` and one of `b` with contradicting labels, and all labels that contradict.

    The images are None if there are none. An unknown label contradicts nothing.
    """
    x, y = (np.stack([record.targets for record in part]) for part in (a, b))
    one = (x == PRESENT).any(axis=0) & (y == ABSENT).any(axis=0)
    other = (x == ABSENT).any(axis=0) & (y == PRESENT).any(axis=0)
    differ = np.flatnonzero(one | other).tolist()
    if not differ:
        return None, []
    c = differ[0]
    here, there = (ABSENT, PRESENT) if other[c] else (PRESENT, ABSENT)
    pair = a[int((x[:, c] == here).argmax())], b[int((y[:, c] == there).argmax())]
    return pair, differ


def _finding(name: str, cases: list[_Case]) -> Finding:
    kind = _KINDS[name]
    thing = ("pair", "pairs") if cases[0].sign == "~" else ("picture", "pictures")
    return Finding(
        kind=f"duplicates.{name}",
        severity=kind.severity,
        what=kind.what.format(n=counted(len(cases), *thing)),
        count=len(cases),
        examples=tuple(map(str, cases[:SHOWN])),
        pairs=tuple((case.first.key, case.second.key) for case in cases[:SHOWN]),
        fix=kind.fix,
        data={"sets": [{"images": case.keys, "differ": case.differ} for case in cases]},
    )
