"""Findings about what is not known, and evidence that "absent" stands for "nobody looked"."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.doctor.findings import SHOWN, Finding, counted
from manylabel.data.records import SPLITS, Records
from manylabel.labels import ABSENT, PRESENT, UNKNOWN

_ONE: Final = 0.99
"""Share of images with just one label from which on all may have been labelled so."""

_EXPECTED: Final = 20.0
"""Positives that a part would have at the rate of the rest, for their lack to be told: by chance
alone there would be none once in e^20 times."""

_PART: Final = 100
"""Images of a split or folder from which on it is compared with the rest."""

_SORTED: Final = 0.95
"""Share of one label in a folder from which on the folder is taken to be that label's."""

_TELL = (
    "If nobody looked for what is not named, it is unknown and not absent: write -1 there, and "
    "read scores on such images with care."
)


def unknown_findings(records: Records) -> list[Finding]:
    """All of them."""
    targets = records.targets
    return [
        *_share(records, targets),
        *_never_absent(records, targets),
        *_one_label_each(records, targets),
        *_missing_in_parts(records, targets),
    ]


def _share(records: Records, targets: NDArray[np.int8]) -> list[Finding]:
    unknown = (targets == UNKNOWN).sum(axis=0)
    total = int(unknown.sum())
    if not total:
        return []
    shares = unknown / len(records)
    order = np.argsort(-shares, kind="stable")[: int((unknown > 0).sum())].tolist()
    blank = int((targets == UNKNOWN).all(axis=1).sum())
    also = f" Of {counted(blank, 'image')} nothing is known." if blank else ""
    return [
        Finding(
            kind="unknowns.share",
            severity="note",
            what=f"{total / targets.size:.1%} of targets are unknown, in "
            f"{counted(len(order), 'label')}.{also}",
            count=total,
            examples=tuple(f"{records.labels[i]}: {shares[i]:.1%}" for i in order[:SHOWN]),
            fix="Nothing to do: unknown targets count in no metric. Choose how the loss treats "
            "them.",
            data={"shares": {records.labels[i]: float(shares[i]) for i in order}, "blank": blank},
        )
    ]


def _never_absent(records: Records, targets: NDArray[np.int8]) -> list[Finding]:
    """Labels of which only presence is ever told."""
    some = (targets == UNKNOWN).any(axis=0) & (targets == PRESENT).any(axis=0)
    never = some & ~(targets == ABSENT).any(axis=0)
    names = [records.labels[i] for i in np.flatnonzero(never).tolist()]
    if not names:
        return []
    return [
        Finding(
            kind="unknowns.never_absent",
            severity="warning",
            what=f"{counted(len(names), 'label')} of {len(records.labels):,} "
            f"{'is' if len(names) == 1 else 'are'} present or unknown, and in no image absent: "
            "there is nothing to tell presence from.",
            count=len(names),
            examples=tuple(names[:SHOWN]),
            fix="Add images that are known to be without them, or take a loss that treats unknown "
            "as absent.",
            data={"labels": names},
        )
    ]


def _one_label_each(records: Records, targets: NDArray[np.int8]) -> list[Finding]:
    """Parts in which nearly every image has just one label, though several could be."""
    if targets.shape[1] < 3:
        return []
    rows = []
    positives = (targets == PRESENT).sum(axis=1)
    absent = (targets == ABSENT).sum(axis=1)
    for part, which in _splits(records).items():
        labelled = which & (positives > 0)
        judged = labelled & (absent >= positives)  # else what is not named is unknown already
        one = float((positives[judged] == 1).mean()) if judged.any() else 0.0
        if judged.sum() >= _PART and one >= _ONE:
            rows.append({"part": part, "images": int(judged.sum()), "share": one})
    if not rows:
        return []
    others = 1 - sum(row["images"] for row in rows) / max(1, int((positives > 0).sum()))
    elsewhere = (
        " In the rest of the data set, images have several: the two parts may have been labelled "
        "by different rules."
        if others > 0.05
        else ""
    )
    return [
        Finding(
            kind="unknowns.one_label",
            severity="warning",
            what="Nearly every image has exactly one label, and all others are absent. That is "
            "right if no picture can show two of these; else what is not named may never have been "
            f"looked for.{elsewhere}",
            count=sum(row["images"] for row in rows),
            examples=tuple(
                f"{row['part']}: {row['share']:.1%} of {row['images']:,} labelled images"
                for row in rows
            ),
            fix=_TELL,
            data={"parts": rows},
        )
    ]


def _missing_in_parts(records: Records, targets: NDArray[np.int8]) -> list[Finding]:
    """Labels that a split or folder never has, though at the rate of the rest it would often."""
    present = targets == PRESENT
    known = targets != UNKNOWN
    rows = []
    for part, which in {**_splits(records), **_folders(records, present)}.items():
        rest = ~which
        if which.sum() < _PART or rest.sum() < _PART:
            continue
        rate = present[rest].sum(axis=0) / np.maximum(known[rest].sum(axis=0), 1)
        expected = rate * known[which].sum(axis=0)
        never = (expected >= _EXPECTED) & ~present[which].any(axis=0)
        for c in np.flatnonzero(never).tolist():
            rows.append(
                {"part": part, "label": records.labels[c], "expected": round(float(expected[c]))}
            )
    if not rows:
        return []
    rows.sort(key=lambda row: -row["expected"])
    return [
        Finding(
            kind="unknowns.missing_in_part",
            severity="warning",
            what=f"{counted(len(rows), 'label')} of one split or folder "
            f"{'is' if len(rows) == 1 else 'are'} absent in all its images, though at the rate of "
            "the other images many would have it. Perhaps it was not looked for there.",
            count=len(rows),
            examples=tuple(
                f"{row['label']} in {row['part']}: none, where {row['expected']:,} would be "
                "expected"
                for row in rows[:SHOWN]
            ),
            fix=_TELL,
            data={"parts": rows},
        )
    ]


def _splits(records: Records) -> dict[str, NDArray[np.bool_]]:
    """Which images are in each split; "all images" where there are no splits."""
    names = records.split_names()
    if not names:
        return {"all images": np.ones(len(records), dtype=np.bool_)}
    return {name: records.splits == SPLITS.index(name) for name in names}


def _folders(records: Records, present: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Which images are in each large folder, by the keys; folders that hold one label are left out.

    There the others are absent because somebody sorted the images by label.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, key in enumerate(records.keys):
        members[f"{PurePosixPath(key).parent}/"].append(i)
    found = {}
    for folder, rows in members.items():
        if len(rows) >= _PART and present[rows].mean(axis=0).max() < _SORTED:
            found[folder] = np.zeros(len(records), dtype=np.bool_)
            found[folder][rows] = True
    return found
