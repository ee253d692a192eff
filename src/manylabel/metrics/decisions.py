"""Rules that decide yes or no from scores, and the two most common ways to measure decisions.

In CP, CR and CF1, C stands for the mean over labels. In OP, OR and OF1, O stands for all pairs of
image and label pooled. Where papers differ, there are two functions. `f1` has the rules of all
projects, and the profile of a report names the one that it used (see `profiles`).
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
from manylabel.text import counted

_ROWS_AT_ONCE: Final = 1024
"""So many rows of scores are copied at once."""

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
    """How a project decides that an image has a label.

    Args:
        threshold: The threshold of the project, 0..1; used if no others are given.
        reached: How a score must compare with its threshold.
        top3: The labels that top-3 metrics use. "exactly three": the three best of each image,
            whatever their scores. "three known": the three best of those with a known target. "at
            most three": those of the three best that reach their thresholds. "third best": those
            that score at least as high as the third best and reach their thresholds. "none": the
            project has no top-3 metrics.
    """

    threshold: float
    reached: Literal[">=", ">"]
    top3: Literal["exactly three", "three known", "at most three", "third best", "none"]


def decide_by(rule: DecideRule, scores: ArrayLike, thresholds: ArrayLike | None = None) -> Decided:
    """The decisions of a project, boolean [N, C].

    Args:
        rule: How the project decides.
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
    """The decisions that a project's top-3 metrics use, boolean [N, C]; None if it has none.

    Args:
        rule: How the project decides.
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
        # -1 is below every score, so an unknown label never replaces a known one.
        unknown = np.asarray(targets) == UNKNOWN
        return decide_top_k(np.where(unknown, -1.0, scores) if unknown.any() else scores, 3)
    best = decide_top_k(scores, 3) if rule.top3 == "at most three" else decide_third_best(scores)
    return best & decide_by(rule, scores, thresholds)


def precision_recall_f1(decided: ArrayLike, targets: ArrayLike) -> Decisions:
    """Precision, recall and F1 as in most papers; CF1 is the harmonic mean of CP and CR.

    A label that is never predicted has precision 0. A label without a positive has no precision,
    recall or F1 (NaN) and is left out of CP and CR; its false positives count in OP. Unknown
    targets are ignored.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Returns:
        The metrics; CP, CR and OR are NaN if there is no positive at all.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        ML-GCN (arXiv:1904.03582), with two differences. Its code has no rule for a label without a
        positive. And in OP it counts a label that is never predicted as predicted once; that is
        left out here.

    Example:
        >>> both = precision_recall_f1([[True, True]], [[1, 1]])
        >>> both.OP, both.CF1
        (1.0, 1.0)
    """
    return decisions_by(MANYLABEL_F1, decided, targets)


def precision_recall_f1_srn(decided: ArrayLike, targets: ArrayLike) -> Decisions:
    """Precision, recall and F1 of SRN's published evaluation; CF1 is the mean of the labels' F1.

    A label that is never predicted has precision 1. A label without a positive has recall 1.
    Unknown targets count as absent.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        The evaluation code of SRN (arXiv:1702.05891). It adds the machine epsilon of a double to
        every count. So 0 / 0 becomes 1, and the sixteenth digit of all other values changes.

    Example:
        >>> never = precision_recall_f1_srn([[False]], [[1]])
        >>> never.CP, round(never.CR, 6)
        (1.0, 0.0)
    """
    return decisions_by(SRN_F1, decided, targets)


def decide_at_threshold(scores: ArrayLike, thresholds: ArrayLike) -> Decided:
    """Where the score is at least the label's threshold (`>=`), boolean [N, C].

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
    """Where the score is above the label's threshold (`>`), as SRN decides; boolean [N, C].

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
    """The `k` best labels of each image, whatever their scores; boolean [N, C].

    If scores are equal, the label with the lower index is taken. If there are fewer than `k`
    labels, all are taken.

    Raises:
        DataError: The scores cannot be used.
    """
    assert k >= 1, k
    scores = check_scores(scores)
    decided = np.zeros(scores.shape, dtype=np.bool_)
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        remaining = scores[start : start + _ROWS_AT_ONCE].copy()
        rows = np.arange(len(remaining))
        # For small k, sorting rows takes 10 times as long.
        for _ in range(min(k, remaining.shape[1])):
            best = remaining.argmax(axis=1)
            decided[start + rows, best] = True
            remaining[rows, best] = -np.inf
    return decided


def decide_third_best(scores: ArrayLike) -> Decided:
    """The labels of each image that score at least as high as its third best; boolean [N, C].

    They are more than three if scores are equal, and all if there are at most three labels.

    Raises:
        DataError: The scores cannot be used.
    """
    scores = check_scores(scores)
    third = max(scores.shape[1] - 3, 0)
    return scores >= np.partition(scores, third, axis=1)[:, [third]]


def decide_top_k_above(scores: ArrayLike, k: int, thresholds: ArrayLike) -> Decided:
    """Those of the `k` best labels of each image that are above their threshold; boolean [N, C].

    Raises:
        DataError: The scores cannot be used.
        ConfigError: The thresholds cannot be used.

    Source:
        SRN's results on MS-COCO, where top-3 precision is higher than the precision of all labels.
    """
    return decide_top_k(scores, k) & decide_above_threshold(scores, thresholds)


def _check_thresholds(thresholds: ArrayLike, scores: Scores) -> Scores:
    """Thresholds, one or [C], in the type of the scores.

    A threshold may be a copy of a float32 score, and that score must reach it. If the score were
    converted to double precision and compared with 0.7, it would be just below.
    """
    array = np.asarray(thresholds, dtype=scores.dtype)
    if array.shape not in {(), (scores.shape[1],)}:
        raise ConfigError(
            f"Thresholds of shape {list(array.shape)} do not fit "
            f"{counted(scores.shape[1], 'label')}.",
            where="thresholds",
            fix="Give one number, or one for each label.",
        )
    if not ((array >= 0) & (array <= 1)).all():  # also refuses NaN
        raise ConfigError(
            f"Thresholds must be in 0..1, but they are {array.min()} to {array.max()}.",
            where="thresholds",
            fix="Give thresholds for scores, not for logits.",
        )
    return array
