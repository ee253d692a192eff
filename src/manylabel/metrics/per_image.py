"""Metrics per image, averaged over images. They measure whether present labels are ranked first.

An unknown target is left out of its image, as if the label did not exist there. An image without a
known target is left out entirely. If no image is left, a metric is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.labels import ABSENT, PRESENT, UNKNOWN
from manylabel.metrics.f1 import check_decided
from manylabel.metrics.ranking import Scores, Targets, check_same_shape, check_scores, check_targets
from manylabel.metrics.ratios import mean_or_nan

_CELLS_AT_ONCE: Final = 2_000_000
"""The number of pairs of image and label that are ranked at once: about 100 MB."""


def ranking_loss(scores: ArrayLike, targets: ArrayLike) -> float:
    """The fraction of pairs of a present and an absent label that are in the wrong order.

    0 is best. Equal scores count as the wrong order. An image without a present label, or without
    an absent label, has no pair and a loss of 0, as in scikit-learn's `label_ranking_loss`.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.

    Source:
        Tsoumakas, Katakis, Vlahavas, "Mining Multi-label Data", 2010.
    """
    return _mean_over_images(_ranking_losses, scores, targets)


def coverage_error(scores: ArrayLike, targets: ArrayLike) -> float:
    """How many of the best labels are needed to include all present labels; C at worst.

    Labels with equal scores are all needed. An image without a present label has the value 0, as
    in scikit-learn's `coverage_error`.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    return _mean_over_images(_coverages, scores, targets)


def label_ranking_average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """LRAP: AP over the labels of an image instead of the images of a label, tied scores grouped.

    An image that has none of its labels, or all of them, has the value 1, as in scikit-learn's
    `label_ranking_average_precision_score`.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    return _mean_over_images(_label_precisions, scores, targets)


def one_error(scores: ArrayLike, targets: ArrayLike) -> float:
    """The fraction of images whose best label is absent.

    Images without a present label are left out. If scores are equal, the label with the lower index
    is the best.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    scores, targets = _checked(scores, targets)
    right = _count_present_in_top_k(scores, targets, 1)
    has_any = (targets == PRESENT).any(axis=1)
    return mean_or_nan(1.0 - right[has_any])


def precision_at_k(scores: ArrayLike, targets: ArrayLike, k: int) -> float:
    """The fraction of an image's `k` best labels that are present.

    If scores are equal, the label with the lower index comes first. If an image has fewer than `k`
    known labels, all of them are used.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.
        k: At least 1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    scores, targets = _checked(scores, targets)
    known = (targets != UNKNOWN).sum(axis=1)
    taken = np.minimum(known, k)
    right = _count_present_in_top_k(scores, targets, k)
    return mean_or_nan((right / np.maximum(taken, 1))[known > 0])


def recall_at_k(scores: ArrayLike, targets: ArrayLike, k: int) -> float:
    """The fraction of an image's present labels that are among its `k` best.

    If scores are equal, the label with the lower index comes first. Images without a present label
    are left out.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.
        k: At least 1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    scores, targets = _checked(scores, targets)
    positives = (targets == PRESENT).sum(axis=1)
    recall = _count_present_in_top_k(scores, targets, k) / np.maximum(positives, 1)
    return mean_or_nan(recall[positives > 0])


def hamming_loss(decided: ArrayLike, targets: ArrayLike) -> float:
    """The fraction of known pairs of image and label with a wrong decision.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.
    """
    decided, targets = check_decided(decided, targets)
    known = int((targets != UNKNOWN).sum())
    return int(_wrong(decided, targets).sum()) / known if known else float("nan")


def subset_accuracy(decided: ArrayLike, targets: ArrayLike) -> float:
    """The fraction of images for which the decisions on all known labels are right.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.
    """
    decided, targets = check_decided(decided, targets)
    right = _wrong(decided, targets).sum(axis=1) == 0
    return mean_or_nan(right[(targets != UNKNOWN).any(axis=1)])


