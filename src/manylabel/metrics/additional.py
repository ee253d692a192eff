"""The metrics that no profile has: other averages of AP, ranking metrics and metrics per image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from manylabel.labels import PRESENT
from manylabel.metrics.attributes import instance_measures, mean_accuracy
from manylabel.metrics.decisions import decide_at_threshold
from manylabel.metrics.per_image import (
    coverage_error,
    hamming_loss,
    label_ranking_average_precision,
    one_error,
    precision_at_k,
    ranking_loss,
    recall_at_k,
    subset_accuracy,
)
from manylabel.metrics.ranking import (
    average_precision,
    check_same_shape,
    check_scores,
    check_targets,
    mean_of_defined,
)


def average_precision_micro(scores: ArrayLike, targets: ArrayLike) -> float:
    """AP of all known pairs of image and label in one ranking, not interpolated, ties grouped.

    It is meaningful only if scores of different labels can be compared. It is NaN without a
    positive. Equal to scikit-learn's `average_precision_score(average="micro")`.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    scores, targets = check_scores(scores), check_targets(targets)
    check_same_shape("scores", scores.shape, targets)
    return float(average_precision(scores.reshape(-1, 1), targets.reshape(-1, 1))[0])


def average_precision_weighted(scores: ArrayLike, targets: ArrayLike) -> float:
    """The mean of the labels' AP, weighted by their numbers of positives; NaN without a positive.

    Equal to scikit-learn's `average_precision_score(average="weighted")`.

    Args:
        scores: [N, C], finite.
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Scores or targets cannot be used.
    """
    ap = average_precision(scores, targets)
    positives = (check_targets(targets) == PRESENT).sum(axis=0)
    has_any = positives > 0
    if not has_any.any():
        return float("nan")
    return float(np.average(ap[has_any], weights=positives[has_any]))


def measure_additional(
    scores: ArrayLike, targets: ArrayLike, thresholds: ArrayLike = 0.5
) -> dict[str, float]:
    """All metrics that no profile has, by name; unknown targets are ignored.

    All are fractions 0..1, except `coverage_error`, which is a number of labels. A metric is NaN
    where it is not defined. Lower is better for `ranking_loss`, `coverage_error`, `one_error` and
    `hamming_loss`.

    Args:
        scores: [N, C], after the sigmoid, 0..1.
        targets: [N, C] of 1, 0 and -1.
        thresholds: One for all labels, or [C]; a label is predicted where score >= threshold.

    Raises:
        DataError: Scores or targets cannot be used.
        ConfigError: The thresholds cannot be used.

    Example:
        >>> found = measure_additional([[0.9, 0.6], [0.2, 0.7]], [[1, 0], [0, 1]])
        >>> found["mA"], found["subset_accuracy"], found["LRAP"]
        (0.75, 0.5, 1.0)
    """
    decided = decide_at_threshold(scores, thresholds)
    instances = instance_measures(decided, targets)
    return {
        "mAP_macro": mean_of_defined(average_precision(scores, targets)),
        "mAP_weighted": average_precision_weighted(scores, targets),
        "AP_micro": average_precision_micro(scores, targets),
        "LRAP": label_ranking_average_precision(scores, targets),
        "ranking_loss": ranking_loss(scores, targets),
        "coverage_error": coverage_error(scores, targets),
        "one_error": one_error(scores, targets),
        **{f"precision_at_{k}": precision_at_k(scores, targets, k) for k in (1, 3, 5)},
        **{f"recall_at_{k}": recall_at_k(scores, targets, k) for k in (1, 3, 5)},
        "hamming_loss": hamming_loss(decided, targets),
        "subset_accuracy": subset_accuracy(decided, targets),
        "mA": mean_accuracy(decided, targets),
        "instance_accuracy": instances.accuracy,
        "instance_precision": instances.precision,
        "instance_recall": instances.recall,
        "instance_F1": instances.F1,
    }
