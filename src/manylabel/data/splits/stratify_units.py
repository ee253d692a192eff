"""Iterative stratification: distributes units over splits so that labels are equally frequent.

A unit is what must stay in one split: an image, a group or a set of duplicates. Labels are handled
from the rarest to the most frequent, because the rarest label leaves the least choice. The units of
a label are dealt out, which means that each split gets the number that it still needs of the label.
Then follows the rarest label among the remaining units, and at the end the units without a label.

The published algorithm handles one row after another. Here, all units of a label are dealt out at
once. They are sorted by their other labels, and neighbours in this order go to different splits.
Rounding leaves small differences. These are then reduced by moving and exchanging single units.

`contents` [U, C + 1] has the positives of each label in each unit, and in the last column the
number of rows of the unit. That column is used like the others; every unit has some of it.

Source: Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011.
Deliberate differences: all units of a label are dealt out at once; units are moved and exchanged
afterwards; units may have several rows; and every split gets a positive of each label that has at
least as many positives as there are splits.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

_POOL: Final = 2048
"""The number of random units of a split that may be moved. Only a few rows are out of balance."""

_CHOICE: Final = 32
"""The number of best units of each split. All pairs of them are considered for an exchange."""

_ROUNDS: Final = 400
"""The largest number of rounds of exchanges between all pairs of splits. A few dozen are usual."""

_GAIN: Final = 1e-3
"""The least gain of an exchange, as a fraction of the imbalance after dealing."""

_VITAL: Final = 1.0
"""The value of the only positive of a label in a split. The imbalance of a label costs less."""

_SLACK: Final = 1e-6
"""The rounding error, in rows, that sums of shares may have."""


def stratify_units(
    contents: NDArray[np.integer], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The split of each unit, [U], as a position in `shares`.

    Args:
        contents: [U, C + 1], see the module.
        shares: [K], each over 0, with sum 1.
        rng: Orders equal units, breaks ties, and draws the units that may be moved.
    """
    order = _in_dealing_order(contents, rng)
    contents = contents[order]
    dealt = _Dealing(contents, shares, rng).splits()
    splits = np.empty(len(contents), dtype=np.int64)
    splits[order] = _Rebalancing(contents, dealt, shares, rng).splits()
    return splits


