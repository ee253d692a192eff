"""Ways to decide yes or no from scores, and the two commonest ways to measure what was decided.

C stands for the mean over labels, O for all pairs of image and label pooled. Where papers differ
there are two functions; `f1` has the rules of all projects, and which one a report used is in its
profile (see `profiles`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
from numpy.typing import ArrayLike

from manylabel.errors import ConfigError
from manylabel.labels import UNKNOWN
from manylabel.metrics.f1 import Decided, Decisions, F1Rule, decisions_by
from manylabel.metrics.ranking import Scores, Targets, check_scores

MANYLABEL_F1: Final = F1Rule(
    unknown="left out",
    never_predicted="zero",
    without_positive="skipped",
    cf1="harmonic mean",
    pooled="as a label",
    both_zero="zero",
)
SRN_F1: Final = F1Rule(
    unknown="absent",
    never_predicted="one",
    without_positive="one",
    cf1="mean of F1",
    pooled="as a label",
    both_zero="zero",
)


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class DecideRule:
    """When projects say yes.

    Args:
        threshold: The project's own, 0..1, which holds where none are given.
        reached: What a score has to be to its threshold.
        top3: Which of an image's best labels top-3 figures are of: three, whatever their scores;
            three of those whose truth is known; those of three that reach their thresholds; those
            that score at least as high as the third and reach their thresholds; or that there are
            no such figures.
    """

    threshold: float
    reached: Literal[">=", ">"]
    top3: Literal["exactly three", "three known", "at most three", "third best", "none"]


def decide_by(rule: DecideRule, scores: ArrayLike, thresholds: ArrayLike | None = None) -> Decided:
    """Boolean [N, C]: what a project decides.

    Args:
        rule: How it decides.
        scores: [N, C], 0..1.
        thresholds: One for all labels, or [C]; the rule's own if not given.

    Raises:
        DataError: The scores cannot be used.
        ConfigError: The thresholds cannot be used.
    """
    decide = decide_at_threshold if rule.reached == ">=" else decide_above_threshold
    return decide(scores, rule.threshold if thresholds is None else thresholds)


def decide_top3_by(
    rule: DecideRule, scores: ArrayLike, targets: Targets, thresholds: ArrayLike | None = None
) -> Decided | None:
    """Boolean [N, C]: what a project's top-3 figures are of; None where it has none.

    Args:
        rule: How it decides.
        scores: [N, C], 0..1.
        targets: [N, C] of 1, 0 and -1.
        thresholds: One for all labels, or [C]; the rule's own if not given.

    Raises:
        DataError: The scores cannot be used.
        ConfigError: The thresholds cannot be used.
    """
    if rule.top3 == "none":
        return None
    if rule.top3 == "exactly three":
        return decide_top_k(scores, 3)
    if rule.top3 == "three known":
        # -1 lies below every score: an unknown label takes no place of a known one.
        return decide_top_k(np.where(targets == UNKNOWN, -1.0, scores), 3)
    best = decide_top_k(scores, 3) if rule.top3 == "at most three" else decide_third_best(scores)
    return best & decide_by(rule, scores, thresholds)


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
        ML-GCN (arXiv:1904.03582). Its code has no rule for a label without a positive, and in OP
        it takes a label for which nothing is decided as decided once; both are left out here.

    Example:
        >>> both = precision_recall_f1([[True, True]], [[1, 1]])
        >>> both.OP, both.CF1
        (1.0, 1.0)
    """
    return decisions_by(MANYLABEL_F1, decided, targets)


def precision_recall_f1_srn(decided: ArrayLike, targets: ArrayLike) -> Decisions:
    """Precision, recall and F1 as SRN's published evaluation; CF1 is the mean of the labels' F1.

    A label for which nothing is decided has precision 1, and one without a positive has recall 1.
    Unknown targets count as absent.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        The evaluation code of SRN (arXiv:1702.05891). It adds the smallest step of a double to
        every count, which makes 0 / 0 a 1 and changes the sixteenth digit of all others.

    Example:
        >>> never = precision_recall_f1_srn([[False]], [[1]])
        >>> never.CP, round(never.CR, 6)
        (1.0, 0.0)
    """
    return decisions_by(SRN_F1, decided, targets)


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
    left = check_scores(scores).copy()
    decided = np.zeros(left.shape, dtype=np.bool_)
    rows = np.arange(len(left))
    for _ in range(min(k, left.shape[1])):  # a sort of each row takes ten times as long for small k
        best = left.argmax(axis=1)
        decided[rows, best] = True
        left[rows, best] = -np.inf
    return decided


def decide_third_best(scores: ArrayLike) -> Decided:
    """Boolean [N, C]: the labels of each image that score at least as high as its third best.

    More than three where scores are equal; all where there are no more than three labels.

    Raises:
        DataError: The scores cannot be used.
    """
    scores = check_scores(scores)
    third = max(scores.shape[1] - 3, 0)
    return scores >= np.partition(scores, third, axis=1)[:, [third]]


def decide_top_k_above(scores: ArrayLike, k: int, thresholds: ArrayLike) -> Decided:
    """Boolean [N, C]: of the `k` best labels of each image those over their threshold (`>`).

    Raises:
        DataError: The scores cannot be used.
        ConfigError: The thresholds cannot be used.

    Source:
        SRN's figures on MS-COCO, where top-3 precision is higher than that of all labels.
    """
    return decide_top_k(scores, k) & decide_above_threshold(scores, thresholds)


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
