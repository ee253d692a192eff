"""Precision, recall and F1 of yes-or-no decisions, and the ways to decide from scores.

C stands for the mean over labels, O for all pairs of image and label pooled. Where papers differ
there are two functions; which one a report used is in its profile (see `profiles`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import ConfigError, DataError
from manylabel.labels import PRESENT, UNKNOWN
from manylabel.metrics.ranking import (
    Scores,
    check_same_shape,
    check_scores,
    check_targets,
    mean_of_defined,
)

Decided = NDArray[np.bool_]

_EPS = float(np.finfo(np.float64).eps)


@final
@dataclass(frozen=True, eq=False)
class Decisions:
    """How good the decisions are, in fractions 0..1, and the counts behind them.

    Args:
        CP: Precision, mean over labels.
        CR: Recall, mean over labels.
        CF1: F1 over labels; the function that made it says which of the two.
        OP: Precision, all pairs pooled.
        OR: Recall, all pairs pooled.
        OF1: Harmonic mean of OP and OR.
        precision: [C].
        recall: [C].
        f1: [C].
        right: [C], images decided for the label that have it.
        predicted: [C], images decided for the label.
        positives: [C], images that have the label.
    """

    CP: float
    CR: float
    CF1: float
    OP: float
    OR: float
    OF1: float
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    right: NDArray[np.int64]
    predicted: NDArray[np.int64]
    positives: NDArray[np.int64]

    def as_dict(self) -> dict[str, float]:
        """The six figures by name."""
        return {name: getattr(self, name) for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")}


def precision_recall_f1(decided: ArrayLike, targets: ArrayLike) -> Decisions:
    """Precision, recall and F1 as most papers give them; CF1 is the harmonic mean of CP and CR.

    A label for which nothing is decided has precision 0. A label without a positive has no
    precision, recall or F1 (NaN) and is left out of CP and CR; wrong decisions for it count in OP.
    Unknown targets count nowhere.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Returns:
        The figures; CP, CR and OR are NaN where there is no positive at all.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        ML-GCN (arXiv:1904.03582). Its code has no rule for a label without a positive.

    Example:
        >>> both = precision_recall_f1([[True, True]], [[1, 1]])
        >>> both.OP, both.CF1
        (1.0, 1.0)
    """
    decided, targets = _checked(decided, targets)
    right, predicted, positives = _counts(decided & (targets != UNKNOWN), targets == PRESENT)
    empty = positives == 0
    precision = np.where(empty, np.nan, right / np.maximum(predicted, 1))
    recall = np.where(empty, np.nan, right / np.maximum(positives, 1))
    f1 = np.where(empty, np.nan, 2 * right / np.maximum(predicted + positives, 1))
    cp, cr = mean_of_defined(precision), mean_of_defined(recall)
    op = int(right.sum()) / max(int(predicted.sum()), 1)
    o_r = int(right.sum()) / int(positives.sum()) if positives.any() else float("nan")
    return Decisions(
        CP=cp,
        CR=cr,
        CF1=_harmonic_mean(cp, cr),
        OP=op,
        OR=o_r,
        OF1=_harmonic_mean(op, o_r),
        precision=precision,
        recall=recall,
        f1=f1,
        right=right,
        predicted=predicted,
        positives=positives,
    )


def precision_recall_f1_srn(decided: ArrayLike, targets: ArrayLike) -> Decisions:
    """Precision, recall and F1 as SRN's published evaluation; CF1 is the mean of the labels' F1.

    The smallest step of a double, eps, is added to every count. So a label for which nothing is
    decided has precision 1, and one without a positive has recall 1. Unknown targets count as
    absent.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        The evaluation code of SRN (arXiv:1702.05891). Its recall has one more eps added outside
        the fraction, which is left out here: it changes the sixteenth digit.

    Example:
        >>> never = precision_recall_f1_srn([[False]], [[1]])
        >>> never.CP, round(never.CR, 6)
        (1.0, 0.0)
    """
    decided, targets = _checked(decided, targets)
    right, predicted, positives = _counts(decided, targets == PRESENT)
    precision, recall, f1 = _with_eps(right, predicted, positives)
    op, o_r, of1 = _with_eps(right.sum(), predicted.sum(), positives.sum())
    return Decisions(
        CP=mean_of_defined(precision),
        CR=mean_of_defined(recall),
        CF1=mean_of_defined(f1),
        OP=float(op),
        OR=float(o_r),
        OF1=float(of1),
        precision=precision,
        recall=recall,
        f1=f1,
        right=right,
        predicted=predicted,
        positives=positives,
    )


def decide_at_threshold(scores: ArrayLike, thresholds: ArrayLike) -> Decided:
    """Boolean [N, C]: the score reaches the label's threshold (`>=`).

    Args:
        scores: [N, C], 0..1.
        thresholds: One for all labels, or [C]; compared in the precision of the scores.

    Raises:
        DataError: The scores cannot be used.
        ConfigError: The thresholds cannot be used.
    """
    scores = check_scores(scores)
    return scores >= _check_thresholds(thresholds, scores)


def decide_above_threshold(scores: ArrayLike, thresholds: ArrayLike) -> Decided:
    """Boolean [N, C]: the score is over the label's threshold (`>`), as SRN decides.

    Args:
        scores: [N, C], 0..1.
        thresholds: One for all labels, or [C]; compared in the precision of the scores.

    Raises:
        DataError: The scores cannot be used.
        ConfigError: The thresholds cannot be used.
    """
    scores = check_scores(scores)
    return scores > _check_thresholds(thresholds, scores)


def decide_top_k(scores: ArrayLike, k: int) -> Decided:
    """Boolean [N, C]: exactly the `k` best labels of each image, whatever their scores.

    Of labels with equal scores the one with the lower index is taken. Where there are fewer than
    `k` labels, all are.

    Raises:
        DataError: The scores cannot be used.
    """
    assert k >= 1, k
    scores = check_scores(scores)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    decided = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(decided, best, True, axis=1)
    return decided


def decide_top_k_above(scores: ArrayLike, k: int, thresholds: ArrayLike) -> Decided:
    """Boolean [N, C]: of the `k` best labels of each image those over their threshold (`>`).

    Raises:
        DataError: The scores cannot be used.
        ConfigError: The thresholds cannot be used.

    Source:
        SRN's figures on MS-COCO, where top-3 precision is higher than that of all labels.
    """
    return decide_top_k(scores, k) & decide_above_threshold(scores, thresholds)


def _checked(decided: ArrayLike, targets: ArrayLike) -> tuple[Decided, NDArray[np.int8]]:
    decided, targets = np.asarray(decided), check_targets(targets)
    if decided.dtype != np.bool_:
        raise DataError(
            f"The decisions are {decided.dtype}, not boolean.",
            where="decisions",
            fix="Decide first, for instance with decide_at_threshold(scores, 0.5).",
        )
    check_same_shape("decisions", decided.shape, targets)
    return decided, targets


def _counts(decided: Decided, present: Decided) -> tuple[NDArray[np.int64], ...]:
    """Right, predicted and positives, each [C]."""
    return tuple(
        table.sum(axis=0, dtype=np.int64) for table in (decided & present, decided, present)
    )


def _with_eps(right: Any, predicted: Any, positives: Any) -> tuple[Any, Any, Any]:
    precision = (right + _EPS) / (predicted + _EPS)
    recall = (right + _EPS) / (positives + _EPS)
    return precision, recall, 2 * precision * recall / (precision + recall)


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def _check_thresholds(thresholds: ArrayLike, scores: Scores) -> Scores:
    """Thresholds, one or [C], in the type of the scores.

    A float32 score equal to a threshold that was read from it must reach it; widening the score
    to compare it with 0.7 in double precision would put it just under.
    """
    array = np.asarray(thresholds, dtype=scores.dtype)
    if array.shape not in {(), (scores.shape[1],)}:
        raise ConfigError(
            f"Thresholds of shape {list(array.shape)} do not fit {scores.shape[1]} labels.",
            where="thresholds",
            fix="Give one number, or one for each label.",
        )
    if not ((array >= 0) & (array <= 1)).all():  # also refuses NaN
        raise ConfigError(
            f"Thresholds must lie in 0..1; given are {array.min()} to {array.max()}.",
            where="thresholds",
            fix="Give thresholds for scores, not for logits.",
        )
    return array
