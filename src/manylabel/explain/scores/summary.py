"""Means of measured pairs with bootstrap intervals over images, beside the baselines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from manylabel.explain.scores.measures import MEASURES
from manylabel.explain.scores.pairs import BASELINES, PairTable
from manylabel.labels import LabelSpace
from manylabel.metrics.bootstrap import Interval, interval

MIN_PAIRS: Final = 10
"""A label with fewer pairs is shown with its count, but not compared, and no part of the mean."""

Sign = Literal["+", "-", "="]
"""Better than each baseline (+), worse than one of them (-), or not told apart (=).

Both are needed. A map that is the same everywhere beats the one at the centre for each label whose
objects lie elsewhere."""

Draws = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class LabelScore:
    """One measure of one method for one label.

    Args:
        pairs: The number of images that have the label and its region.
        found: The mean over these pairs, with its interval.
        over: How much better than each baseline, with its interval: positive is better for every
            measure.
        sign: Whether it is better than the baselines; None for fewer than `MIN_PAIRS` and for a
            baseline.
    """

    pairs: int
    found: Interval
    over: dict[str, Interval]
    sign: Sign | None

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON; a figure that is not defined is None."""
        return {
            "pairs": self.pairs,
            **bounds(self.found),
            **_over(self.over),
            "against_baselines": self.sign,
        }


@final
@dataclass(frozen=True, slots=True)
class MethodScore:
    """One measure of one method.

    Args:
        all_pairs: The mean over all pairs, with its interval.
        mean_of_labels: The mean of the means of labels with `MIN_PAIRS` pairs or more.
        over: How much better than each baseline the mean over all pairs is.
        sign: Whether that is better than the baselines; None for fewer than `MIN_PAIRS`, and for a
            baseline.
        labels: The score of each label that has a pair, in the order of the label space.
    """

    all_pairs: Interval
    mean_of_labels: Interval
    over: dict[str, Interval]
    sign: Sign | None
    labels: dict[str, LabelScore]

    def count(self, sign: Sign) -> int:
        """The number of labels with this sign."""
        return sum(each.sign == sign for each in self.labels.values())

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        return {
            "all_pairs": bounds(self.all_pairs),
            "mean_of_labels": bounds(self.mean_of_labels),
            **_over(self.over),
            "against_baselines": self.sign,
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
    """The score of each method: the draws are compared with those of the baselines."""
    better = 1 if MEASURES[measure].higher_is_better else -1
    baselines = {name: table.methods.index(name) for name in BASELINES}
    everything, of_labels, by_label = means.all_pairs(), means.mean_of_labels(), means.by_label()
    found = {}
    for i, method in enumerate(table.methods):
        over, over_label = (
            {name: better * (draws[..., i] - draws[..., j]) for name, j in baselines.items()}
            for draws in (everything, by_label)
        )
        compared = method not in BASELINES
        labels = {}
        for column, name in enumerate(names):
            pairs = int(means.counts[0, column])
            own = _intervals({key: draws[:, column] for key, draws in over_label.items()})
            sign = _sign(own) if compared and pairs >= MIN_PAIRS else None
            labels[name] = LabelScore(pairs, _interval(by_label[:, column, i]), own, sign)
        total = _intervals(over)
        found[method] = MethodScore(
            _interval(everything[:, i]),
            _interval(of_labels[:, i]),
            total,
            _sign(total) if compared and len(table) >= MIN_PAIRS else None,
            labels,
        )
    return found


def _intervals(draws: Mapping[str, Draws]) -> dict[str, Interval]:
    return {name: _interval(each) for name, each in draws.items()}


def _interval(column: Draws) -> Interval:
    """The first number, with the middle 95 % of the others."""
    return interval(float(column[0]), column[1:])


def _sign(over: Mapping[str, Interval]) -> Sign:
    if all(each.low > 0 for each in over.values()):
        return "+"
    return "-" if any(each.high < 0 for each in over.values()) else "="


def _over(found: Mapping[str, Interval]) -> dict[str, Any]:
    return {f"over_{name}": bounds(each) for name, each in found.items()}


def _ratio(sums: Draws, counts: NDArray[Any]) -> Draws:
    counts = np.broadcast_to(counts, sums.shape)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


Summary = Mapping[str, Mapping[str, MethodScore]]
"""Scores by measure and method."""
