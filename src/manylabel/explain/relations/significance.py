"""Tests of many pairs of labels at once.

- `fisher`: do two labels occur together more or less often than by chance?
- `sign_flips`: is a mean change of logits different from 0? It is corrected for many pairs by the
  largest statistic of all pairs in each draw.
- `sign_flips_each`: the same for single lists, not corrected.
- `sign_test`: does one of two things happen more often?

`benjamini_hochberg` corrects the p-values of the other three for their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

DRAWS: Final = 999
"""The number of shuffles. The smallest p-value is 1 / 1000."""

MANY_DRAWS: Final = 9_999
"""The number of shuffles if p-values are corrected afterwards, which needs small ones."""

LEVEL: Final = 0.05
"""A p-value below this is called significant."""

_ROUNDING: Final = 1e-7
"""Tables whose probabilities differ by less than this share are equally probable."""


@final
class Changes(NamedTuple):
    """What one change did to C logits in n images."""

    images: NDArray[np.int64]
    """[n]: the images, as numbers below the number of all images."""
    values: NDArray[np.float32]
    """[n, C]: logit after the change minus logit before."""


def sign_flips(
    changes: Sequence[Changes], *, least: int, draws: int = DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """p-values [B, C] of the mean of each column of B tables of changes; NaN where not tested.

    Under the null hypothesis each change is as probable as its opposite. A draw turns the signs of
    all changes of an image together, so dependence between labels stays. A p-value compares the
    absolute t-statistic of a column with the largest one of all columns in each draw, so the
    probability of any false discovery among all pairs is at most the level.

    Args:
        changes: B tables, which may have different images.
        least: Tables with fewer images are not tested.
        draws: The number of draws.
        seed: The seed of the draws.

    Source: P. H. Westfall, S. S. Young, "Resampling-Based Multiple Testing", 1993, section 2.5
    (the single-step maximum).
    """
    tested = [len(each.images) >= least for each in changes]
    total = 1 + max((int(each.images.max(initial=0)) for each in changes), default=0)
    random = np.random.default_rng(seed)
    signs = random.choice(np.array([-1, 1], dtype=np.float32), (draws, total))
    largest = np.zeros(draws)
    found = np.full((len(changes), changes[0].values.shape[1] if changes else 0), np.nan)
    for row, (each, is_tested) in enumerate(zip(changes, tested, strict=True)):
        if is_tested:
            found[row] = np.abs(_t(each.values.mean(0), each.values))
            means = signs[:, each.images] @ each.values / len(each.images)
            largest = np.maximum(largest, np.abs(_t(means, each.values)).max(1))
    return _exceeded(found, largest)


def sign_flips_each(
    values: Sequence[NDArray[np.float32]], *, least: int, draws: int = MANY_DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """p-values [B] of the means of B lists of differences, not corrected; NaN where not tested.

    Under the null hypothesis each difference is as probable as its opposite.

    Args:
        values: B lists of differences; lists shorter than `least` are not tested.
        least: The smallest number of differences.
        draws: The number of draws.
        seed: The seed of the draws.
    """
    random = np.random.default_rng(seed)
    found = np.full(len(values), np.nan)
    for row, each in enumerate(values):
        if len(each) >= least:
            signs = random.integers(0, 2, (draws, len(each)), dtype=np.int8).astype(np.float32)
            sums = np.abs((2 * signs - 1) @ each)
            reached = sums >= abs(each.sum()) - 1e-5 * np.abs(each).sum()  # rounding
            found[row] = (1 + reached.sum()) / (1 + draws)
    return found


def fisher(
    both: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], total: Any
) -> NDArray[np.float64]:
    """Two-sided p-values of Fisher's exact test, for arrays of 2x2 tables.

    Args:
        both: The number of images with both labels.
        first: The number of images with the first label.
        second: The number of images with the second label.
        total: The number of images.
    """
    shape = both.shape
    tables = np.stack(
        [np.broadcast_to(each, shape).ravel() for each in (both, first, second, total)]
    )
    unique, back = np.unique(tables, axis=1, return_inverse=True)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, unique[3].max(initial=1) + 1)))])
    found = np.array([_fisher(column.tolist(), logs) for column in unique.T], dtype=np.float64)
    return found[back.ravel()].reshape(shape)


def sign_test(first: int, second: int) -> float:
    """The two-sided p-value of "as often the first as the second", without ties."""
    total = first + second
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    counts = np.arange(min(first, second) + 1)
    chances = np.exp(logs[total] - logs[counts] - logs[total - counts] - total * np.log(2))
    return float(min(1.0, 2 * chances.sum()))


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values corrected for their number: the smallest share of false discoveries that admits one.

    NaNs stay, and do not count.

    Source: Y. Benjamini, Y. Hochberg, "Controlling the False Discovery Rate", Journal of the Royal
    Statistical Society B, 1995.
    """
    found = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    values = p[tested]
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1)
    found[tested] = corrected
    return found


def _t(means: NDArray[Any], values: NDArray[np.float32]) -> NDArray[np.float64]:
    """t-statistics of means, for values [n, C] whose signs may have been turned."""
    squares = np.square(values, dtype=np.float64).mean(0)
    variances = np.maximum(squares - np.square(means, dtype=np.float64), 0)
    errors = np.sqrt(variances / (len(values) - 1))
    floor = 1e-6 * np.sqrt(squares) + 1e-30  # a change that is the same in all images
    return means / np.maximum(errors, floor)


def _exceeded(found: NDArray[np.float64], largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often the largest statistic of a draw reached each one, counting what was found."""
    ranks = np.searchsorted(np.sort(largest), found, side="left")
    p = (1 + len(largest) - ranks) / (1 + len(largest))
    return np.where(np.isnan(found), np.nan, p)


def _fisher(table: Sequence[int], logs: NDArray[np.float64]) -> float:
    both, first, second, total = table
    counts = np.arange(max(0, first + second - total), min(first, second) + 1)
    chances = np.exp(
        _log_choose(logs, first, counts)
        + _log_choose(logs, total - first, second - counts)
        - _log_choose(logs, total, second)
    )
    seen = chances[both - counts[0]]
    return float(min(1.0, chances[chances <= seen * (1 + _ROUNDING)].sum()))


def _log_choose(logs: NDArray[np.float64], total: int, chosen: Any) -> Any:
    return logs[total] - logs[chosen] - logs[total - chosen]
