"""Puts each image into a split: train for training, val for choices, test for measuring.

A split that the data set gives is never changed, with one exception: if val is missing, it is taken
out of train; so is test, if only train is given. An image without a split gets one by a hash of its
name. That split is the same on every machine, and it stays the same when images are added later.
"""

from __future__ import annotations

import hashlib
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import NO_SPLIT, SPLITS, Records, Split
from manylabel.errors import DataError
from manylabel.labels import PRESENT
from manylabel.text import json_line


def with_splits(records: Records, *, val: float = 0.1, test: float = 0.2) -> Records:
    """The same records, each in a split, with a note on every decision.

    Only missing splits are made. Records without a split and records of a given train split form a
    pool. A missing val or test is drawn from the pool, and the rest of the pool is train. A data
    set that gives train and val but no test (COCO) stays so, because papers report results on its
    val. All images of a group go into one split. If every record has a split, but none is in train,
    the records are returned unchanged: they can be evaluated on.

    Args:
        records: The records as a reader returns them.
        val: The fraction of the pool that becomes val if val is missing, 0..1.
        test: The fraction of the pool that becomes test if test is missing, 0..1.

    Raises:
        DataError: Nothing is left to train on.
    """
    given = records.split_names()
    unsplit = int(np.count_nonzero(records.splits == NO_SPLIT))
    shares = _missing_shares(given, val=val, test=test)
    if not unsplit and ("train" not in given or not shares):
        return records.with_notes(*_torn_groups(records))
    splits, units = _settled(records), _units(records)
    pool = np.flatnonzero(splits == NO_SPLIT).tolist()
    drawn = _draw([units[i] for i in pool], shares)
    splits[pool] = [SPLITS.index(drawn[units[i]]) for i in pool]
    result = records.with_splits(splits)
    if "train" not in result.split_counts():
        raise DataError(
            f"No image is left to train on: none of the {len(pool):,} images to split is in train.",
            where=records.source,
            fix="Add images, or make val and test smaller.",
        )
    note = _describe(result, given, unsplit, shares)
    return result.with_notes(note, *_torn_groups(result))


def check_trainable(records: Records, *, allow_empty_labels: bool = False) -> list[str]:
    """Checks a data set before training, and returns warnings, one sentence each.

    Args:
        records: Records with splits.
        allow_empty_labels: Labels without a positive in train give a warning, not an error.

    Raises:
        DataError: The train split is empty, or a label has no positive in it.
    """
    train = records.targets[records.splits == SPLITS.index("train")]
    if not len(train):
        raise DataError(
            "The train split is empty.",
            where=records.source,
            fix="Put images into the split 'train', or give no splits: they are then drawn.",
        )
    positives = np.count_nonzero(train == PRESENT, axis=0)
    empty = [name for name, count in zip(records.labels, positives, strict=True) if count == 0]
    if not empty:
        return []
    shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
    what = f"{len(empty)} of {len(records.labels)} labels have no positive in train: {shown}."
    if allow_empty_labels:
        return [f"{what} They cannot be learned"]
    raise DataError(
        what,
        where=records.source,
        fix=_fix_of_empty(records, empty),
    )


def _fix_of_empty(records: Records, empty: list[str]) -> str:
    """What to do about labels that no image in train has, in words that can be typed."""
    elsewhere = (records.targets == PRESENT).any(axis=0)
    has_images = any(elsewhere[records.labels.index(name)] for name in empty)
    again = (
        "Images of other splits have it: draw splits in which train has some, with manylabel data "
        f"split {shlex.quote(records.source)} --out split.csv. "
        if has_images
        else "Add images of it. "
    )
    names = ", ".join(map(json_line, empty[:5])) + (", ..." if len(empty) > 5 else "")
    return (
        f"{again}Or leave it out: write drop = [{names}] into a file labels.toml, and give "
        "--option label_set=labels.toml (in a recipe: label_set in [data])."
    )


