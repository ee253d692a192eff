"""Findings about labels: no positives, rare, similar names, co-occurrence, different splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.doctor.findings import SHOWN, Finding, LabelRow, Severity
from manylabel.data.doctor.names import near_names
from manylabel.data.records import NO_SPLIT, SPLITS, Records
from manylabel.labels import ABSENT, PRESENT, UNKNOWN
from manylabel.text import counted

RARE: Final = 20
"""A label with fewer positives in train is rare."""

COOCCURRENCE: Final = 0.95
"""Two labels nearly always occur together if more than this fraction of the images that have either
of them have both."""

_DRIFT: Final = 1.5
"""The frequencies of a label in two splits differ if their ratio is at least this ..."""

_STANDARD_ERRORS: Final = 5.0
"""... and their difference is at least this many standard errors. By chance, one in two million
is."""

_ROWS: Final = 8192
"""Rows of targets that are processed at once."""

_LABELS: Final = 1024
"""Labels that are compared with all others at once, so that memory grows only with their number."""

Parts = Mapping[str, NDArray[np.int8]]
"""Targets [n, C] by split; "all" where the data set gives no splits."""


def parts_of(records: Records) -> Parts:
    """The targets of each split. Images without a split count as train, as `train` uses them."""
    targets = records.targets
    if not records.split_counts():
        return {"all": targets}
    splits = np.where(records.splits == NO_SPLIT, SPLITS.index("train"), records.splits)
    parts = {name: targets[splits == i] for i, name in enumerate(SPLITS)}
    return {name: part for name, part in parts.items() if len(part)}


def label_rows(records: Records, parts: Parts) -> tuple[LabelRow, ...]:
    """How often each label is present."""
    positives = {name: (targets == PRESENT).sum(axis=0) for name, targets in parts.items()}
    known = sum((targets != UNKNOWN).sum(axis=0) for targets in parts.values())
    return tuple(
        LabelRow(
            label,
            {name: int(counts[i]) for name, counts in positives.items()},
            int(np.asarray(known)[i]),
            len(records),
        )
        for i, label in enumerate(records.labels)
    )


def label_findings(
    records: Records, parts: Parts, on_labels: Callable[[int, int], None] | None = None
) -> list[Finding]:
    """All findings about labels.

    Args:
        records: The records.
        parts: Their targets by split.
        on_labels: Called with the number of labels that were compared with all others, and with
            the number of all labels.
    """
    if on_labels is not None:
        on_labels(0, len(records.labels))
    return [
        *_without_positives(records, parts),
        *_always_present(records, parts),
        *_rare(records, parts),
        *_similar_names(records),
        *_cooccurring(records, on_labels),
        *_drifting(records, parts),
        *_empty_images(records),
    ]


def divided_groups(records: Records) -> list[Finding]:
    """A finding about groups that are in several splits."""
    if records.groups is None:
        return []
    splits: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(records.groups, records.split_of_each(), strict=True):
        if group is not None and split is not None:
            splits[group].add(split)
    divided = {group: sorted(names) for group, names in splits.items() if len(names) > 1}
    if not divided:
        return []
    return [
        Finding(
            kind="groups.torn",
            severity="error",
            what=f"{counted(len(divided), 'group')} of {len(splits):,} "
            f"{'is' if len(divided) == 1 else 'are'} in more than one split: a model is tested on "
            "images that are related to its training images.",
            count=len(divided),
            examples=tuple(
                f"{g}: {', '.join(names)}" for g, names in list(divided.items())[:SHOWN]
            ),
            fix="Make new splits: without a column of splits, groups are kept together.",
            data={"groups": divided},
        )
    ]


def _without_positives(records: Records, parts: Parts) -> list[Finding]:
    found = []
    for part, targets in parts.items():
        trains = part in {"train", "all"}
        none = np.flatnonzero(~(targets == PRESENT).any(axis=0))
        found += _about_labels(
            records,
            none,
            kind="labels.no_positive",
            severity="error" if trains else "warning",
            what=f"{{n}} no positive image in {_place(part)}.",
            fix="A label that is never present cannot be learned. Add images of them; or, if "
            "another split has some, draw splits: manylabel data split DATA --out split.csv; or "
            'leave them out: write drop = ["NAME"] into labels.toml, and give '
            "--option label_set=labels.toml."
            if trains
            else "They count in no mAP there. Add images of them, or move some from train.",
            data={"split": part},
        )
    return found


def _always_present(records: Records, parts: Parts) -> list[Finding]:
    part, targets = next(iter(parts.items()))
    present, absent = (targets == PRESENT).any(axis=0), (targets == ABSENT).any(axis=0)
    complete = ~(targets == UNKNOWN).any(axis=0)  # labels with unknowns have their own finding
    return _about_labels(
        records,
        np.flatnonzero(present & ~absent & complete),
        kind="labels.always_present",
        severity="warning",
        what=f"{{n}} no image without it in {_place(part)}.",
        fix="Drop them: a label that is always present has no information, and its AP is always 1.",
        data={"split": part},
    )


def _rare(records: Records, parts: Parts) -> list[Finding]:
    part, targets = next(iter(parts.items()))
    positives = (targets == PRESENT).sum(axis=0)
    rare = np.flatnonzero((positives > 0) & (positives < RARE))
    rare = rare[np.argsort(positives[rare], kind="stable")]
    counts = {records.labels[i]: int(positives[i]) for i in rare.tolist()}
    most, least = int(positives.max(initial=0)), min(counts.values(), default=1)
    return _about_labels(
        records,
        rare,
        kind="labels.rare",
        severity="warning",
        what=f"{{n}} fewer than {RARE} positives in {_place(part)}; the most common label has "
        f"{most:,}, {most / least:,.0f} times as many as the rarest.",
        fix="Add images, or merge them into broader labels. If you keep them, remember that their "
        "AP depends on very few images.",
        data={"split": part, "positives": counts},
        shown=[f"{label}: {count}" for label, count in counts.items()][:SHOWN],
    )


def _similar_names(records: Records) -> list[Finding]:
    same, close = near_names(records.labels.names)
    return [
        *_about_names(
            same,
            kind="labels.same_name",
            severity="warning",
            what="differ only in case, spaces, punctuation or plural",
            fix="If they mean the same, merge them; otherwise the model is trained to separate "
            "images of the same thing.",
        ),
        *_about_names(
            close,
            kind="labels.close_name",
            severity="note",
            what="differ in one letter",
            fix="Check whether one is a spelling mistake.",
        ),
    ]


def _about_names(
    pairs: list[tuple[str, str]], *, kind: str, severity: Severity, what: str, fix: str
) -> list[Finding]:
    if not pairs:
        return []
    return [
        Finding(
            kind=kind,
            severity=severity,
            what=f"{counted(len(pairs), 'pair')} of label names {what}.",
            count=len(pairs),
            examples=tuple(f"{a} / {b}" for a, b in pairs[:SHOWN]),
            fix=fix,
            data={"pairs": [list(pair) for pair in pairs]},
        )
    ]


def _cooccurring(records: Records, on_labels: Callable[[int, int], None] | None) -> list[Finding]:
    """A finding about labels that are present in nearly the same images.

    Only images with known targets for both labels are used.
    """
    positives = np.count_nonzero(records.targets == PRESENT, axis=0)
    columns = np.flatnonzero(positives >= RARE)  # a few images are not enough to conclude anything
    found: list[tuple[int, int, float]] = []
    for start in range(0, len(columns), _LABELS):
        found += _often_together(records.targets, columns, start)
        if on_labels is not None:
            on_labels(min(start + _LABELS, len(columns)), len(columns))
    names = records.labels.names
    pairs = [(names[a], names[b], share) for a, b, share in sorted(found, key=lambda p: -p[2])]
    if not pairs:
        return []
    return [
        Finding(
            kind="labels.together",
            severity="warning",
            what=f"{counted(len(pairs), 'pair')} of labels "
            f"{'occurs' if len(pairs) == 1 else 'occur'} together: more than {COOCCURRENCE:.0%} "
            "of the images that have either label have both.",
            count=len(pairs),
            examples=tuple(f"{a} + {b}: {part:.1%}" for a, b, part in pairs[:SHOWN]),
            fix="Merge them if they mean the same; a model cannot learn to tell them apart.",
            data={"pairs": [{"labels": [a, b], "share": part} for a, b, part in pairs]},
        )
    ]


def _often_together(
    targets: NDArray[np.int8], columns: NDArray[np.intp], start: int
) -> list[tuple[int, int, float]]:
    """Pairs of labels with the share of their images that have both.

    The first label of a pair is one of the `_LABELS` from `start` on, the second a later one.
    """
    some = columns[start : start + _LABELS]
    both, either = _count_pairs(targets, some, columns)
    share = both / np.maximum(either, 1)
    rows, others = np.nonzero(share > COOCCURRENCE)
    later = others > rows + start
    rows, others = rows[later], others[later]
    shares = share[rows, others].tolist()
    return list(zip(some[rows].tolist(), columns[others].tolist(), shares, strict=True))


def _count_pairs(
    targets: NDArray[np.int8], some: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The numbers of images that have both of two labels, and either of them.

    Both have the shape [labels of `some`, labels of `columns`]. Only images with known targets for
    both labels count.
    """
    both = np.zeros((len(some), len(columns)))
    either = both.copy()
    for start in range(0, len(targets), _ROWS):
        rows = targets[start : start + _ROWS]
        one, all_ = rows[:, some], rows[:, columns]
        present, known = (one == PRESENT).astype(np.float32), (one != UNKNOWN).astype(np.float32)
        others = (all_ == PRESENT).astype(np.float32)
        pairs = present.T @ others
        both += pairs
        either += present.T @ (all_ != UNKNOWN).astype(np.float32) + known.T @ others - pairs
    return both, either


