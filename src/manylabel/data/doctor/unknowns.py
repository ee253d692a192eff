"""Findings about unknown targets, and evidence that "absent" often means "not annotated"."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.doctor.findings import SHOWN, Finding
from manylabel.data.records import SPLITS, Records
from manylabel.labels import ABSENT, PRESENT, UNKNOWN
from manylabel.text import counted

_ONE_LABEL: Final = 0.99
"""The fraction of images with exactly one label above which single labels are reported."""

_EXPECTED: Final = 20.0
"""A label without a positive in a part is reported if at least so many positives are expected from
its frequency in the other images. By chance, there is none in one of e^20 cases."""

_MIN_IMAGES: Final = 100
"""A split or folder with fewer images is not compared with the rest."""

_ONE_LABEL_FOLDER: Final = 0.95
"""The fraction of images with one label above which a folder is taken as the folder of that
label."""

_NOT_ANNOTATED: Final = (
    "If annotators did not check for the other labels, these are unknown, not absent: write -1 "
    "there, and be careful with metrics on such images."
)


def unknown_findings(records: Records) -> list[Finding]:
    """All findings about unknown targets."""
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
    also = f" In {counted(blank, 'image')} all targets are unknown." if blank else ""
    return [
        Finding(
            kind="unknowns.share",
            severity="note",
            what=f"{total / targets.size:.1%} of targets are unknown, in "
            f"{counted(len(order), 'label')}.{also}",
            count=total,
            examples=tuple(f"{records.labels[i]}: {shares[i]:.1%}" for i in order[:SHOWN]),
            fix="Nothing to do: metrics ignore unknown targets. Choose how the loss uses them.",
            data={"shares": {records.labels[i]: float(shares[i]) for i in order}, "blank": blank},
        )
    ]


def _never_absent(records: Records, targets: NDArray[np.int8]) -> list[Finding]:
    """A finding about labels that are present or unknown, but never absent."""
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
            f"{'is' if len(names) == 1 else 'are'} present or unknown, but never absent: a model "
            "has no negative examples to learn from.",
            count=len(names),
            examples=tuple(names[:SHOWN]),
            fix="Add images in which they are absent, or use a loss that treats unknown as absent.",
            data={"labels": names},
        )
    ]


def _one_label_each(records: Records, targets: NDArray[np.int8]) -> list[Finding]:
    """A finding about splits in which nearly every image has exactly one label."""
    if targets.shape[1] < 3:
        return []
    rows = []
    positives = (targets == PRESENT).sum(axis=1)
    absent = (targets == ABSENT).sum(axis=1)
    for part, which in _splits(records).items():
        labelled = which & (positives > 0)
        judged = labelled & (absent >= positives)  # in the others, most targets are unknown already
        one = float((positives[judged] == 1).mean()) if judged.any() else 0.0
        if judged.sum() >= _MIN_IMAGES and one >= _ONE_LABEL:
            rows.append({"part": part, "images": int(judged.sum()), "share": one})
    if not rows:
        return []
    others = 1 - sum(row["images"] for row in rows) / max(1, int((positives > 0).sum()))
    elsewhere = (
        " In the rest of the data set, images have several labels: the two parts may have been "
        "annotated by different rules."
        if others > 0.05
        else ""
    )
    return [
        Finding(
            kind="unknowns.one_label",
            severity="warning",
            what="Nearly every image has exactly one label, and all others are absent. That is "
            "right if no image can have two of the labels. Otherwise, annotators may not have "
            f"checked for the other labels.{elsewhere}",
            count=sum(row["images"] for row in rows),
            examples=tuple(
                f"{row['part']}: {row['share']:.1%} of {row['images']:,} labelled images"
                for row in rows
            ),
            fix=_NOT_ANNOTATED,
            data={"parts": rows},
        )
    ]


def _missing_in_parts(records: Records, targets: NDArray[np.int8]) -> list[Finding]:
    """A finding about labels that are missing in a split or folder but frequent in the rest."""
    present = targets == PRESENT
    known = targets != UNKNOWN
    rows = []
    for part, which in {**_splits(records), **_folders(records, present)}.items():
        rest = ~which
        if which.sum() < _MIN_IMAGES or rest.sum() < _MIN_IMAGES:
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
            f"{'is' if len(rows) == 1 else 'are'} absent in all its images, but frequent in the "
            "other images. Perhaps annotators did not check for it there.",
            count=len(rows),
            examples=tuple(
                f"{row['label']} in {row['part']}: none, but {row['expected']:,} are expected"
                for row in rows[:SHOWN]
            ),
            fix=_NOT_ANNOTATED,
            data={"parts": rows},
        )
    ]


def _splits(records: Records) -> dict[str, NDArray[np.bool_]]:
    """A mask of the images in each split; "all images" if there are no splits."""
    names = records.split_names()
    if not names:
        return {"all images": np.ones(len(records), dtype=np.bool_)}
    return {name: records.splits == SPLITS.index(name) for name in names}


def _folders(records: Records, present: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """A mask of the images in each large folder of the keys.

    Folders in which nearly all images have the same label are left out: there, images were sorted
    by label, so it is normal that the other labels are absent.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, key in enumerate(records.keys):
        members[f"{PurePosixPath(key).parent}/"].append(i)
    found = {}
    for folder, rows in members.items():
        if len(rows) >= _MIN_IMAGES and present[rows].mean(axis=0).max() < _ONE_LABEL_FOLDER:
            found[folder] = np.zeros(len(records), dtype=np.bool_)
            found[folder][rows] = True
    return found