def _missing_shares(given: list[Split], *, val: float, test: float) -> dict[Split, float]:
    """The splits that must be drawn, with their fractions."""
    shares: dict[Split, float] = {}
    if "test" not in given and not ("train" in given and "val" in given):
        shares["test"] = test
    if "val" not in given:
        shares["val"] = val
    return {name: share for name, share in shares.items() if share > 0}


def _settled(records: Records) -> NDArray[np.int8]:
    """The splits [N] that are kept: val and test as they are given; all others are `NO_SPLIT`.

    A record without a split takes the split of its group, if that is val or test.
    """
    settled = records.splits.copy()
    settled[records.splits == SPLITS.index("train")] = NO_SPLIT
    if records.groups is None:
        return settled
    group_split: dict[str | None, int] = {
        group: split
        for group, split in zip(records.groups, settled.tolist(), strict=True)
        if group is not None and split != NO_SPLIT
    }
    for i in np.flatnonzero(records.splits == NO_SPLIT).tolist():
        settled[i] = group_split.get(records.groups[i], NO_SPLIT)
    return settled


def _draw(units: list[str], shares: Mapping[Split, float]) -> dict[str, Split]:
    """Draws a split for each unit (a group or a single image).

    The interval 0..1 is divided by the fractions of the splits. The hash of a unit is a position in
    this interval, which gives its split. If there are few units, a split may be empty by chance.
    Then it gets the training unit with the lowest hash, so that a very small data set can still be
    evaluated.
    """
    places = {unit: _place(unit) for unit in units}
    drawn: dict[str, Split] = {unit: _share_at(place, shares) for unit, place in places.items()}
    for name in shares:
        training = [unit for unit in places if drawn[unit] == "train"]
        if name not in drawn.values() and len(training) > 1:
            drawn[min(training, key=places.__getitem__)] = name
    return drawn


def _share_at(place: float, shares: Mapping[Split, float]) -> Split:
    end = 0.0
    for name, share in shares.items():
        end += share
        if place < end:
            return name
    return "train"


def _units(records: Records) -> Sequence[str]:
    """What must stay in one split, for each record: its group, or its key if it has none."""
    if records.groups is None:
        return records.keys
    pairs = zip(records.keys, records.groups, strict=True)
    return [key if group is None else group for key, group in pairs]


def _place(unit: str) -> float:
    """A position in 0..1 that depends only on the unit's name."""
    return int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8]) / 2**64


def _describe(
    result: Records, given: list[Split], unsplit: int, shares: Mapping[Split, float]
) -> str:
    """A note that says which splits were given and which were drawn."""
    grouped = result.groups is not None
    counts = ", ".join(f"{name} {count:,}" for name, count in result.split_counts().items())
    drawn = " and ".join(f"{share:.0%} {name}" for name, share in shares.items())
    by = f"by a hash of each {'group' if grouped else 'path'}"
    if not given:
        text = "No split is given: "
        text += f"{drawn} drawn {by}" if drawn else "all images are train"
    else:
        named = ", ".join(given)
        some = f"; {unsplit:,} images have none" if unsplit else ""
        text = f"The data set gives {named}{some}: "
        text += f"{drawn} drawn from the training images, {by}" if drawn else "these are train"
    return f"{text} ({counts})"


def _torn_groups(records: Records) -> list[str]:
    """A note if groups are in several splits. That happens only if the data set gives it so."""
    if records.groups is None:
        return []
    splits: dict[str, set[int]] = defaultdict(set)
    for group, split in zip(records.groups, records.splits.tolist(), strict=True):
        if group is not None:
            splits[group].add(split)
    torn = sorted(group for group, names in splits.items() if len(names) > 1)
    if not torn:
        return []
    shown = ", ".join(torn[:3]) + (", ..." if len(torn) > 3 else "")
    return [f"{len(torn)} groups are in more than one split, as the data set gives them: {shown}"]