def _drifting(records: Records, parts: Parts) -> list[Finding]:
    """A finding about labels whose frequency in another split is not that in the first split."""
    names = list(parts)
    rows = []
    for name in names[1:]:
        (p, n), (q, m) = (_shares(parts[part]) for part in (names[0], name))
        pooled = (p * n + q * m) / np.maximum(n + m, 1)
        error = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1)))
        wide = np.maximum(p, q) >= _DRIFT * np.minimum(p, q)
        significant = np.abs(p - q) > _STANDARD_ERRORS * error
        for i in np.flatnonzero(wide & significant & (n > 0) & (m > 0)).tolist():
            rows.append((records.labels[i], name, float(p[i]), float(q[i])))
    if not rows:
        return []
    return [
        Finding(
            kind="labels.drift",
            severity="note",
            what=f"{counted(len(rows), 'frequency', 'frequencies')} of labels "
            f"{'differs' if len(rows) == 1 else 'differ'} between {names[0]} and another split by "
            f"a factor of {_DRIFT:g} or more, and by more than chance.",
            count=len(rows),
            examples=tuple(
                f"{label}: {p:.1%} of {names[0]}, {q:.1%} of {name}"
                for label, name, p, q in rows[:SHOWN]
            ),
            fix="If the splits were drawn at random, find out why. Otherwise, expect that "
            "thresholds chosen on one split are wrong on the other.",
            data={
                "labels": [
                    {"label": label, names[0]: p, "split": name, "share": q}
                    for label, name, p, q in rows
                ]
            },
        )
    ]


