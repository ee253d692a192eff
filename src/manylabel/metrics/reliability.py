"""Calibration measured: is a label present as often as its score says?

Scores are sorted into bins of equal width. A bin holds its left end; the last one holds 1, too.
Unknown targets are left out everywhere.

Source: the expected calibration error of Naeini et al., "Obtaining Well Calibrated Probabilities
Using Bayesian Binning" (AAAI 2015), taken of each label by itself: of its score and presence, not
of the likeliest class's; and the score of Brier (1950).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import ConfigError
from manylabel.labels import PRESENT, UNKNOWN
from manylabel.metrics.ranking import Scores, Targets, check_scored
from manylabel.metrics.ratios import ratio

BINS: Final = 15
"""The usual number of bins."""

_PAIRS_AT_ONCE: Final = 4_000_000
"""Pairs of image and label that are looked at together, which bounds the memory."""


@final
@dataclass(frozen=True, eq=False)
class Reliability:
    """What lies in the bins [C, B] of C labels; row sums are over the known targets.

    Args:
        count: Known targets whose score lies in the bin.
        present: Those of them that are present.
        score_sum: The sum of their scores.
    """

    count: NDArray[np.int64]
    present: NDArray[np.int64]
    score_sum: NDArray[np.float64]

    @property
    def frequency(self) -> NDArray[np.float64]:
        """How often the label is present in each bin, 0..1 [C, B]; NaN in an empty bin."""
        return ratio(self.present, self.count)

    @property
    def mean_score(self) -> NDArray[np.float64]:
        """The mean score in each bin, 0..1 [C, B]; NaN in an empty bin."""
        return ratio(self.score_sum, self.count)

    @property
    def ece(self) -> NDArray[np.float64]:
        """Expected calibration error, 0..1 [C]; NaN for a label without a known target.

        The gap between frequency and mean score, averaged over the label's known targets.
        """
        gaps = np.abs(self.present - self.score_sum).sum(axis=1)
        return ratio(gaps, self.count.sum(axis=1))

    def pooled(self) -> Reliability:
        """The same of all pairs of image and label together, as one row."""
        return Reliability(
            self.count.sum(axis=0, keepdims=True),
            self.present.sum(axis=0, keepdims=True),
            self.score_sum.sum(axis=0, keepdims=True),
        )


def reliability(scores: ArrayLike, targets: ArrayLike, *, bins: int = BINS) -> Reliability:
    """What a reliability plot draws, for each label; `pooled()` gives all of them together.

    Args:
        scores: [N, C], after the sigmoid, 0..1.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
        bins: How many bins, of equal width.

    Raises:
        ConfigError: Fewer than one bin.
        DataError: Scores or targets cannot be used, or do not fit each other.

    Example:
        >>> found = reliability([[0.1], [0.2], [0.9]], [[0], [1], [1]], bins=2)
        >>> found.count.tolist(), found.frequency.tolist(), found.ece.round(3).tolist()
        ([[2, 1]], [[0.5, 1.0]], [0.267])
    """
    if bins < 1:
        raise ConfigError(f"There are {bins} bins.", where="bins", fix="Give 1 or more.")
    scores, targets = check_scored(scores, targets)
    parts = [_binned(*part, bins) for part in _parts(scores, targets)]
    return Reliability(
        np.concatenate([part.count for part in parts]),
        np.concatenate([part.present for part in parts]),
        np.concatenate([part.score_sum for part in parts]),
    )


def class_wise_ece(
    scores: ArrayLike, targets: ArrayLike, *, bins: int = BINS
) -> NDArray[np.float64]:
    """Expected calibration error of each label, 0..1 [C]; NaN without a known target.

    Args:
        scores: [N, C], after the sigmoid, 0..1.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
        bins: How many bins, of equal width.

    Raises:
        ConfigError: Fewer than one bin.
        DataError: Scores or targets cannot be used, or do not fit each other.
    """
    return reliability(scores, targets, bins=bins).ece


def brier(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Mean squared difference of score and presence, 0..1 [C]; NaN without a known target.

    Args:
        scores: [N, C], after the sigmoid, 0..1.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.

    Raises:
        DataError: Scores or targets cannot be used, or do not fit each other.

    Example:
        >>> brier([[0.5, 0.8], [1.0, 0.3]], [[0, -1], [1, -1]]).tolist()
        [0.125, nan]
    """
    scores, targets = check_scored(scores, targets)
    return np.concatenate([_squared_error(*part) for part in _parts(scores, targets)])


def _parts(scores: Scores, targets: Targets) -> Iterator[tuple[NDArray[np.float64], Targets]]:
    """Some labels at a time, all of their images; scores in double precision."""
    images, labels = scores.shape
    step = max(1, _PAIRS_AT_ONCE // max(1, images))
    for start in range(0, max(1, labels), step):
        some = slice(start, start + step)
        yield scores[:, some].astype(np.float64), targets[:, some]


def _binned(scores: NDArray[np.float64], targets: Targets, bins: int) -> Reliability:
    labels = scores.shape[1]
    known = targets != UNKNOWN
    places = np.minimum((scores * bins).astype(np.int64), bins - 1)
    places += np.arange(labels) * bins
    size, shape = labels * bins, (labels, bins)
    count = np.bincount(places[known], minlength=size).reshape(shape)
    present = np.bincount(places[targets == PRESENT], minlength=size).reshape(shape)
    sums = np.bincount(places[known], weights=scores[known], minlength=size)
    return Reliability(count, present, sums.astype(np.float64).reshape(shape))


def _squared_error(scores: NDArray[np.float64], targets: Targets) -> NDArray[np.float64]:
    known = targets != UNKNOWN
    errors = np.where(known, scores - (targets == PRESENT), 0)
    return ratio((errors**2).sum(axis=0), known.sum(axis=0))