@final
class _RankedLabels:
    """The labels of n images, sorted from the best to the worst, unknown ones last.

    Attributes:
        present: [n, C], whether the image has the label.
        reached: [n, C], the number of known labels that score at least as high.
        right: [n, C], the number of these that are present.
        positives: [n], the number of present labels.
        absent: [n], the number of absent labels.
    """

    def __init__(self, scores: Scores, targets: Targets) -> None:
        masked = np.where(targets == UNKNOWN, -np.inf, scores)
        order = np.argsort(-masked, axis=1)
        falling = np.take_along_axis(masked, order, axis=1)
        self.present = np.take_along_axis(targets, order, axis=1) == PRESENT
        last = _last_tied(falling)
        self.reached = last + 1
        self.right = np.take_along_axis(np.cumsum(self.present, axis=1), last, axis=1)
        self.positives = self.present.sum(axis=1)
        self.absent = (targets == ABSENT).sum(axis=1)


def _ranking_losses(ranked: _RankedLabels) -> NDArray[np.float64]:
    wrong = ((ranked.reached - ranked.right) * ranked.present).sum(axis=1)
    return wrong / np.maximum(ranked.positives * ranked.absent, 1)


def _coverages(ranked: _RankedLabels) -> NDArray[np.float64]:
    return (ranked.reached * ranked.present).max(axis=1, initial=0).astype(np.float64)


def _label_precisions(ranked: _RankedLabels) -> NDArray[np.float64]:
    total = (ranked.right / ranked.reached * ranked.present).sum(axis=1)
    trivial = (ranked.positives == 0) | (ranked.absent == 0)
    return np.where(trivial, 1.0, total / np.maximum(ranked.positives, 1))


def _mean_over_images(
    metric: Callable[[_RankedLabels], NDArray[np.float64]], scores: ArrayLike, targets: ArrayLike
) -> float:
    """The mean of a metric over images; `metric` gives its value for each image."""
    scores, targets = _checked(scores, targets)
    total, count = 0.0, 0
    for rows in _in_parts(*scores.shape):
        known = (targets[rows] != UNKNOWN).any(axis=1)
        ranked = _RankedLabels(scores[rows][known], targets[rows][known])
        total += float(metric(ranked).sum())
        count += int(known.sum())
    return total / count if count else float("nan")


def _in_parts(images: int, labels: int) -> Iterator[slice]:
    step = max(1, _CELLS_AT_ONCE // max(1, labels))
    return (slice(start, start + step) for start in range(0, images, step))


def _last_tied(falling: NDArray[np.floating]) -> NDArray[np.intp]:
    """The column of the last equal value in the same row, for each value of falling rows [n, C]."""
    columns = np.arange(falling.shape[1])
    ends = np.ones(falling.shape, dtype=np.bool_)
    ends[:, :-1] = falling[:, :-1] != falling[:, 1:]
    end_columns = np.where(ends, columns, falling.shape[1])
    return np.minimum.accumulate(end_columns[:, ::-1], axis=1)[:, ::-1]


def _count_present_in_top_k(scores: Scores, targets: Targets, k: int) -> NDArray[np.int64]:
    """How many of the `k` best known labels of each image are present, [N]."""
    assert k >= 1, k
    remaining = np.where(targets == UNKNOWN, -np.inf, scores)
    rows, present = np.arange(len(remaining)), np.zeros(len(remaining), dtype=np.int64)
    for _ in range(min(k, remaining.shape[1])):
        best = remaining.argmax(axis=1)
        present += (targets[rows, best] == PRESENT) & (remaining[rows, best] > -np.inf)
        remaining[rows, best] = -np.inf
    return present


def _wrong(decided: NDArray[np.bool_], targets: Targets) -> NDArray[np.bool_]:
    return (decided != (targets == PRESENT)) & (targets != UNKNOWN)


def _checked(scores: ArrayLike, targets: ArrayLike) -> tuple[Scores, Targets]:
    scores, targets = check_scores(scores), check_targets(targets)
    check_same_shape("scores", scores.shape, targets)
    return scores, targets
