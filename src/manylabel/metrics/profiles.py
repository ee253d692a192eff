"""Measures a data set under a profile: a named set of metric definitions.

Different definitions give different values for the same scores, and the difference can be as large
as the gain that a paper reports. So a profile fixes every choice, and its results carry the name
of the profile and its definition in words. The profiles themselves are in `definitions`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import ConfigError, DataError
from manylabel.labels import UNKNOWN, LabelSpace
from manylabel.metrics.decisions import decide_by, decide_top3_by
from manylabel.metrics.definitions import PROFILES, Profile
from manylabel.metrics.f1 import Decisions, decisions_by, no_decisions
from manylabel.metrics.ranking import (
    Scores,
    Targets,
    average_precision_by,
    check_scores_and_targets,
    mean_average_precision,
)
from manylabel.metrics.thresholds import decide
from manylabel.text import counted

__all__ = [
    "PROFILES",
    "LabelMeasures",
    "Measures",
    "Profile",
    "compare_profiles",
    "explain_gap",
    "find_profile",
    "measure",
]

_MAX_NAMES: Final = 5
"""The largest number of labels that a remark names."""


@final
@dataclass(frozen=True)
class LabelMeasures:
    """The metrics of one label; NaN where the profile defines no value.

    `positives` is a number of images. `AP`, `precision`, `recall`, `F1` and `threshold` are
    fractions 0..1.
    """

    label: str
    positives: int
    AP: float
    precision: float
    recall: float
    F1: float
    threshold: float


@final
@dataclass(frozen=True)
class Measures:
    """The metrics of a data set under one profile, as fractions 0..1.

    Args:
        profile: The definitions used.
        num_images: N.
        mAP: Mean AP of the labels; NaN where the profile defines no value.
        all: Metrics of the decisions by threshold.
        top3: Metrics of the decisions for the three best labels of each image.
        skipped: The labels without a positive, if the profile leaves them out of mAP.
        unknown: The number of unknown targets.
        per_label: One entry for each label, in the order of the label space.
        remarks: One phrase for each metric without a value, which says why, and one that says how
            labels without a positive count.
        decided: How labels were decided, in words, if not as the profile does.
    """

    profile: Profile
    num_images: int
    mAP: float
    all: Decisions
    top3: Decisions
    skipped: tuple[str, ...]
    unknown: int
    per_label: tuple[LabelMeasures, ...]
    remarks: tuple[str, ...] = ()
    decided: str = ""

    @property
    def definition(self) -> str:
        """The definitions that were used, in one sentence."""
        return self.profile.defined(self.decided)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; None where a metric is not defined."""
        tables = {
            "profile": self.profile.name,
            "definition": self.definition,
            "num_images": self.num_images,
            "num_labels": len(self.per_label),
            "num_unknown": self.unknown,
            "skipped_labels": list(self.skipped),
            "mAP": self.mAP,
            **self.all.as_dict(),
            "top3": self.top3.as_dict(),
            "remarks": list(self.remarks),
            "labels": [asdict(row) for row in self.per_label],
        }
        return _without_nan(tables)


def measure(
    scores: ArrayLike,
    targets: ArrayLike,
    labels: LabelSpace,
    *,
    profile: str = "manylabel",
    thresholds: ArrayLike | None = None,
    at_least: int = 0,
    at_most: int | None = None,
) -> Measures:
    """All metrics of a data set under one profile.

    Args:
        scores: [N, C], after the sigmoid, 0..1, in the order of the data set.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
        labels: The C labels.
        profile: A key of `PROFILES`.
        thresholds: One for all labels, or [C]; the profile's own, mostly 0.5, if not given.
        at_least: The smallest number of labels that each image gets, whatever the thresholds,
            0..C. Top-3 metrics ignore it.
        at_most: The largest number of labels that each image gets; None: any number. Top-3
            metrics ignore it.

    Raises:
        ConfigError: No such profile, or the thresholds cannot be used.
        DataError: Scores or targets cannot be used, do not fit each other or the labels, or the
            scores are logits.

    Example:
        >>> labels = LabelSpace(["cat", "dog", "owl"])
        >>> found = measure([[0.9, 0.2, 0.1], [0.4, 0.7, 0.1]], [[1, 0, 0], [1, 1, 0]], labels)
        >>> found.mAP, found.all.CR, found.skipped
        (1.0, 0.75, ('owl',))
    """
    chosen = find_profile(profile)
    scores, targets = _checked(scores, targets, labels)
    return _measure(chosen, scores, targets, labels, thresholds, (at_least, at_most))


def compare_profiles(
    scores: ArrayLike,
    targets: ArrayLike,
    labels: LabelSpace,
    *,
    thresholds: ArrayLike | None = None,
    at_least: int = 0,
    at_most: int | None = None,
) -> list[Measures]:
    """The metrics of a data set under every profile; manylabel's own is the first.

    Args:
        scores: [N, C], after the sigmoid, 0..1, in the order of the data set.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
        labels: The C labels.
        thresholds: One for all labels, or [C]. All profiles use them. If they are not given, each
            profile uses its own.
        at_least: As for `measure`.
        at_most: As for `measure`.

    Raises:
        ConfigError: The thresholds cannot be used.
        DataError: As `measure`.
    """
    scores, targets = _checked(scores, targets, labels)
    limits = (at_least, at_most)
    return [
        _measure(each, scores, targets, labels, thresholds, limits) for each in PROFILES.values()
    ]


def explain_gap(a: Profile, b: Profile) -> str:
    """How the definitions of profile `b` differ from those of `a`, in a few words; "" if equal.

    Example:
        >>> explain_gap(PROFILES["mmpretrain"], PROFILES["sklearn"])
        'tied scores grouped; no top-3 figures'
    """
    other = a.aspects
    return "; ".join(
        dict.fromkeys(words for name, words in b.aspects.items() if words != other[name])
    )


