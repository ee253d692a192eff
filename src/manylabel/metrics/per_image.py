"""Metrics of each image's labels, averaged over images: do the labels that it has come first?

Unknown targets are left out of their image, as if the label did not exist there. An image without
any known target is left out altogether. With no image left a metric is NaN.
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
"""Pairs of image and label that are ranked at once: some 100 MB."""


def ranking_loss(scores: ArrayLike, targets: ArrayLike) -> float:
    """The share of pairs, one label present and one absent, that are in the wrong order; 0 is best.

    Equal scores are the wrong order. An image without a present or without an absent label has no
    pair and a loss of 0, as in scikit-learn's `label_ranking_loss`.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.

    Source:
        Tsoumakas, Katakis, Vlahavas, "Mining Multi-label Data", 2010.
    """
    return _mean_of(_ranking_losses, scores, targets)


def coverage_error(scores: ArrayLike, targets: ArrayLike) -> float:
    """How many of the best labels one has to take to have all that are present; C at worst.

    Of equal scores all have to be taken. An image without a present label counts 0, as in
    scikit-learn's `coverage_error`.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    return _mean_of(_coverages, scores, targets)


def label_ranking_average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """LRAP: AP along an image's labels instead of along a label's images, tied scores grouped.

    An image that has none of its labels or all of them counts 1, as in scikit-learn's
    `label_ranking_average_precision_score`.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    return _mean_of(_label_precisions, scores, targets)


def one_error(scores: ArrayLike, targets: ArrayLike) -> float:
    """The share of images whose best label is absent; images without a present one are left out.

    Of equal scores the label with the lower index is the best.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    scores, targets = _checked(scores, targets)
    right = _right_of_best(scores, targets, 1)
    has_any = (targets == PRESENT).any(axis=1)
    return mean_or_nan(1.0 - right[has_any])


def precision_at_k(scores: ArrayLike, targets: ArrayLike, k: int) -> float:
    """The share of present ones among an image's `k` best labels.

    Of equal scores the labels with the lower index come first; an image with fewer than `k` known
    labels is measured on those.

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
    return mean_or_nan((_right_of_best(scores, targets, k) / np.maximum(taken, 1))[known > 0])


def recall_at_k(scores: ArrayLike, targets: ArrayLike, k: int) -> float:
    """The share of an image's present labels that are among its `k` best.

    Of equal scores the labels with the lower index come first; images without a present label are
    left out.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.
        k: At least 1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    scores, targets = _checked(scores, targets)
    positives = (targets == PRESENT).sum(axis=1)
    share = _right_of_best(scores, targets, k) / np.maximum(positives, 1)
    return mean_or_nan(share[positives > 0])


def hamming_loss(decided: ArrayLike, targets: ArrayLike) -> float:
    """The share of known pairs of image and label that are decided wrongly.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.
    """
    said, targets = check_decided(decided, targets)
    known = int((targets != UNKNOWN).sum())
    return int(_wrong(said, targets).sum()) / known if known else float("nan")


def subset_accuracy(decided: ArrayLike, targets: ArrayLike) -> float:
    """The share of images all of whose known labels are decided rightly.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.
    """
    said, targets = check_decided(decided, targets)
    right = _wrong(said, targets).sum(axis=1) == 0
    return mean_or_nan(right[(targets != UNKNOWN).any(axis=1)])


@final
class _Ranked:
    """Images' labels from the best to the worst, [n, C] each, those unknown at the end.

    Attributes:
        present: Whether the image has the label.
        reached: How many known labels score at least as high.
        right: How many of these are present.
        positives: [n], present labels.
        absent: [n], absent labels.
    """

    def __init__(self, scores: Scores, targets: Targets) -> None:
        masked = np.where(targets == UNKNOWN, -np.inf, scores)
        order = np.argsort(-masked, axis=1)
        falling = np.take_along_axis(masked, order, axis=1)
        self.present = np.take_along_axis(targets, order, axis=1) == PRESENT
        last = _last_of_equals(falling)
        self.reached = last + 1
        self.right = np.take_along_axis(np.cumsum(self.present, axis=1), last, axis=1)
        self.positives = self.present.sum(axis=1)
        self.absent = (targets == ABSENT).sum(axis=1)


def _ranking_losses(ranked: _Ranked) -> NDArray[np.float64]:
    wrong = ((ranked.reached - ranked.right) * ranked.present).sum(axis=1)
    return wrong / np.maximum(ranked.positives * ranked.absent, 1)


def _coverages(ranked: _Ranked) -> NDArray[np.float64]:
    return (ranked.reached * ranked.present).max(axis=1, initial=0).astype(np.float64)


def _label_precisions(ranked: _Ranked) -> NDArray[np.float64]:
    total = (ranked.right / ranked.reached * ranked.present).sum(axis=1)
    trivial = (ranked.positives == 0) | (ranked.absent == 0)
    return np.where(trivial, 1.0, total / np.maximum(ranked.positives, 1))


def _mean_of(
    metric: Callable[[_Ranked], NDArray[np.float64]], scores: ArrayLike, targets: ArrayLike
) -> float:
    """The mean over images of what `metric` gives for each."""
    scores, targets = _checked(scores, targets)
    total, count = 0.0, 0
    for rows in _in_parts(*scores.shape):
        known = (targets[rows] != UNKNOWN).any(axis=1)
        ranked = _Ranked(scores[rows][known], targets[rows][known])
        total += float(metric(ranked).sum())
        count += int(known.sum())
    return total / count if count else float("nan")


def _in_parts(images: int, labels: int) -> Iterator[slice]:
    step = max(1, _CELLS_AT_ONCE // max(1, labels))
    return (slice(start, start + step) for start in range(0, images, step))


def _last_of_equals(falling: NDArray[np.floating]) -> NDArray[np.intp]:
    """For each place of falling rows [n, C] the place of the last equal value in its row."""
    places = np.arange(falling.shape[1])
    ends = np.ones(falling.shape, dtype=np.bool_)
    ends[:, :-1] = falling[:, :-1] != falling[:, 1:]
    ends_at = np.where(ends, places, falling.shape[1])
    return np.minimum.accumulate(ends_at[:, ::-1], axis=1)[:, ::-1]


def _right_of_best(scores: Scores, targets: Targets, k: int) -> NDArray[np.int64]:
    """How many of the `k` best known labels of each image are present, [N]."""
    assert k >= 1, k
    left = np.where(targets == UNKNOWN, -np.inf, scores)
    rows, right = np.arange(len(left)), np.zeros(len(left), dtype=np.int64)
    for _ in range(min(k, left.shape[1])):
        best = left.argmax(axis=1)
        right += (targets[rows, best] == PRESENT) & (left[rows, best] > -np.inf)
        left[rows, best] = -np.inf
    return right


def _wrong(decided: NDArray[np.bool_], targets: Targets) -> NDArray[np.bool_]:
    return (decided != (targets == PRESENT)) & (targets != UNKNOWN)


def _checked(scores: ArrayLike, targets: ArrayLike) -> tuple[Scores, Targets]:
    scores, targets = check_scores(scores), check_targets(targets)
    check_same_shape("scores", scores.shape, targets)
    return scores, targets
