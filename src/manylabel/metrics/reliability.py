"""Measures calibration: is a label present as often as its score says?

Scores are sorted into bins of equal width. A bin includes its left end; the last bin also includes
1. Unknown targets are left out everywhere.

Source: the expected calibration error of Naeini et al., "Obtaining Well Calibrated Probabilities
Using Bayesian Binning" (AAAI 2015), computed for each label separately: from its score and its
presence, not from those of the most probable class. And the score of Brier (1950).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import ConfigError
from manylabel.labels import PRESENT, UNKNOWN
from manylabel.metrics.ranking import Scores, Targets, check_scores_and_targets
from manylabel.metrics.ratios import ratio

BINS: Final = 15
"""The usual number of bins."""

_PAIRS_AT_ONCE: Final = 4_000_000
"""The number of pairs of image and label that are processed at once. It limits the memory."""


@final
@dataclass(frozen=True, eq=False)
class Reliability:
    """The contents of B bins of scores for each of C labels; unknown targets are left out.

    Args:
        count: [C, B], known targets whose score is in the bin.
        present: [C, B], how many of them are present.
        score_sum: [C, B], the sum of their scores.
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

        It is the difference between frequency and mean score, averaged over the label's known
        targets.
        """
        gaps = np.abs(self.present - self.score_sum).sum(axis=1)
        return ratio(gaps, self.count.sum(axis=1))

    def pooled(self) -> Reliability:
        """The bins of all pairs of image and label together, as one row."""
        return Reliability(
            self.count.sum(axis=0, keepdims=True),
            self.present.sum(axis=0, keepdims=True),
            self.score_sum.sum(axis=0, keepdims=True),
        )


def reliability(scores: ArrayLike, targets: ArrayLike, *, bins: int = BINS) -> Reliability:
    """The data of a reliability plot for each label; `pooled()` gives all labels together.

    Args:
        scores: [N, C], after the sigmoid, 0..1.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
        bins: The number of bins, which have equal width.

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
    scores, targets = check_scores_and_targets(scores, targets)
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
        bins: The number of bins, which have equal width.

    Raises:
        ConfigError: Fewer than one bin.
        DataError: Scores or targets cannot be used, or do not fit each other.
    """
    return reliability(scores, targets, bins=bins).ece


def brier(scores: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """The Brier score of each label, 0..1 [C]; NaN without a known target.

    It is the mean squared difference between score and presence.

    Args:
        scores: [N, C], after the sigmoid, 0..1.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.

    Raises:
        DataError: Scores or targets cannot be used, or do not fit each other.

    Example:
        >>> brier([[0.5, 0.8], [1.0, 0.3]], [[0, -1], [1, -1]]).tolist()
        [0.125, nan]
    """
    scores, targets = check_scores_and_targets(scores, targets)
    return np.concatenate([_squared_error(*part) for part in _parts(scores, targets)])


def _parts(scores: Scores, targets: Targets) -> Iterator[tuple[NDArray[np.float64], Targets]]:
    """The table in blocks of some labels and all images; scores are in double precision."""
    images, labels = scores.shape
    step = max(1, _PAIRS_AT_ONCE // max(1, images))
    for start in range(0, max(1, labels), step):
        some = slice(start, start + step)
        yield scores[:, some].astype(np.float64), targets[:, some]


def _binned(scores: NDArray[np.float64], targets: Targets, bins: int) -> Reliability:
    labels = scores.shape[1]
    known = targets != UNKNOWN
    bin_index = np.minimum((scores * bins).astype(np.int64), bins - 1)
    bin_index += np.arange(labels) * bins
    size, shape = labels * bins, (labels, bins)
    count = np.bincount(bin_index[known], minlength=size).reshape(shape)
    present = np.bincount(bin_index[targets == PRESENT], minlength=size).reshape(shape)
    sums = np.bincount(bin_index[known], weights=scores[known], minlength=size)
    return Reliability(count, present, sums.astype(np.float64).reshape(shape))


def _squared_error(scores: NDArray[np.float64], targets: Targets) -> NDArray[np.float64]:
    known = targets != UNKNOWN
    errors = np.where(known, scores - (targets == PRESENT), 0)
    return ratio((errors**2).sum(axis=0), known.sum(axis=0))
