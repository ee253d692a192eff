"""Iterative stratification in bulk: units with counts of labels, dealt out to splits.

What goes into a split as one (an image, a group, a set of duplicates) is a unit. The rarest label
goes first, for it leaves the least choice: its units are dealt out to the splits so that each gets
what it still lacks of that label; then the rarest label among the units that are left; at last the
units without a label. Where the published algorithm looks at one row after another, all units of a
label are dealt out at once here, neighbours in the order of their other labels to different splits.
What rounding has left uneven is then mended by moving and exchanging single units.

`contents` [U, C + 1] says what each unit holds: positives of each label, and in the last column its
rows. That column is one like any other: the one that every unit has something of.

Source: Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011.
Deliberate differences: the dealing in bulk, the mending, units of several rows, and a positive of
each label for every split wherever a label has as many positives as there are splits.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

_POOL: Final = 2048
"""Units of a split, drawn at random, that mending may move: what is uneven is a few rows."""

_CHOICE: Final = 32
"""Units of either split, the best to give away, of which each pair is considered for exchange."""

_ROUNDS: Final = 400
"""Rounds at most, in each of which each two splits exchange units; a few dozen are the rule."""

_GAIN: Final = 1e-3
"""An exchange that mends less of what dealing left uneven than this part is not worth it."""

_VITAL: Final = 1.0
"""What the only positive of a label in a split is worth; an uneven label costs less than 1."""

_SLACK: Final = 1e-6
"""Rows that sums of shares may be off by rounding."""


def stratify_units(
    contents: NDArray[np.integer], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The split of each unit, [U], as a position in `shares`.

    Args:
        contents: [U, C + 1], see the module.
        shares: [K], each over 0, of sum 1.
        rng: Orders what is alike, breaks ties, and draws what is mended.
    """
    order = _in_dealing_order(contents, rng)
    contents = contents[order]
    dealt = _Dealing(contents, shares, rng).splits()
    splits = np.empty(len(contents), dtype=np.int64)
    splits[order] = _Mending(contents, dealt, shares, rng).splits()
    return splits


