"""Explains why two profiles give different metrics for the same predictions.

A profile makes a dozen choices, and most of them change nothing for most predictions. A rule for
ties has no effect if no scores are equal, and a rule for unknown targets has none if all are known.
`explain_gap` lists all differences of two profiles. `reason` lists only those that have an effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.decide import Decision
from manylabel.labels import LabelSpace
from manylabel.metrics.profiles import Measures, compare_profiles, explain_gap

SAME: Final = "the same values"

_F1: Final = ("CP", "CR", "CF1", "OP", "OR", "OF1")
_AFFECTED: Final = {
    "formula": ("mAP",),
    "ties": ("mAP",),
    "empty in mAP": ("mAP",),
    "unknown in AP": ("mAP",),
    "decided": _F1,
    "unknown in F1": _F1,
    "CF1": ("CF1",),
    "never predicted": ("CP", "CF1"),
    "without a positive": ("CP", "CR", "CF1"),
    "pooled": ("OP", "OR", "OF1"),
    "F1 of zeros": ("CF1", "OF1"),
    "top-3": ("top3",),
}
"""The metrics that each aspect of a profile can change."""

_EQUAL: Final = 1e-9
"""Smaller differences between values are rounding errors."""


@final
@dataclass(frozen=True, eq=False)
class ProfileResult:
    """The metrics of the predictions under one profile.

    Args:
        measures: The metrics.
        reason: Why they differ from those of the reference, in a few words; "" for the reference.
    """

    measures: Measures
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """The metrics by name, with `top3`, `remarks` and `reason`; NaN where not defined."""
        return {
            "mAP": self.measures.mAP,
            **self.measures.all.as_dict(),
            "top3": self.measures.top3.as_dict(),
            "remarks": list(self.measures.remarks),
            "reason": self.reason,
        }


def side_by_side(
    scores: NDArray[Any],
    targets: NDArray[np.int8],
    labels: LabelSpace,
    *,
    reference: str = "manylabel",
    threshold: float | None = None,
    decision: Decision | None = None,
) -> dict[str, ProfileResult]:
    """The metrics under every profile, by its name; the reference is the first.

    Args:
        scores: [N, C], 0..1, in the order of the data set.
        targets: [N, C] of 1, 0 and -1.
        labels: The C labels.
        reference: The profile with which the others are compared.
        threshold: The threshold for all labels and profiles, 0..1; each profile's own if not given.
        decision: The model's decision, which is used under all profiles instead of a threshold.
    """
    if decision is None:
        found = compare_profiles(scores, targets, labels, thresholds=threshold)
    else:
        limits = {"at_least": decision.at_least, "at_most": decision.at_most}
        found = compare_profiles(scores, targets, labels, thresholds=decision.thresholds, **limits)
    first = next(each for each in found if each.profile.name == reference)
    ties = has_ties(scores)
    others = {
        each.profile.name: ProfileResult(each, reason(first, each, ties=ties))
        for each in found
        if each is not first
    }
    return {reference: ProfileResult(first, ""), **others}


def reason(reference: Measures, other: Measures, *, ties: bool) -> str:
    """The definitions of `other` that changed these metrics, in a few words.

    Args:
        reference: The metrics with which the others are compared.
        other: The metrics of the same predictions under another profile.
        ties: Whether some label has equal scores.
    """
    changed = _changed_metrics(reference, other)
    if not changed:
        return SAME
    known, possible = reference.profile.aspects, _possible_reasons(reference, other, ties=ties)
    words = [
        (other.decided or word) if name == "decided" else word
        for name, word in other.profile.aspects.items()
        if word != known[name]
        and possible.get(name, True)
        and not changed.isdisjoint(_AFFECTED[name])
    ]
    reasons = "; ".join(dict.fromkeys(words))
    return reasons or explain_gap(reference.profile, other.profile)


def has_ties(scores: NDArray[Any]) -> bool:
    """Whether two images have the same score for a label."""
    rising = np.sort(scores, axis=0)
    return bool((rising[1:] == rising[:-1]).any())


def _possible_reasons(a: Measures, b: Measures, *, ties: bool) -> dict[str, bool]:
    """Whether an aspect can have an effect on these predictions; aspects not listed can."""
    both = (a, b)
    empty = bool((a.all.positives == 0).any())
    never_predicted = any((each.all.predicted == 0).any() for each in both)
    nothing = any(not each.all.predicted.any() or not each.all.positives.any() for each in both)
    by_label = any(
        each.profile.f1 is not None and each.profile.f1.pooled == "once a label" for each in both
    )
    return {
        "ties": ties,
        "empty in mAP": empty,
        "unknown in AP": a.unknown > 0,
        "unknown in F1": a.unknown > 0,
        "decided": not np.array_equal(a.all.predicted, b.all.predicted),
        "never predicted": never_predicted,
        "without a positive": empty,
        "pooled": never_predicted if by_label else nothing,
        "F1 of zeros": any(not each.all.right.any() for each in both),
    }


def _changed_metrics(a: Measures, b: Measures) -> set[str]:
    """The names of the metrics that differ, by threshold or top-3; with "top3" if those differ."""
    changed = _differing(a.all.as_dict() | {"mAP": a.mAP}, b.all.as_dict() | {"mAP": b.mAP})
    changed_top3 = _differing(a.top3.as_dict(), b.top3.as_dict())
    if changed_top3:
        changed.add("top3")
    if not (np.isnan(a.top3.OF1) or np.isnan(b.top3.OF1)):
        changed |= changed_top3
    return changed


def _differing(one: dict[str, float], other: dict[str, float]) -> set[str]:
    return {
        name
        for name, value in one.items()
        if not np.isclose(value, other[name], rtol=0, atol=_EQUAL, equal_nan=True)
    }
