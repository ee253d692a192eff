"""Iterative stratification of arrays and records: splits with equal frequencies of each label."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import SPLITS, Records, Split
from manylabel.data.splits.stratify_units import stratify_units
from manylabel.errors import ConfigError, DataError
from manylabel.labels import PRESENT


def stratify(
    targets: NDArray[np.int8],
    shares: Mapping[Split, float],
    *,
    groups: NDArray[np.generic] | None = None,
    duplicates: Iterable[Sequence[int]] = (),
    seed: int = 0,
) -> NDArray[np.int64]:
    """The split of each row, as a position in `shares`: int64 [N].

    A unit is what must stay in one split: a row, a group or a set of duplicates. Without groups and
    duplicates, the number of rows in a split differs from its share by less than one row. With
    them, each split has more or fewer rows than its share. The difference of these excesses between
    two splits is at most the number of rows of the largest unit.

    Every split gets a row, and a positive of every label, if there are enough and the units allow
    it. Therefore train may get less than its share of a label with few positives.

    Args:
        targets: int8 [N, C]: 1 is present; 0 (absent) and -1 (unknown) are not used.
        shares: The fraction of the rows for each split. Each is over 0, and their sum is 1.
        groups: [N], rows with equal values go into one split; None: each row is independent.
        duplicates: Sets of positions, none empty. The rows of a set go into one split, together
            with the groups of these rows.
        seed: The same targets, shares, groups and seed give the same splits.

    Raises:
        ConfigError: A share is not over 0, or the shares do not sum to 1.

    Source: Sechidis et al. 2011; `stratify_units` lists the differences.

    Example:
        >>> targets = np.array([[1], [1], [0], [0]], dtype=np.int8)
        >>> sorted(stratify(targets, {"train": 0.5, "val": 0.5})[:2].tolist())
        [0, 1]
    """
    wanted_shares = _checked(shares)
    units = units_of(len(targets), groups=groups, duplicates=duplicates)
    if not len(targets):
        return units
    contents = _contents(targets, units)
    return stratify_units(contents, wanted_shares, np.random.default_rng(seed))[units]


def units_of(
    size: int, *, groups: NDArray[np.generic] | None, duplicates: Iterable[Sequence[int]]
) -> NDArray[np.int64]:
    """The unit 0..U-1 of each of `size` rows. Groups and duplicates join rows, transitively."""
    units = np.arange(size) if groups is None else np.unique(groups, return_inverse=True)[1]
    parent: dict[int, int] = {}  # of each unit that is joined to another; always a smaller one

    def root(unit: int) -> int:
        top = unit
        while top in parent:
            top = parent[top]
        if top != unit:
            parent[unit] = top
        return top

    for rows in duplicates:
        first, *others = sorted({root(unit) for unit in units[list(rows)].tolist()})
        parent.update(dict.fromkeys(others, first))
    if parent:
        joined = np.arange(units.max() + 1)
        for unit in sorted(parent):
            joined[unit] = joined[parent[unit]]
        units = np.unique(joined[units], return_inverse=True)[1]
    return units.astype(np.int64)


def _checked(shares: Mapping[Split, float]) -> NDArray[np.float64]:
    given = np.array(list(shares.values()), dtype=np.float64)
    if not (given > 0).all() or abs(given.sum() - 1) > 1e-6:
        shown = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise ConfigError(
            f"The shares of the splits must be over 0 and sum to 1: {shown}.",
            where="shares of the splits",
            fix="Give each split a share over 0; together they must be 1.",
        )
    return given / given.sum()


def _contents(targets: NDArray[np.int8], units: NDArray[np.int64]) -> NDArray[np.integer]:
    """The contents of each unit, [U, C + 1]: positives of each label, and last its rows.

    The number of rows is a column like the others: every unit has some of it.
    """
    present = np.ones((targets.shape[0], targets.shape[1] + 1), dtype=np.int8)
    np.equal(targets, PRESENT, out=present[:, :-1])
    if np.array_equal(units, np.arange(len(units))):
        return present
    order = np.argsort(units, kind="stable")
    starts = np.searchsorted(units[order], np.arange(int(units.max()) + 1))
    return np.add.reduceat(present[order], starts, axis=0, dtype=np.int32)


def stratified(
    records: Records,
    shares: Mapping[Split, float],
    *,
    keep: Collection[Split] = (),
    duplicates: Iterable[Collection[str]] = (),
    seed: int = 0,
) -> Records:
    """The same records, each in a split that is newly drawn, with a note on every decision.

    A group or a set of duplicates goes into one split. If one of its images is in a split that is
    kept, the others join it there.

    Args:
        records: The records as a reader returns them.
        shares: The fraction of the drawn images for each split; see `stratify`.
        keep: Splits of the data set that are not changed. They must not be in `shares`.
        duplicates: Sets of keys whose images go into one split.
        seed: See `stratify`.

    Raises:
        ConfigError: The shares are not valid.
        DataError: There is nothing to draw, or a split would be empty.
    """
    _require_apart(records, shares, keep)
    position = {key: i for i, key in enumerate(records.keys)}
    sets = [[position[key] for key in keys] for keys in duplicates]
    units = units_of(len(records), groups=_groups(records), duplicates=sets)
    splits = _kept(records, keep, units)
    drawn = splits < 0
    if not drawn.any():
        raise DataError(
            "There is no image to split.",
            where=records.source,
            fix="Give images, or keep fewer splits.",
        )
    chosen = stratify(records.targets[drawn], shares, groups=units[drawn], seed=seed)
    splits[drawn] = np.array([SPLITS.index(name) for name in shares])[chosen]
    _require_filled(records, shares, splits, len(np.unique(units[drawn])))
    result = records.with_splits(splits.astype(np.int8))
    notes = [
        *_describe_splits(records, result, keep, seed),
        *_describe_units(records, sets, units, splits),
    ]
    return result.with_notes(*notes)


def _require_apart(
    records: Records, shares: Mapping[Split, float], keep: Collection[Split]
) -> None:
    twice = [name for name in keep if name in shares]
    if twice:
        raise ConfigError(
            f"The split {twice[0]!r} cannot be both kept and drawn.",
            where="shares of the splits",
            fix="Leave out its share, or do not keep it.",
        )
    absent = [name for name in keep if name not in records.split_names()]
    if absent:
        raise DataError(
            f"The split {absent[0]!r} cannot be kept: the data set does not give it.",
            where=records.source,
            fix=f"The data set gives {', '.join(records.split_names()) or 'no splits'}.",
        )


def _groups(records: Records) -> NDArray[np.int64]:
    """The first position of each record's group, [N]; a record without a group has its own."""
    own = np.arange(len(records), dtype=np.int64)
    if records.groups is None:
        return own
    first: dict[str, int] = {}
    pairs = zip(own.tolist(), records.groups, strict=True)
    firsts = [i if group is None else first.setdefault(group, i) for i, group in pairs]
    return np.array(firsts, dtype=np.int64)


