"""What the audit computes its figures with: draws of the bootstrap, and tests of one pair.

The intervals of metrics are percentiles of bootstrap draws, as everywhere in manylabel. The tests
have closed forms, because many pairs need small probabilities, which draws cannot give.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.floating[Any]]
Weights = NDArray[np.int64]
"""How often each draw takes each image, [draws, n]."""


def drawn(random: np.random.Generator, images: int, draws: int) -> Weights:
    """How often each bootstrap draw takes each of some images: [draws, images]."""
    taken = random.integers(0, images, (draws, images))
    taken += images * np.arange(draws)[:, None]
    return np.bincount(taken.ravel(), minlength=draws * images).reshape(draws, images)


def ap_at_prevalence(
    positives: Values, negatives: Values, weights: tuple[Weights, Weights], prevalence: float
) -> NDArray[np.float64]:
    """Average precision in each draw, as if a given share of the images were positive: [draws].

    Precision is computed from the true and the false positive rate, so it does not depend on how
    many positives and negatives there are. Images with equal scores are taken together.

    Args:
        positives: The scores of the images that have the label, [P].
        negatives: The scores of the images that do not, [Q].
        weights: How often each draw takes the positives and the negatives.
        prevalence: The share of positives, above 0 and below 1.

    Source: Hoiem, Chodpathumwan, Dai, "Diagnosing Error in Object Detectors", ECCV 2012, section
    3.1: normalised precision. Average precision is not interpolated, as in `average_precision`.
    """
    right = _at_least(positives, positives, weights[0])
    wrong = _at_least(negatives, positives, weights[1])
    true_rate = right / weights[0].sum(1, keepdims=True)
    false_rate = wrong / weights[1].sum(1, keepdims=True)
    found = prevalence * true_rate
    total = found + (1 - prevalence) * false_rate
    precision = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
    return (weights[0] * precision).sum(1) / weights[0].sum(1)


def auc(high: Values, low: Values, weights: tuple[Weights, Weights]) -> NDArray[np.float64]:
    """The chance that one of `high` scores above one of `low`, in each draw: [draws], 0..1.

    Equal scores count as one half. 0.5 means that the two do not differ.

    Args:
        high: Scores [P].
        low: Scores [Q].
        weights: How often each draw takes the images of `high` and of `low`.
    """
    all_low = weights[1].sum(1, keepdims=True)
    above = all_low - _at_least(low, high, weights[1])
    above_or_equal = all_low - _at_least(low, high, weights[1], strictly=True)
    beaten = (above + above_or_equal) / 2 / all_low
    return (weights[0] * beaten).sum(1) / weights[0].sum(1)


def rank_sum_p(high: ArrayLike, low: ArrayLike) -> float:
    """The two-sided p-value of the Mann-Whitney test that two samples do not differ.

    It is the normal approximation, with the correction for ties and without that for continuity.

    Source: Mann, Whitney, "On a Test of Whether one of Two Random Variables is Stochastically
    Larger than the Other", 1947.
    """
    one, other = np.asarray(high), np.asarray(low)
    size, half = len(one) + len(other), len(one) * len(other) / 2
    _, counts = np.unique(np.concatenate([one, other]), return_counts=True)
    ties = float((counts.astype(float) ** 3 - counts).sum())
    variance = half / 6 * (size + 1 - ties / (size * (size - 1)))
    single = (np.ones((1, len(one)), np.int64), np.ones((1, len(other)), np.int64))
    difference = float(auc(one, other, single)[0]) * 2 * half - half
    if variance <= 0:  # all scores are equal
        return 1.0
    return math.erfc(abs(difference) / math.sqrt(2 * variance))


def mean_p(values: ArrayLike) -> float:
    """The two-sided p-value of Student's t test that the mean of some values is 0.

    With t = sqrt(v) * tan(x) and v degrees of freedom, the density of x is cos(x)^(v - 1), up to a
    factor. It is integrated numerically, so that small probabilities keep their digits.
    """
    array = np.asarray(values, dtype=np.float64)
    spread = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    mean, freedom = float(array.mean()), len(array) - 1
    if spread == 0:
        return 1.0 if mean == 0 or freedom == 0 else 0.0
    t = abs(mean) / spread * math.sqrt(len(array))
    nodes, weights = _quadrature()
    start = math.atan(t / math.sqrt(freedom))
    width = (math.pi / 2 - start) / 2
    angles = start + width * (nodes + 1)
    tail = width * float((weights * np.cos(angles) ** (freedom - 1)).sum())
    whole = math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2)
    return min(1.0, 2 * tail / (math.sqrt(math.pi) * math.exp(whole)))


def adjusted(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values after the Benjamini-Hochberg correction for many tests; NaN is not a test.

    Among the pairs whose value is at most 0.05, about one in twenty is expected to be wrong.

    Source: Benjamini, Hochberg, "Controlling the False Discovery Rate", 1995.

    Example:
        >>> adjusted([0.01, 0.04, 0.03, float("nan")]).round(3).tolist()
        [0.03, 0.04, 0.04, nan]
    """
    given = np.asarray(p_values, dtype=np.float64)
    result = np.full(len(given), np.nan)
    tests = np.flatnonzero(~np.isnan(given))
    falling = tests[np.argsort(-given[tests], kind="stable")]
    ranks = np.arange(len(falling), 0, -1)
    result[falling] = np.minimum.accumulate(given[falling] * len(falling) / ranks).clip(max=1)
    return result


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(200)


def _at_least(
    scores: Values, limits: Values, weights: Weights, *, strictly: bool = False
) -> NDArray[np.int64]:
    """How many of `scores` each draw has at or above each limit: [draws, limits].

    Args:
        scores: [n].
        limits: [m].
        weights: [draws, n].
        strictly: Count only those above the limit.
    """
    order = np.argsort(scores, kind="stable")
    below = np.zeros((len(weights), len(scores) + 1), dtype=np.int64)
    np.cumsum(weights[:, order], axis=1, out=below[:, 1:])
    places = np.searchsorted(scores[order], limits, side="right" if strictly else "left")
    return below[:, -1:] - below[:, places]