def _in_dealing_order(contents: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions [U] of the units, ordered by their four rarest labels, else at random.

    Units that stand side by side are much alike, so that dealing them out in turn is fair to the
    labels that are not looked at yet.
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
    """What each split should have of each column, [K, C + 1]: its share, or one if that is less.

    One each is wanted wherever there are as many as splits; the largest share gives the rest up.
    """
    wanted = shares[:, None] * totals
    enough = totals >= len(shares)
    wanted[:, enough] = np.maximum(wanted[:, enough], 1)
    wanted[shares.argmax()] += totals - wanted.sum(axis=0)
    return wanted


class _Dealing:
    """Units that stand in dealing order, dealt out to splits.

    Args:
        contents: [U, C + 1], see the module.
        shares: [K] of sum 1.
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
        """Deal out units that hold something of a column, those that hold most first."""
        weights = self._contents[units, column]
        for weight in np.unique(weights)[::-1]:
            self._deal(units[weights == weight], column)

    def _deal(self, units: NDArray[np.int64], column: int) -> None:
        """Deal out units that hold equally much of a column."""
        counts = self._apportion(len(units), self._lacking[:, column])
        dealt = _in_turn(counts, self._rng)
        self._splits[units] = dealt
        for split in np.flatnonzero(counts):
            held = self._contents[units[dealt == split]].sum(axis=0, dtype=np.int64)
            self._lacking[split] -= held
            self._left -= held

    def _apportion(self, count: int, lacking: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many of `count` units each split gets, [K]: as much as it lacks, largest remainders.

        Equal remainders go to the split that lacks most rows, then to chance.
        """
        need = np.maximum(lacking, 0)
        quotas = count * (need / need.sum() if need.any() else self._shares)
        counts = np.floor(quotas + 1e-9)
        rest = np.round(quotas - counts, 9)
        order = np.lexsort((self._rng.random(len(need)), -self._lacking[:, -1], -rest))
        counts[order[: count - int(counts.sum())]] += 1
        return counts.astype(np.int64)


def _entries(contents: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Units and columns of all that is not 0, unit after unit: what `np.nonzero` gives, sooner."""
    return np.divmod(np.flatnonzero(contents != 0), contents.shape[1])


def _members(contents: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """The units that hold anything of each column, in order."""
    units, columns = _entries(contents)
    order = np.argsort(columns.astype(np.min_scalar_type(contents.shape[1])), kind="stable")
    ends = np.cumsum(np.bincount(columns, minlength=contents.shape[1]))
    return np.split(units[order], ends[:-1])


def _in_turn(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Splits [sum of counts] in an order in which each is spread evenly over the whole."""
    splits = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(splits)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = (nth + rng.random(len(counts))[splits]) / counts[splits]
    return splits[np.argsort(places, kind="stable")]


class _Mending:
    """Splits made more even by moving and exchanging units of a random pool.

    What is made small is the sum of squared excesses, each as a part of its label's positives.

    Args:
        contents: [U, C + 1], see the module.
        splits: The split of each unit, [U].
        shares: [K] of sum 1.
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
        """Draw up to `_POOL` units of each split, first those with a label that some split misses.

        The last in the pool is an empty unit: to exchange a unit for that one is to move it.
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
        """Move units until no split has over another more rows in excess than a unit can have.

        False if that takes units which the pool does not hold.
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
        """Exchange units between two splits as long as that is worth it."""
        worth = _GAIN * float((self._excess**2 @ self._weights).sum())
        pairs = list(combinations(range(len(self._excess)), 2))
        for _ in range(_ROUNDS):
            if not any([self._exchange_between(*pair, worth) for pair in pairs]):
                return

    def _exchange_between(self, one: int, other: int, worth: float) -> bool:
        """Exchange the best pair of units found; False if it gains less than `worth`."""
        mine, cost_of_mine = self._best(one, other)
        theirs, cost_of_theirs = self._best(other, one)
        a, b = self._held[mine], self._held[theirs]
        costs = cost_of_mine[:, None] + cost_of_theirs - 2 * (a * self._weights) @ b.T
        costs[self._unsettles_rows(one, other, a[:, -1, None] - b[:, -1])] = np.inf
        if costs.min() >= -worth / 2:
            return False
        i, j = np.unravel_index(costs.argmin(), costs.shape)
        self._move(int(mine[i]), one, other)
        self._move(int(theirs[j]), other, one)
        return True

    def _unsettles_rows(
        self, giver: int, taker: int, given: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether it undoes `_settle_rows` to give so many rows."""
        rows = self._excess[:, -1]
        others = np.delete(rows, [giver, taker])
        after = np.stack([rows[giver] - given, rows[taker] + given])
        highest = after.max(axis=0, initial=others.max(initial=-np.inf))
        lowest = after.min(axis=0, initial=others.min(initial=np.inf))
        return highest - lowest > self._largest + _SLACK

    def _best(self, giver: int, taker: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Units of the pool that are the best to move, and their costs; the empty one last."""
        units = self._units(giver)
        costs = self._costs(units, giver, taker)
        if len(units) > _CHOICE:
            chosen = np.argpartition(costs, _CHOICE)[:_CHOICE]
            units, costs = units[chosen], costs[chosen]
        return np.append(units, len(self._pool)), np.append(costs, 0.0)

    def _missing(self) -> NDArray[np.bool_]:
        """Which columns a split has nothing of, though there is one for each split, [K, C + 1]."""
        return self._vital & (self._excess + self._wanted < 0.5)

    def _units(self, split: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._placed == split)

    def _costs(self, units: NDArray[np.int64], giver: int, taker: int) -> NDArray[np.float64]:
        """Half of what moving each unit of the pool adds to the sum that is made small."""
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
    """What each of `count` splits holds of each column, [K, C + 1]."""
    return np.stack([contents[splits == k].sum(axis=0, dtype=np.int64) for k in range(count)])
