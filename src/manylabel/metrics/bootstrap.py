"""The bootstrap over images: how much a metric would change with other images of the same kind.

Each draw takes N images with replacement. The weight of an image is how often the draw took it.
Weights are all that a draw needs. So scores are sorted once, and every draw is a weighted count.

Source:
    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993: percentile intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.labels import PRESENT, UNKNOWN
from manylabel.metrics.ranking import check_same_shape, check_scores, check_targets

_AT_ONCE: Final = 4_000_000
"""The number of weights that are processed at once: about 100 MB."""


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """A metric and the middle 95 % of its draws, in the metric's unit; NaN where not defined."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """`value`, `low` and `high`."""
        return {"value": self.value, "low": self.low, "high": self.high}


def draw_weights(num_images: int, *, draws: int, seed: int) -> NDArray[np.int32]:
    """How often each draw takes each image, int32 [draws, N]; the sum of each row is N."""
    random = np.random.default_rng(seed)
    weights = np.empty((draws, num_images), dtype=np.int32)
    for row in weights:
        taken = random.integers(0, num_images, num_images)
        row[:] = np.bincount(taken, minlength=num_images)
    return weights


def average_precision_draws(
    scores: ArrayLike, targets: ArrayLike, weights: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Average precision of each label in each draw, [draws, C]; NaN where a draw has no positive.

    The definition is that of `average_precision`: not interpolated, and images with equal scores
    are grouped. A draw has the value of an array in which each image is repeated as often as the
    draw took it.

    Args:
        scores: [N, C].
        targets: [N, C] of 1, 0 and -1; an image unknown for a label is left out of that label.
        weights: [draws, N], as `draw_weights` gives them.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    scores, targets = check_scores(scores), check_targets(targets)
    check_same_shape("scores", scores.shape, targets)
    result = np.full((len(weights), scores.shape[1]), np.nan)
    for label in range(scores.shape[1]):
        known = np.flatnonzero(targets[:, label] != UNKNOWN)
        order = known[np.argsort(-scores[known, label], kind="stable")]
        present = targets[order, label] == PRESENT
        if not present.any():
            continue
        last_of_group = _last_of_equals(scores[order, label])
        for rows in _in_parts(len(weights), len(order)):
            taken = weights[rows][:, order]
            result[rows, label] = _weighted_ap(taken, present, last_of_group)
    return result


def mean_ap_draws(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mAP of each draw, [draws]: the mean over the labels that have a positive in the draw."""
    defined = ~np.isnan(draws)
    counts = defined.sum(axis=1)
    totals = np.where(defined, draws, 0.0).sum(axis=1)
    return np.divide(totals, counts, out=np.full(len(draws), np.nan), where=counts > 0)


def f1_draws(
    decided: NDArray[np.bool_], targets: ArrayLike, weights: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CF1 and OF1 of each draw, [draws] each, by the definitions of `precision_recall_f1`."""
    targets = check_targets(targets)
    check_same_shape("decisions", decided.shape, targets)
    known, present = targets != UNKNOWN, targets == PRESENT
    right, predicted, positives = (
        weights.astype(np.float64) @ part.astype(np.float64)
        for part in (decided & present, decided & known, present)
    )
    empty = positives == 0
    precision = np.where(empty, np.nan, right / np.maximum(predicted, 1))
    recall = np.where(empty, np.nan, right / np.maximum(positives, 1))
    by_label = _harmonic(mean_ap_draws(precision), mean_ap_draws(recall))
    totals = [part.sum(axis=1) for part in (right, predicted, positives)]
    with np.errstate(invalid="ignore"):
        pooled_recall = np.where(totals[2] > 0, totals[0] / np.maximum(totals[2], 1), np.nan)
    return by_label, _harmonic(totals[0] / np.maximum(totals[1], 1), pooled_recall)


def interval(value: float, draws: NDArray[np.float64]) -> Interval:
    """The value with the middle 95 % of its draws; draws that are NaN are left out."""
    defined = draws[~np.isnan(draws)]
    if not defined.size or np.isnan(value):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def _weighted_ap(
    taken: NDArray[np.int32], present: NDArray[np.bool_], last_of_group: NDArray[np.intp]
) -> NDArray[np.float64]:
    """AP of each row of `taken` [draws, n]; images are in the order of falling scores."""
    positives = np.flatnonzero(present)
    ends = last_of_group[positives]
    predicted = np.cumsum(taken, axis=1, dtype=np.int32)[:, ends]
    of_positives = taken[:, positives]
    right_so_far = np.cumsum(of_positives, axis=1, dtype=np.int32)
    # Positives that score at least as high as this one: all up to the last one of its tied group.
    group_end = np.searchsorted(positives, ends, side="right") - 1
    right = right_so_far[:, group_end]
    total = right_so_far[:, -1]
    precision = right / np.maximum(predicted, 1)
    sums = (of_positives * precision).sum(axis=1)
    return np.divide(sums, total, out=np.full(len(taken), np.nan), where=total > 0)


def _last_of_equals(falling: NDArray[Any]) -> NDArray[np.intp]:
    """The position of the last equal value, for each position of a falling list."""
    return np.searchsorted(-falling, -falling, side="right") - 1


def _in_parts(draws: int, size: int) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(1, size))
    return (slice(start, start + step) for start in range(0, draws, step))


def _harmonic(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    total = one + other
    safe = np.where(total > 0, total, 1.0)
    return np.where(total > 0, 2 * one * other / safe, total)