def _in_dealing_order(contents: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions [U] of the units, sorted by their four rarest labels; equal ones are shuffled.

    Neighbours in this order have similar labels. If they are dealt out in turn, the labels that are
    handled later are also distributed evenly.
    """
    present = np.count_nonzero(contents, axis=0)
    rank_of = np.empty(len(present), dtype=np.int64)
    rank_of[np.argsort(present, kind="stable")] = np.arange(len(present))
    rows, columns = _entries(contents)
    entries = np.sort(rows * len(present) + rank_of[columns])
    rows, ranks = np.divmod(entries, len(present))
    counts = np.bincount(rows, minlength=len(contents))
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    none = 0xFFFF
    key = np.full(len(contents), 2**64 - 1, dtype=np.uint64)
    for place in range(4):
        at = nth == place
        rank = np.minimum(ranks[at], none - 1).astype(np.uint64)
        key[rows[at]] -= (np.uint64(none) - rank) << np.uint64(48 - 16 * place)
    shuffled = rng.permutation(len(key))
    return shuffled[np.argsort(key[shuffled], kind="stable")]


def _wanted(totals: NDArray[np.integer], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The number of each column that each split should have, [K, C + 1].

    It is the split's share. But if a column has at least as many as there are splits, each split
    should have at least one. The split with the largest share gives up the difference.
    """
    wanted = shares[:, None] * totals
    enough = totals >= len(shares)
    wanted[:, enough] = np.maximum(wanted[:, enough], 1)
    wanted[shares.argmax()] += totals - wanted.sum(axis=0)
    return wanted


class _Dealing:
    """Deals out units to splits.

    Args:
        contents: [U, C + 1], see the module; units are in dealing order.
        shares: [K] with sum 1.
        rng: Breaks ties.
    """

    def __init__(
        self,
        contents: NDArray[np.integer],
        shares: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        self._contents, self._shares, self._rng = contents, shares, rng
        totals = contents.sum(axis=0, dtype=np.int64)
        self._lacking = _wanted(totals, shares)
        self._left = totals
        self._splits = np.full(len(contents), -1, dtype=np.int64)

    def splits(self) -> NDArray[np.int64]:
        """The split of each unit, [U]."""
        members = _members(self._contents)
        while (self._splits < 0).any():
            rarest = int(np.where(self._left > 0, self._left, np.inf).argmin())
            units = members[rarest]
            self._deal_column(units[self._splits[units] < 0], rarest)
        return self._splits

    def _deal_column(self, units: NDArray[np.int64], column: int) -> None:
        """Deal out the units that have any of a column; those that have most come first."""
        weights = self._contents[units, column]
        for weight in np.unique(weights)[::-1]:
            self._deal(units[weights == weight], column)

    def _deal(self, units: NDArray[np.int64], column: int) -> None:
        """Deal out units that have the same number of a column."""
        counts = self._apportion(len(units), self._lacking[:, column])
        dealt = _in_turn(counts, self._rng)
        self._splits[units] = dealt
        for split in np.flatnonzero(counts):
            held = self._contents[units[dealt == split]].sum(axis=0, dtype=np.int64)
            self._lacking[split] -= held
            self._left -= held

    def _apportion(self, count: int, lacking: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many of `count` units each split gets, [K], in proportion to what it lacks.

        Fractions are rounded by the method of largest remainders. Among equal remainders, the split
        that lacks most rows comes first; then the order is random.
        """
        need = np.maximum(lacking, 0)
        quotas = count * (need / need.sum() if need.any() else self._shares)
        counts = np.floor(quotas + 1e-9)
        rest = np.round(quotas - counts, 9)
        order = np.lexsort((self._rng.random(len(need)), -self._lacking[:, -1], -rest))
        counts[order[: count - int(counts.sum())]] += 1
        return counts.astype(np.int64)


def _entries(contents: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Units and columns of all nonzero entries, unit after unit; faster than `np.nonzero`."""
    return np.divmod(np.flatnonzero(contents != 0), contents.shape[1])


def _members(contents: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """The units that have any of each column, in order; one array for each column."""
    units, columns = _entries(contents)
    order = np.argsort(columns.astype(np.min_scalar_type(contents.shape[1])), kind="stable")
    ends = np.cumsum(np.bincount(columns, minlength=contents.shape[1]))
    return np.split(units[order], ends[:-1])


def _in_turn(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A sequence of splits [sum of counts] in which each split is distributed evenly."""
    splits = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(splits)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = (nth + rng.random(len(counts))[splits]) / counts[splits]
    return splits[np.argsort(places, kind="stable")]


class _Rebalancing:
    """Makes splits more even: it moves and exchanges units of a random pool.

    It minimises the sum of squared excesses. An excess is what a split has more than it should, as
    a fraction of the label's positives.

    Args:
        contents: [U, C + 1], see the module.
        splits: The split of each unit, [U].
        shares: [K] with sum 1.
        rng: Draws the pool.
    """

    def __init__(
        self,
        contents: NDArray[np.integer],
        splits: NDArray[np.int64],
        shares: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        self._contents, self._splits, self._rng = contents, splits, rng
        totals = contents.sum(axis=0, dtype=np.int64)
        self._wanted = _wanted(totals, shares)
        self._excess = _held(contents, splits, len(shares)) - self._wanted
        self._vital = totals >= len(shares)
        self._largest = int(contents[:, -1].max())
        self._weights = 1.0 / np.maximum(totals, 1) ** 2

    def splits(self) -> NDArray[np.int64]:
        """The split of each unit, [U]."""
        settled = False
        while not settled:
            self._draw_pool()
            settled = self._settle_rows()
            if settled:
                self._exchange()
            self._splits[self._pool] = self._placed[:-1]
        return self._splits

    def _draw_pool(self) -> None:
        """Draw up to `_POOL` units of each split; those with a label that a split lacks come first.

        The last unit of the pool is empty: exchanging a unit for the empty one moves it.
        """
        drawn = self._rng.permutation(len(self._contents))
        lacked = np.any(self._contents[:, self._missing().any(axis=0)], axis=1)
        drawn = drawn[np.argsort(~lacked[drawn], kind="stable")]
        kinds = range(len(self._excess))
        self._pool = np.concatenate([drawn[self._splits[drawn] == k][:_POOL] for k in kinds])
        self._placed = np.append(self._splits[self._pool], -1)
        self._held = np.pad(self._contents[self._pool].astype(np.float64), ((0, 1), (0, 0)))
        self._squares = self._held**2 @ self._weights

    def _settle_rows(self) -> bool:
        """Move units until the excesses of rows differ by at most the rows of the largest unit.

        Returns False if this needs units that are not in the pool.
        """
        while True:
            rows = self._excess[:, -1]
            full, short = int(rows.argmax()), int(rows.argmin())
            if rows[full] - rows[short] <= self._largest + _SLACK:
                return True
            units = self._units(full)
            if not len(units):
                return False
            best = int(units[self._costs(units, full, short).argmin()])
            self._move(best, full, short)

    def _exchange(self) -> None:
        """Exchange units between pairs of splits until the gain is too small."""
        worth = _GAIN * float((self._excess**2 @ self._weights).sum())
        pairs = list(combinations(range(len(self._excess)), 2))
        for _ in range(_ROUNDS):
            if not any([self._exchange_between(*pair, worth) for pair in pairs]):
                return

    def _exchange_between(self, one: int, other: int, worth: float) -> bool:
        """Exchange the best pair of units found; returns False if it gains less than `worth`."""
        units, unit_costs = self._best(one, other)
        other_units, other_costs = self._best(other, one)
        a, b = self._held[units], self._held[other_units]
        costs = unit_costs[:, None] + other_costs - 2 * (a * self._weights) @ b.T
        costs[self._unsettles_rows(one, other, a[:, -1, None] - b[:, -1])] = np.inf
        if costs.min() >= -worth / 2:
            return False
        i, j = np.unravel_index(costs.argmin(), costs.shape)
        self._move(int(units[i]), one, other)
        self._move(int(other_units[j]), other, one)
        return True

    def _unsettles_rows(
        self, giver: int, taker: int, given: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether giving these numbers of rows would violate what `_settle_rows` ensures."""
        rows = self._excess[:, -1]
        others = np.delete(rows, [giver, taker])
        after = np.stack([rows[giver] - given, rows[taker] + given])
        highest = after.max(axis=0, initial=others.max(initial=-np.inf))
        lowest = after.min(axis=0, initial=others.min(initial=np.inf))
        return highest - lowest > self._largest + _SLACK

    def _best(self, giver: int, taker: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The units of the pool that cost least to move, and their costs; the empty unit last."""
        units = self._units(giver)
        costs = self._costs(units, giver, taker)
        if len(units) > _CHOICE:
            chosen = np.argpartition(costs, _CHOICE)[:_CHOICE]
            units, costs = units[chosen], costs[chosen]
        return np.append(units, len(self._pool)), np.append(costs, 0.0)

    def _missing(self) -> NDArray[np.bool_]:
        """Columns of which a split has none, although there are enough for each; [K, C + 1]."""
        return self._vital & (self._excess + self._wanted < 0.5)

    def _units(self, split: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._placed == split)

    def _costs(self, units: NDArray[np.int64], giver: int, taker: int) -> NDArray[np.float64]:
        """Half of what a move of each unit adds to the sum that is minimised."""
        pull = self._weights * (self._excess[taker] - self._excess[giver])
        pull -= _VITAL * self._missing()[taker]
        pull += _VITAL * (self._vital & (self._excess[giver] + self._wanted[giver] < 1.5))
        return self._held[units] @ pull + self._squares[units]

    def _move(self, unit: int, giver: int, taker: int) -> None:
        self._excess[giver] -= self._held[unit]
        self._excess[taker] += self._held[unit]
        self._placed[unit] = taker


def _held(
    contents: NDArray[np.integer], splits: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """The number of each column in each of `count` splits, [K, C + 1]."""
    return np.stack([contents[splits == k].sum(axis=0, dtype=np.int64) for k in range(count)])
