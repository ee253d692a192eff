"""Means of measured pairs with bootstrap intervals over images, beside the map at the centre."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from manylabel.explain.scores.measures import MEASURES
from manylabel.explain.scores.pairs import CENTRE, PairTable
from manylabel.labels import LabelSpace
from manylabel.metrics.bootstrap import Interval, interval

MIN_PAIRS: Final = 10
"""A label with fewer pairs is shown with its count, but not compared, and no part of the mean."""

Sign = Literal["+", "-", "="]
"""Better than the map at the centre, worse, or not told apart: the interval includes zero."""

Draws = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class LabelScore:
    """One measure of one method for one label.

    Args:
        pairs: The number of images that have the label and its region.
        found: The mean over these pairs, with its interval.
        over_centre: How much better than the map at the centre, with its interval: positive is
            better for every measure.
        sign: Whether it is better than the map at the centre; None for fewer than `MIN_PAIRS`.
    """

    pairs: int
    found: Interval
    over_centre: Interval
    sign: Sign | None

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON; a figure that is not defined is None."""
        return {
            "pairs": self.pairs,
            **bounds(self.found),
            "over_centre": bounds(self.over_centre),
            "against_centre": self.sign,
        }


@final
@dataclass(frozen=True, slots=True)
class MethodScore:
    """One measure of one method.

    Args:
        all_pairs: The mean over all pairs, with its interval.
        mean_of_labels: The mean of the means of labels with `MIN_PAIRS` pairs or more.
        over_centre: How much better than the map at the centre the mean over all pairs is.
        sign: Whether that is better than the map at the centre.
        labels: The score of each label that has a pair, in the order of the label space.
    """

    all_pairs: Interval
    mean_of_labels: Interval
    over_centre: Interval
    sign: Sign
    labels: dict[str, LabelScore]

    def count(self, sign: Sign) -> int:
        """The number of labels with this sign."""
        return sum(each.sign == sign for each in self.labels.values())

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        return {
            "all_pairs": bounds(self.all_pairs),
            "mean_of_labels": bounds(self.mean_of_labels),
            "over_centre": bounds(self.over_centre),
            "against_centre": self.sign,
            "labels_better": self.count("+"),
            "labels_worse": self.count("-"),
            "labels_not_told_apart": self.count("="),
            "labels": [{"label": name, **each.as_dict()} for name, each in self.labels.items()],
        }


@final
@dataclass(frozen=True, slots=True)
class Resampling:
    """The bootstrap: how many draws of the images, and their seed."""

    draws: int = 1000
    seed: int = 0


def summarise(
    table: PairTable, labels: LabelSpace, resampling: Resampling
) -> dict[str, dict[str, MethodScore]]:
    """The scores of all methods and baselines, by measure and method.

    Whole images are drawn, since the labels of one image depend on one another. Every method is
    measured on the same draws, so that differences have their own intervals.

    Args:
        table: The measured pairs. Each measure has values [P, M].
        labels: The label space.
        resampling: The draws.
    """
    present, columns = np.unique(table.labels, return_inverse=True)
    names = [labels[i] for i in present.tolist()]
    return {
        measure: _summarise(_Means.of(table, values, columns, resampling), measure, table, names)
        for measure, values in table.values.items()
    }


def bounds(found: Interval) -> dict[str, float | None]:
    """`value`, `low` and `high` of an interval, ready for JSON."""
    return {
        name: None if math.isnan(each) else round(each, 6) for name, each in found.as_dict().items()
    }


@final
@dataclass(frozen=True, eq=False)
class _Means:
    """Sums of the values of one measure; row 0 is all images as they are, the others are draws.

    Args:
        counts: [1 + R, L]: the pairs of each label.
        sums: [1 + R, L, M]: the sums of the values of these pairs.
    """

    counts: Draws
    sums: Draws

    @classmethod
    def of(
        cls,
        table: PairTable,
        values: NDArray[np.floating[Any]],
        columns: NDArray[np.intp],
        resampling: Resampling,
    ) -> _Means:
        order = np.argsort(columns, kind="stable")
        starts = np.searchsorted(columns[order], np.arange(columns.max() + 1))
        images = np.unique(table.images, return_inverse=True)[1][order]
        of_pairs = values[order].astype(np.float64)
        counts = np.empty((1 + resampling.draws, len(starts)))
        sums = np.empty((*counts.shape, values.shape[1]))
        for row, taken in enumerate(_taken(int(images.max()) + 1, resampling)):
            weights = taken[images]
            counts[row] = np.add.reduceat(weights, starts)
            sums[row] = np.add.reduceat(weights[:, None] * of_pairs, starts)
        return cls(counts, sums)

    def all_pairs(self) -> Draws:
        """The mean over all pairs, [1 + R, M]."""
        return _ratio(self.sums.sum(axis=1), self.counts.sum(axis=1)[:, None])

    def by_label(self) -> Draws:
        """The mean of each label, [1 + R, L, M]; NaN in a draw without the label."""
        return _ratio(self.sums, self.counts[..., None])

    def mean_of_labels(self) -> Draws:
        """The mean of the means of labels with enough pairs, [1 + R, M]."""
        enough = self.by_label()[:, self.counts[0] >= MIN_PAIRS]
        known = ~np.isnan(enough)
        return _ratio(np.where(known, enough, 0).sum(axis=1), known.sum(axis=1))


def _taken(images: int, resampling: Resampling) -> Iterator[NDArray[np.float64]]:
    """How often each image is taken: once, and then as often as each draw takes it."""
    yield np.ones(images)
    random = np.random.default_rng(resampling.seed)
    for _ in range(resampling.draws):
        drawn = random.integers(0, images, images)
        yield np.bincount(drawn, minlength=images).astype(np.float64)


def _summarise(
    means: _Means, measure: str, table: PairTable, names: list[str]
) -> dict[str, MethodScore]:
    better = 1 if MEASURES[measure].higher_is_better else -1
    centre = table.methods.index(CENTRE)
    everything, of_labels, by_label = means.all_pairs(), means.mean_of_labels(), means.by_label()
    found = {}
    for i, method in enumerate(table.methods):
        over = _interval(better * (everything[:, i] - everything[:, centre]))
        own = by_label[..., i], better * (by_label[..., i] - by_label[..., centre])
        labels = {name: _label(means, own, j) for j, name in enumerate(names)}
        found[method] = MethodScore(
            _interval(everything[:, i]), _interval(of_labels[:, i]), over, _sign(over), labels
        )
    return found


def _label(means: _Means, own: tuple[Draws, Draws], column: int) -> LabelScore:
    pairs = int(means.counts[0, column])
    value, over = (_interval(each[:, column]) for each in own)
    return LabelScore(pairs, value, over, _sign(over) if pairs >= MIN_PAIRS else None)


def _interval(column: Draws) -> Interval:
    """The first number, with the middle 95 % of the others."""
    return interval(float(column[0]), column[1:])


def _sign(over: Interval) -> Sign:
    return "+" if over.low > 0 else "-" if over.high < 0 else "="


def _ratio(sums: Draws, counts: NDArray[Any]) -> Draws:
    counts = np.broadcast_to(counts, sums.shape)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


Summary = Mapping[str, Mapping[str, MethodScore]]
"""Scores by measure and method."""