def _measure(
    profile: Profile,
    scores: Scores,
    targets: Targets,
    labels: LabelSpace,
    thresholds: ArrayLike | None,
    limits: tuple[int, int | None] = (0, None),
) -> Measures:
    ap = average_precision_by(profile.ap, scores, targets)
    mean_ap = mean_average_precision(profile.ap, ap)
    decisions, top3 = _decisions(profile, scores, targets, thresholds, limits)
    empty = [name for name, has in zip(labels, decisions.positives, strict=True) if not has]
    return Measures(
        profile=profile,
        num_images=len(scores),
        mAP=mean_ap,
        all=decisions,
        top3=top3,
        skipped=tuple(empty) if profile.ap.empty == "skipped" else (),
        unknown=int((targets == UNKNOWN).sum()),
        per_label=_rows(profile, labels, ap, decisions, thresholds),
        remarks=tuple(_remarks(profile, empty, mean_ap, decisions, top3)),
        decided=_decided_in_words(profile, thresholds, limits),
    )


def _decided_in_words(
    profile: Profile, thresholds: ArrayLike | None, limits: tuple[int, int | None]
) -> str:
    """How labels were decided; empty if as the profile does."""
    if profile.decide is None or (thresholds is None and limits == (0, None)):
        return ""
    at_least, at_most = limits
    limited = limits != (0, None)
    values = np.unique(np.asarray(profile.decide.threshold if thresholds is None else thresholds))
    at = f"{values[0]:g}" if len(values) == 1 else "the label's threshold"
    words = f"decided where score {'>=' if limited else profile.decide.reached} {at}"
    most = "any number of" if at_most is None else at_most
    return words + (f", {at_least} to {most} labels an image" if limited else "")


def _decisions(
    profile: Profile,
    scores: Scores,
    targets: Targets,
    thresholds: ArrayLike | None,
    limits: tuple[int, int | None],
) -> tuple[Decisions, Decisions]:
    """The metrics of the decisions by threshold, and of the top-3 decisions."""
    if profile.decide is None or profile.f1 is None:
        return no_decisions(targets), no_decisions(targets)
    by_threshold = decide_by(profile.decide, scores, thresholds)
    if limits != (0, None):
        own = profile.decide.threshold if thresholds is None else thresholds
        by_threshold = decide(scores, own, at_least=limits[0], at_most=limits[1])
    best = decide_top3_by(profile.decide, scores, targets, thresholds)
    return (
        decisions_by(profile.f1, by_threshold, targets),
        no_decisions(targets) if best is None else decisions_by(profile.f1, best, targets),
    )


def _remarks(
    profile: Profile, empty: Sequence[str], mean_ap: float, decisions: Decisions, top3: Decisions
) -> list[str]:
    """Says why metrics have no value, and how labels without a positive count."""
    remarks: list[str] = []
    names = ", ".join(empty[:_MAX_NAMES]) + (" ..." if len(empty) > _MAX_NAMES else "")
    without = f"{len(empty):,} label{'' if len(empty) == 1 else 's'}"
    if empty and profile.ap.empty == "zero":
        remarks.append(f"AP 0 in mAP, no positive: {without} ({names})")
    if math.isnan(mean_ap):
        remarks.append(f"mAP has no value, no positive: {without} ({names})")
    if profile.f1 is None:
        remarks.append(f"{profile.name} defines no precision, recall and F1")
        return remarks
    for title, found in (("", decisions), ("top-3 ", top3)):
        undefined = [name for name, value in found.as_dict().items() if math.isnan(value)]
        if found is top3 and profile.decide is not None and profile.decide.top3 == "none":
            remarks.append(f"{profile.name} defines no top-3 figures")
        elif undefined:
            remarks.append(
                f"{title}{', '.join(undefined)}: no value, divided by 0 "
                f"({found.predicted.sum():,} predicted, {found.right.sum():,} right, "
                f"{without} without a positive)"
            )
    return remarks


def find_profile(name: str) -> Profile:
    """The profile with this name.

    Raises:
        ConfigError: There is no such profile. The error suggests the closest name.
    """
    if name in PROFILES:
        return PROFILES[name]
    close = get_close_matches(name, PROFILES, n=1)
    raise ConfigError(
        f"Unknown metric profile {name!r}.",
        where="profile",
        fix=f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(PROFILES)}.",
    )


def _rows(
    profile: Profile,
    labels: LabelSpace,
    ap: NDArray[np.float64],
    decisions: Decisions,
    thresholds: ArrayLike | None,
) -> tuple[LabelMeasures, ...]:
    if profile.decide is None:
        thresholds = np.nan
    elif thresholds is None:
        thresholds = profile.decide.threshold
    each = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), ap.shape)
    columns = zip(
        labels,
        decisions.positives.tolist(),
        ap.tolist(),
        decisions.precision.tolist(),
        decisions.recall.tolist(),
        decisions.f1.tolist(),
        each.tolist(),
        strict=True,
    )
    return tuple(LabelMeasures(*row) for row in columns)


def _checked(scores: ArrayLike, targets: ArrayLike, labels: LabelSpace) -> tuple[Scores, Targets]:
    scores, targets = check_scores_and_targets(scores, targets)
    _check_columns(scores.shape[1], labels)
    return scores, targets


def _check_columns(columns: int, labels: LabelSpace) -> None:
    if columns != len(labels):
        raise DataError(
            f"The scores have {counted(columns, 'column')} for {counted(len(labels), 'label')}.",
            where=repr(labels),
            fix="Give one column for each label, in the order of the labels.",
        )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
