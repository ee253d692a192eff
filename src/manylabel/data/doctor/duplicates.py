"""Findings about pictures that are there twice: across splits first, for that is a leak."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple, final

import numpy as np

from manylabel.data.doctor.findings import SHOWN, Finding, Severity, counted, listed
from manylabel.data.doctor.look import Looks, look_at_all
from manylabel.data.doctor.similar import find_alike, joined
from manylabel.data.records import Record, Records
from manylabel.labels import ABSENT, PRESENT


@final
@dataclass(frozen=True)
class Duplicates:
    """Which of a data set's images are the same picture.

    Args:
        exact: Positions of images with the same bytes, a list a picture, in order.
        near: Pairs of such lists that look alike, the most alike first, as many as join all that
            do; an image of which there is no second is a list of one.
    """

    exact: list[list[int]]
    near: list[tuple[list[int], list[int]]]


def duplicate_sets(
    records: Records, *, workers: int, on_progress: Callable[[int], None] | None = None
) -> list[list[str]]:
    """Keys of images that are the same picture or look alike, a list a set, in the records' order.

    Sets are whole: where A looks like B and B like C, the three are one set, so whoever makes
    splits can keep each set together. Images that cannot be opened are in none.

    Args:
        records: Each image of these is opened.
        workers: Threads that open them.
        on_progress: Called with the number of images done.
    """
    looks = look_at_all(records, workers=workers, on_progress=on_progress)
    keys = records.keys
    return [[keys[i] for i in members] for members in sets_of(find_duplicates(looks), len(records))]


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


def sets_of(duplicates: Duplicates, size: int) -> list[list[int]]:
    """The positions, of 0 ... size - 1, that duplicates join, a list a set, in order."""
    links = [(members[0], other) for members in duplicates.exact for other in members[1:]]
    links += [(a[0], b[0]) for a, b in duplicates.near]
    ends = np.array(links, dtype=np.intp).reshape(-1, 2)
    members: dict[int, list[int]] = defaultdict(list)
    for i, smallest in enumerate(joined(np.arange(size), ends[:, 0], ends[:, 1]).tolist()):
        members[smallest].append(i)
    return [each for each in members.values() if len(each) > 1]


def duplicate_findings(records: Records, duplicates: Duplicates) -> list[Finding]:
    """Leaks, contradictions, and the rest; each picture or pair in one of them.

    Only a picture of which bytes are the same is also a contradiction when it is a leak.
    """
    same = [(members, members) for members in duplicates.exact]
    exact = [_case(records, *pair, "=") for pair in same]
    near = [_case(records, *pair, "~") for pair in duplicates.near]
    whole = [case for case in exact if not case.torn]
    apart = [case for case in near if not case.torn]
    cases = {
        "leak": [case for case in exact if case.torn],
        "near_leak": [case for case in near if case.torn],
        "contradiction": [case for case in exact if case.differ],
        "near_contradiction": [case for case in apart if case.differ],
        "exact": [case for case in whole if not case.differ],
        "near": [case for case in apart if not case.differ],
    }
    return [_finding(name, found) for name, found in cases.items() if found]


class _Kind(NamedTuple):
    """How one kind of finding is worded; `{n}` is what was found."""

    severity: Severity
    what: str
    fix: str


_KINDS: Final[dict[str, _Kind]] = {
    "leak": _Kind(
        "error",
        "{n}: the same file lies in two splits, so that a model is measured on what it has seen.",
        "Remove the copy from train, or make the splits anew with duplicates kept together.",
    ),
    "near_leak": _Kind(
        "warning",
        "{n}: two images that look alike lie in two splits, and a model may be measured on what it "
        "has seen.",
        "Look at the pairs. Remove one of each from train, or make the splits anew with "
        "duplicates kept together.",
    ),
    "contradiction": _Kind(
        "warning",
        "{n}: the same file is there several times, with a label that is present once and absent "
        "once.",
        "Find out which labels are right, correct them and keep one copy.",
    ),
    "near_contradiction": _Kind(
        "warning",
        "{n}: two images of one split look alike, with a label that is present in one and absent "
        "in the other.",
        "Look at the pairs: often one of the two was labelled less thoroughly.",
    ),
    "exact": _Kind(
        "note",
        "{n}: the same file is there several times, in one split and with labels that agree.",
        "Keep one copy of each, unless they are meant to count more.",
    ),
    "near": _Kind(
        "note",
        "{n}: two images of one split look alike, with labels that agree.",
        "Nothing to do, unless they are meant to be different; keep them together in new splits.",
    ),
}


class _Case(NamedTuple):
    """Images that are one picture, or two that look alike."""

    first: Record
    second: Record
    """With `first`, the two images that show best what is wrong."""
    torn: bool
    differ: list[str]
    """Labels that are present in one image and absent in another."""
    keys: list[str]
    sign: str

    def __str__(self) -> str:
        pair = f" {self.sign} ".join(
            f"{record.key} ({record.split})" if record.split else record.key
            for record in (self.first, self.second)
        )
        more = f" and {len(self.keys) - 2} more" if len(self.keys) > 2 else ""
        return pair + more + (f"; differ in {listed(self.differ)}" if self.differ else "")


def _case(records: Records, first: list[int], second: list[int], sign: str) -> _Case:
    a, b = [records[i] for i in first], [records[i] for i in second]
    torn = _in_two_splits(a, b)
    pair, differ = _in_dispute(a, b)
    x, y = torn or pair or (a[0], b[-1])
    keys = list(dict.fromkeys(record.key for record in (*a, *b)))
    return _Case(x, y, torn is not None, [records.labels[c] for c in differ], keys, sign)


def _in_two_splits(a: Sequence[Record], b: Sequence[Record]) -> tuple[Record, Record] | None:
    """An image of each that are known to lie in two splits, if there are such."""
    firsts = product(_one_a_split(a), _one_a_split(b))
    return next(((x, y) for x, y in firsts if x.split != y.split), None)


def _one_a_split(records: Iterable[Record]) -> list[Record]:
    first: dict[str, Record] = {}
    for record in records:
        if record.split is not None:
            first.setdefault(record.split, record)
    return list(first.values())


def _in_dispute(
    a: Sequence[Record], b: Sequence[Record]
) -> tuple[tuple[Record, Record] | None, list[int]]:
    """An image of each that contradict one another, if there are such, and all labels in dispute.

    Unknown contradicts nothing.
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
