"""Which image trains, which chooses and which is only measured.

A split that the data set gives is never changed, except that a missing val (and, where nothing
but train is given, a missing test) is carved out of train. What has no split gets one by a hash
of its name: the same on every machine, and the same when images are added later.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from manylabel.data.records import Record, Records, Split
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
    unsplit = sum(record.split is None for record in records.items)
    shares = _missing_shares(given, val=val, test=test)
    if not unsplit and ("train" not in given or not shares):
        return replace(records, notes=(*records.notes, *_torn_groups(records)))
    settled = _settled(records)
    pool = [record for record in records.items if record.key not in settled]
    drawn = _draw([_unit(record) for record in pool], shares)
    items = tuple(
        replace(record, split=settled.get(record.key) or drawn[_unit(record)])
        for record in records.items
    )
    result = replace(records, items=items)
    if not result.split("train"):
        raise DataError(
            f"No image is left to train on: of {len(pool):,} images to be split, none is in train.",
            where=records.source,
            fix="Add images, or give smaller shares to val and test.",
        )
    note = _told(result, given, unsplit, shares)
    return replace(result, notes=(*records.notes, note, *_torn_groups(result)))


def check_trainable(records: Records, *, allow_empty_labels: bool = False) -> list[str]:
    """Warnings about a data set that is to be trained on, a sentence each.

    Args:
        records: With splits.
        allow_empty_labels: Warn about labels that train never shows, where they are an error else.

    Raises:
        DataError: The train split is empty, or a label has no positive in it.
    """
    train = records.split("train")
    if not len(train):
        raise DataError(
            "The train split is empty.",
            where=records.source,
            fix="Put images into the split 'train', or give no splits and let them be drawn.",
        )
    positives = np.count_nonzero(train.targets() == PRESENT, axis=0)
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


def _settled(records: Records) -> dict[str, Split]:
    """The val and test that are given, by key; who has no split follows the group's, if any."""
    settled: dict[str, Split] = {}
    groups: dict[str, Split] = {}
    for record in records.items:
        if record.split in ("val", "test"):
            settled[record.key] = record.split
            if record.group is not None:
                groups[record.group] = record.split
    for record in records.items:
        if record.split is None and record.group in groups:
            settled[record.key] = groups[record.group]
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


def _unit(record: Record) -> str:
    """What may not be torn apart: the record's group, else the record itself."""
    return record.key if record.group is None else record.group


def _place(unit: str) -> float:
    """A place in 0..1 that depends on the unit's name alone."""
    return int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8]) / 2**64


def _told(result: Records, given: list[Split], unsplit: int, shares: Mapping[Split, float]) -> str:
    grouped = any(record.group is not None for record in result.items)
    counts = ", ".join(f"{name} {len(result.split(name)):,}" for name in result.split_names())
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
    splits: dict[str, set[Split | None]] = defaultdict(set)
    for record in records.items:
        if record.group is not None:
            splits[record.group].add(record.split)
    torn = sorted(group for group, names in splits.items() if len(names) > 1)
    if not torn:
        return []
    shown = ", ".join(torn[:3]) + (", ..." if len(torn) > 3 else "")
    return [f"{len(torn)} groups lie in more than one split as the data set gives them: {shown}"]
