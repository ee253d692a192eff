"""Which image trains, which chooses and which is only measured.

A split that the data set gives is never changed, except that a missing val (and, where nothing
but train is given, a missing test) is carved out of train. What has no split gets one by a hash
of its name: the same on every machine, and the same when images are added later.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import NO_SPLIT, SPLITS, Records, Split
from manylabel.errors import DataError
from manylabel.labels import PRESENT


def with_splits(records: Records, *, val: float = 0.1, test: float = 0.2) -> Records:
    """The same records, each in a split, with a note on every decision.

    Only what is missing is made. Records without a split, and those of a given train split, are
    the pool that a missing val or test is drawn from; the rest of the pool trains. A data set
    that gives train and val but no test (COCO) is left so: its val is what papers report on.
    A group goes whole into one split. A data set that gives every record a split, but none in
    train, is returned as it is: it can be evaluated on.

    Args:
        records: As a reader gives them.
        val: Share of the pool that becomes val where val is missing, 0..1.
        test: Share of the pool that becomes test where test is missing, 0..1.

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
            f"No image is left to train on: of {len(pool):,} images to be split, none is in train.",
            where=records.source,
            fix="Add images, or give smaller shares to val and test.",
        )
    note = _told(result, given, unsplit, shares)
    return result.with_notes(note, *_torn_groups(result))


def check_trainable(records: Records, *, allow_empty_labels: bool = False) -> list[str]:
    """Warnings about a data set that is to be trained on, a sentence each.

    Args:
        records: With splits.
        allow_empty_labels: Warn about labels that train never shows, where they are an error else.

    Raises:
        DataError: The train split is empty, or a label has no positive in it.
    """
    train = records.targets[records.splits == SPLITS.index("train")]
    if not len(train):
        raise DataError(
            "The train split is empty.",
            where=records.source,
            fix="Put images into the split 'train', or give no splits and let them be drawn.",
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
        fix="Drop the label or add images of it; a label that is never present cannot be learned.",
    )


def _missing_shares(given: list[Split], *, val: float, test: float) -> dict[Split, float]:
    """The splits that have to be drawn, with their shares."""
    shares: dict[Split, float] = {}
    if "test" not in given and not ("train" in given and "val" in given):
        shares["test"] = test
    if "val" not in given:
        shares["val"] = val
    return {name: share for name, share in shares.items() if share > 0}


def _settled(records: Records) -> NDArray[np.int8]:
    """The splits [N] without train: val and test as they are given.

    A record without a split follows its group, where that has one.
    """
    settled = records.splits.copy()
    settled[records.splits == SPLITS.index("train")] = NO_SPLIT
    if records.groups is None:
        return settled
    of_group: dict[str | None, int] = {
        group: split
        for group, split in zip(records.groups, settled.tolist(), strict=True)
        if group is not None and split != NO_SPLIT
    }
    for i in np.flatnonzero(records.splits == NO_SPLIT).tolist():
        settled[i] = of_group.get(records.groups[i], NO_SPLIT)
    return settled


def _draw(units: list[str], shares: Mapping[Split, float]) -> dict[str, Split]:
    """A split for each unit: the shares are laid along the line 0..1, a unit falls on its hash.

    Few units can leave a split empty by chance. It then gets the training unit of lowest hash, so
    that a handful of images still has something to be measured on.
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
    """What may not be torn apart, of each record: its group, else the record itself, by key."""
    if records.groups is None:
        return records.keys
    pairs = zip(records.keys, records.groups, strict=True)
    return [key if group is None else group for key, group in pairs]


def _place(unit: str) -> float:
    """A place in 0..1 that depends on the unit's name alone."""
    return int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8]) / 2**64


def _told(result: Records, given: list[Split], unsplit: int, shares: Mapping[Split, float]) -> str:
    grouped = result.groups is not None
    counts = ", ".join(f"{name} {count:,}" for name, count in result.split_counts().items())
    drawn = " and ".join(f"{share:.0%} {name}" for name, share in shares.items())
    by = f"by a hash of each {'group' if grouped else 'path'}"
    if not given:
        act = f"No split is given: {drawn} drawn {by}" if drawn else "No split is given: all trains"
    else:
        named = ", ".join(given)
        some = f"; {unsplit:,} images have none" if unsplit else ""
        act = f"The data set gives {named}{some}: "
        act += f"{drawn} drawn from what is left for training, {by}" if drawn else "they train"
    return f"{act} ({counts})"


def _torn_groups(records: Records) -> list[str]:
    """A note if groups lie in several splits, which only the data set itself can have done."""
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
    return [f"{len(torn)} groups lie in more than one split as the data set gives them: {shown}"]