def _shares(targets: NDArray[np.int8]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The fraction of known targets that are present, and the number of known targets; each [C]."""
    known = (targets != UNKNOWN).sum(axis=0)
    return (targets == PRESENT).sum(axis=0) / np.maximum(known, 1), known


def _empty_images(records: Records) -> list[Finding]:
    empty = np.flatnonzero((records.targets == ABSENT).all(axis=1))
    if not len(empty):
        return []
    keys = [records.keys[i] for i in empty]
    return [
        Finding(
            kind="labels.empty_images",
            severity="note",
            what=f"{counted(len(keys), 'image')} of {len(records):,} "
            f"({len(keys) / len(records):.1%}) {'has' if len(keys) == 1 else 'have'} no label: "
            "all labels are absent.",
            count=len(keys),
            examples=tuple(keys[:SHOWN]),
            fix="Nothing to do if annotators checked them and found no label. If they were never "
            "labelled, drop them: a model would learn that everything is absent.",
            data={"images": keys},
        )
    ]


def _about_labels(
    records: Records,
    which: NDArray[np.intp],
    *,
    kind: str,
    severity: Severity,
    what: str,
    fix: str,
    data: Mapping[str, object],
    shown: list[str] | None = None,
) -> list[Finding]:
    """A finding about the labels `which`, if there are any; `{n}` in `what` is their number."""
    if not len(which):
        return []
    names = [records.labels[i] for i in which]
    many = f"{counted(len(names), 'label')} of {len(records.labels):,} "
    return [
        Finding(
            kind=kind,
            severity=severity,
            what=what.format(n=many + ("has" if len(names) == 1 else "have")),
            count=len(names),
            examples=tuple(shown or names[:SHOWN]),
            fix=fix,
            data={"labels": names, **data},
        )
    ]


def _place(part: str) -> str:
    return "the data set" if part == "all" else part
