"""Precision, recall and F1 of decisions by a rule, per label and for all pairs pooled.

Projects count alike but compute different values from the counts. They differ where nothing is
predicted, where nothing is present, and in whether they average before or after they compute F1.
`F1Rule` holds these choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import DataError
from manylabel.labels import PRESENT, UNKNOWN
from manylabel.metrics.ranking import Targets, check_same_shape, check_targets, mean_of_defined
from manylabel.metrics.ratios import mean_or_nan, ratio

Decided = NDArray[np.bool_]

_VALUES: Final = {"zero": 0.0, "one": 1.0, "undefined": np.nan, "skipped": np.nan}


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class F1Rule:
    """The choices in which definitions of precision, recall and F1 differ.

    Args:
        unknown: Whether unknown targets are left out or count as absent.
        never_predicted: The precision of a label that is never predicted.
        without_positive: The recall of a label without a positive. "skipped": the label is left out
            of the means of precision, recall and F1. "undefined": CR and CF1 have no value.
        cf1: The harmonic mean of CP and CR, or the mean of the labels' F1.
        pooled: OP if nothing is predicted, and OR if nothing is present. "as a label": the same as
            for a label. "undefined": no value. "once a label": the same as for a label, but OP
            counts each label as predicted at least once.
        both_zero: The harmonic mean of two zeros in CF1 and OF1. A label's own F1 is then 0.
    """

    unknown: Literal["left out", "absent"]
    never_predicted: Literal["zero", "one"]
    without_positive: Literal["skipped", "zero", "one", "undefined"]
    cf1: Literal["harmonic mean", "mean of F1"]
    pooled: Literal["as a label", "undefined", "once a label"]
    both_zero: Literal["zero", "undefined"]


@final
@dataclass(frozen=True, eq=False)
class Decisions:
    """Precision, recall and F1 of decisions, as fractions 0..1, and the counts behind them.

    Args:
        CP: Mean precision over labels.
        CR: Mean recall over labels.
        CF1: F1 over labels; the rule says which of the two definitions.
        OP: Precision of all pairs of image and label pooled.
        OR: Recall of all pairs of image and label pooled.
        OF1: Harmonic mean of OP and OR.
        precision: [C], precision of each label.
        recall: [C], recall of each label.
        f1: [C], F1 of each label.
        right: [C], images for which the label is predicted and present (true positives).
        predicted: [C], images for which the label is predicted.
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
        """The six means by name."""
        return {name: getattr(self, name) for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")}


def decisions_by(rule: F1Rule, decided: ArrayLike, targets: ArrayLike) -> Decisions:
    """Precision, recall and F1 by a rule.

    Args:
        rule: The definitions.
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Returns:
        The metrics; NaN where the rule defines no value.

    Raises:
        DataError: Decisions or targets cannot be used.
    """
    decisions, targets = check_decided(decided, targets)
    if rule.unknown == "left out":
        decisions = decisions & (targets != UNKNOWN)
    present = targets == PRESENT
    right, predicted, positives = (
        table.sum(axis=0, dtype=np.int64) for table in (decisions & present, decisions, present)
    )
    precision = ratio(right, predicted, _VALUES[rule.never_predicted])
    recall = ratio(right, positives, _VALUES[rule.without_positive])
    if rule.without_positive == "skipped":
        precision = np.where(positives == 0, np.nan, precision)
    f1 = _harmonic_mean(precision, recall, both_zero=0.0)
    both_zero = _VALUES[rule.both_zero]
    mean = mean_of_defined if rule.without_positive == "skipped" else mean_or_nan
    cp, cr = mean(precision), mean(recall)
    op, o_r = _pooled(rule, right, predicted, positives)
    by_labels = float(_harmonic_mean(cp, cr, both_zero))
    return Decisions(
        CP=cp,
        CR=cr,
        CF1=mean(f1) if rule.cf1 == "mean of F1" else by_labels,
        OP=op,
        OR=o_r,
        OF1=float(_harmonic_mean(op, o_r, both_zero)),
        precision=precision,
        recall=recall,
        f1=f1,
        right=right,
        predicted=predicted,
        positives=positives,
    )


def no_decisions(targets: ArrayLike) -> Decisions:
    """The metrics of a project that makes no decisions: NaN, with counts of 0.

    Raises:
        DataError: The targets cannot be used.
    """
    positives = (check_targets(targets) == PRESENT).sum(axis=0, dtype=np.int64)
    nan, nans, zeros = float("nan"), np.full(len(positives), np.nan), np.zeros_like(positives)
    return Decisions(nan, nan, nan, nan, nan, nan, nans, nans, nans, zeros, zeros, positives)


def check_decided(decided: ArrayLike, targets: ArrayLike) -> tuple[Decided, Targets]:
    """Decisions as boolean [N, C] and targets as int8 [N, C].

    Raises:
        DataError: The decisions are not boolean, the targets are not valid, or the shapes differ.
    """
    decisions, targets = np.asarray(decided), check_targets(targets)
    if decisions.dtype != np.bool_:
        raise DataError(
            f"The decisions are {decisions.dtype}, not boolean.",
            where="decisions",
            fix="Decide first, for instance with decide_at_threshold(scores, 0.5).",
        )
    check_same_shape("decisions", decisions.shape, targets)
    return decisions, targets


def _pooled(
    rule: F1Rule,
    right: NDArray[np.int64],
    predicted: NDArray[np.int64],
    positives: NDArray[np.int64],
) -> tuple[float, float]:
    """OP and OR."""
    if rule.pooled == "once a label":
        predicted = np.maximum(predicted, 1)
    undefined = rule.pooled == "undefined"
    never_predicted = np.nan if undefined else _VALUES[rule.never_predicted]
    without_positive = np.nan if undefined else _VALUES[rule.without_positive]
    total = right.sum()
    return (
        float(ratio(total, predicted.sum(), never_predicted)),
        float(ratio(total, positives.sum(), without_positive)),
    )


def _harmonic_mean(a: Any, b: Any, both_zero: float) -> NDArray[np.float64]:
    total = np.asarray(a) + np.asarray(b)
    return np.where(total == 0, both_zero, 2 * a * b / np.where(total == 0, 1, total))