def _kept(records: Records, keep: Collection[Split], units: NDArray[np.int64]) -> NDArray[np.int64]:
    """The split of each record that is kept or joins a kept split, as a position in `SPLITS`; [N].

    It is -1 where a split must be drawn. If a unit has kept images in several splits, its other
    images join the last of these splits: test rather than train.
    """
    given = records.splits.astype(np.int64)
    given[~np.isin(given, [SPLITS.index(name) for name in keep])] = -1
    unit_split = np.full(int(units.max(initial=-1)) + 1, -1, dtype=np.int64)
    np.maximum.at(unit_split, units, given)
    return np.where(given >= 0, given, unit_split[units])


def _require_filled(
    records: Records, shares: Mapping[Split, float], splits: NDArray[np.int64], num_units: int
) -> None:
    empty = [name for name in shares if not (splits == SPLITS.index(name)).any()]
    if empty:
        raise DataError(
            f"There is no image in {' and '.join(empty)}: there are only {num_units:,} images, "
            f"groups or sets of duplicates for {len(shares)} splits.",
            where=records.source,
            fix="Add images, or ask for fewer splits.",
        )


def _describe_splits(
    records: Records, result: Records, keep: Collection[Split], seed: int
) -> list[str]:
    """Notes that say which splits were drawn, kept and replaced."""
    given = records.split_names()
    kept: list[Split] = [name for name in given if name in keep]
    replaced: list[Split] = [name for name in given if name not in keep]
    notes = [
        f"Splits are drawn by iterative stratification with seed {seed}: "
        f"{_counted(result, result.split_names())}"
    ]
    if kept:
        notes.append(f"Kept as the data set gives them: {_counted(records, kept)}")
    if replaced:
        notes.append(f"Splits of the data set that are not kept: {_counted(records, replaced)}")
    before, after = records.split_counts(), result.split_counts()
    joined = sum(after[name] - before[name] for name in kept)
    if joined:
        notes.append(
            f"Images that join a kept split because it has images of their group or duplicates of "
            f"them: {joined:,}"
        )
    return notes


def _describe_units(
    records: Records,
    sets: Sequence[Sequence[int]],
    units: NDArray[np.int64],
    splits: NDArray[np.int64],
) -> list[str]:
    """Notes that say what was kept together."""
    groups = set(records.groups or ()) - {None}
    unit_per_split = np.unique(units * len(SPLITS) + splits) // len(SPLITS)
    divided = np.count_nonzero(np.unique(unit_per_split, return_counts=True)[1] > 1)
    notes = []
    if groups:
        notes.append(f"Groups that are kept in one split: {len(groups):,}")
    if sets:
        notes.append(
            f"Sets of duplicates that are kept in one split: {len(sets):,}, with "
            f"{sum(map(len, sets)):,} images"
        )
    if divided:
        notes.append(f"Groups or sets that are in more than one kept split: {divided:,}")
    return notes


def _counted(records: Records, names: Iterable[Split]) -> str:
    counts = records.split_counts()
    return ", ".join(f"{name} {counts[name]:,}" for name in names)
