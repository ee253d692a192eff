"""Why two profiles give other figures for the same predictions: only the reasons that bear there.

A profile settles a dozen things, and most of them change nothing for most predictions: a rule for
ties where no scores tie, one for unknown targets where all are known. `explain_gap` lists what two
profiles do otherwise; `reason` keeps what made these figures differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import LabelSpace
from manylabel.metrics.profiles import Measures, compare_profiles, explain_gap

SAME: Final = "the same figures"

_F1: Final = ("CP", "CR", "CF1", "OP", "OR", "OF1")
_BEARS_ON: Final = {
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
"""The figures that an aspect of a profile can move."""

_EQUAL: Final = 1e-9
"""Figures closer than this differ by rounding alone."""


@final
@dataclass(frozen=True, eq=False)
class Side:
    """What one profile makes of the predictions.

    Args:
        measures: Its figures.
        reason: Why they differ from the reference's, in a few words; "" for the reference.
    """

    measures: Measures
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, with `top3`, `remarks` and `reason`; NaN where not defined."""
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
) -> dict[str, Side]:
    """The figures under every profile by its name, the reference first.

    Args:
        scores: [N, C], 0..1, in the order of the data set.
        targets: [N, C] of 1, 0 and -1.
        labels: The C labels.
        reference: The profile that gaps are told against.
        threshold: For all labels and profiles, 0..1; each one's own if not given.
    """
    found = compare_profiles(scores, targets, labels, thresholds=threshold)
    first = next(each for each in found if each.profile.name == reference)
    ties = has_ties(scores)
    others = {
        each.profile.name: Side(each, reason(first, each, ties=ties, threshold=threshold))
        for each in found
        if each is not first
    }
    return {reference: Side(first, ""), **others}


def reason(
    reference: Measures, other: Measures, *, ties: bool, threshold: float | None = None
) -> str:
    """What `other` does otherwise that moved these figures, in a few words.

    Args:
        reference: The figures that the others are compared with.
        other: Those of the same predictions under another profile.
        ties: Some label has equal scores.
        threshold: What both were decided at, where it was not each one's own.
    """
    moved = _moved(reference, other)
    if not moved:
        return SAME
    known, bears = reference.profile.aspects, _bearing(reference, other, ties=ties)
    words = [
        _decided(other, threshold) if name == "decided" else word
        for name, word in other.profile.aspects.items()
        if word != known[name] and bears.get(name, True) and not moved.isdisjoint(_BEARS_ON[name])
    ]
    kept = "; ".join(dict.fromkeys(words))
    return kept or explain_gap(reference.profile, other.profile)


def has_ties(scores: NDArray[Any]) -> bool:
    """Whether two images have the same score for a label."""
    rising = np.sort(scores, axis=0)
    return bool((rising[1:] == rising[:-1]).any())


def _bearing(a: Measures, b: Measures, *, ties: bool) -> dict[str, bool]:
    """Whether an aspect can bear on these predictions at all; one that is not named can."""
    empty = bool((a.all.positives == 0).any())
    silent = any((side.all.predicted == 0).any() for side in (a, b))
    nothing = any(not side.all.predicted.any() or not side.all.positives.any() for side in (a, b))
    by_label = any(
        side.profile.f1 is not None and side.profile.f1.pooled == "once a label" for side in (a, b)
    )
    return {
        "ties": ties,
        "empty in mAP": empty,
        "unknown in AP": a.unknown > 0,
        "unknown in F1": a.unknown > 0,
        "decided": not np.array_equal(a.all.predicted, b.all.predicted),
        "never predicted": silent,
        "without a positive": empty,
        "pooled": silent if by_label else nothing,
        "F1 of zeros": any(not side.all.right.any() for side in (a, b)),
    }


def _decided(measures: Measures, threshold: float | None) -> str:
    rule = measures.profile.decide
    if rule is None or threshold is None:
        return measures.profile.aspects["decided"]
    return f"decided where score {rule.reached} {threshold:g}"


def _moved(a: Measures, b: Measures) -> set[str]:
    """The names of the figures that differ: by threshold or of the top 3; and `top3` for these."""
    moved = _differing(a.all.as_dict() | {"mAP": a.mAP}, b.all.as_dict() | {"mAP": b.mAP})
    of_top3 = _differing(a.top3.as_dict(), b.top3.as_dict())
    if of_top3:
        moved.add("top3")
    if not (np.isnan(a.top3.OF1) or np.isnan(b.top3.OF1)):
        moved |= of_top3
    return moved


def _differing(one: dict[str, float], other: dict[str, float]) -> set[str]:
    return {
        name
        for name, value in one.items()
        if not np.isclose(value, other[name], rtol=0, atol=_EQUAL, equal_nan=True)
    }
