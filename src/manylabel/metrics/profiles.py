"""Profiles: sets of definitions by name, and the figures of a data set under one of them.

The same scores give figures that differ by as much as papers gain; so a profile fixes every
choice, and what it measured carries its name and its definition in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.errors import ConfigError, DataError
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace
from manylabel.metrics.decisions import (
    Decided,
    Decisions,
    decide_above_threshold,
    decide_at_threshold,
    decide_top_k,
    decide_top_k_above,
    precision_recall_f1,
    precision_recall_f1_srn,
)
from manylabel.metrics.ranking import (
    average_precision,
    average_precision_interpolated,
    check_scores,
    check_targets,
    mean_of_defined,
)


@final
@dataclass(frozen=True)
class Profile:
    """One project's definitions.

    Args:
        name: What reports call it.
        definition: The same in one sentence, printed beside the figures.
        average_precision: Scores and targets [N, C] to AP [C], NaN without a positive.
        decide: Scores and thresholds to decisions, for the figures of all labels.
        decide_top3: Scores and thresholds to decisions, for the top-3 figures.
        precision_recall_f1: Decisions and targets to the six figures.
    """

    name: str
    definition: str
    average_precision: Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]
    decide: Callable[[ArrayLike, ArrayLike], Decided]
    decide_top3: Callable[[ArrayLike, ArrayLike], Decided]
    precision_recall_f1: Callable[[ArrayLike, ArrayLike], Decisions]


def _exactly_three(scores: ArrayLike, _thresholds: ArrayLike) -> Decided:
    return decide_top_k(scores, 3)


def _at_most_three(scores: ArrayLike, thresholds: ArrayLike) -> Decided:
    return decide_top_k_above(scores, 3, thresholds)


PROFILES: Final[dict[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile(
            name="manylabel",
            definition=(
                "AP not interpolated, tied scores grouped; labels without a positive are skipped "
                "and unknown targets ignored in every figure; decided where score >= threshold; "
                "CF1 is the harmonic mean of CP and CR, with precision 0 where nothing is "
                "predicted; top-3 takes exactly three labels an image."
            ),
            average_precision=average_precision,
            decide=decide_at_threshold,
            decide_top3=_exactly_three,
            precision_recall_f1=precision_recall_f1,
        ),
        Profile(
            name="srn",
            definition=(
                "AP interpolated at all points, ties in the order of the data set, unknown "
                "targets left out, labels without a positive skipped; decided where "
                "score > threshold; CF1 is the mean of the labels' F1, with unknown targets as "
                "absent and precision 1 where nothing is predicted; top-3 takes at most three "
                "labels an image, each over its threshold."
            ),
            average_precision=average_precision_interpolated,
            decide=decide_above_threshold,
            decide_top3=_at_most_three,
            precision_recall_f1=precision_recall_f1_srn,
        ),
    )
}


@final
@dataclass(frozen=True)
class LabelMeasures:
    """The figures of one label; NaN where its profile does not define one.

    `positives` counts images; `AP`, `precision`, `recall` and `F1` are fractions 0..1.
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
    """The figures of a data set under one profile, in fractions 0..1.

    Args:
        profile: The definitions used.
        num_images: N.
        mAP: Mean AP over the labels that are not skipped; NaN if all are.
        all: Decisions by threshold.
        top3: Decisions by the three best labels of each image.
        skipped: The labels without a positive.
        unknown: How many targets are unknown.
        per_label: One entry a label, in the label space's order.
    """

    profile: Profile
    num_images: int
    mAP: float
    all: Decisions
    top3: Decisions
    skipped: tuple[str, ...]
    unknown: int
    per_label: tuple[LabelMeasures, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; None where a figure is not defined."""
        tables = {
            "profile": self.profile.name,
            "definition": self.profile.definition,
            "num_images": self.num_images,
            "num_labels": len(self.per_label),
            "num_unknown": self.unknown,
            "skipped_labels": list(self.skipped),
            "mAP": self.mAP,
            **self.all.as_dict(),
            "top3": self.top3.as_dict(),
            "labels": [asdict(row) for row in self.per_label],
        }
        return _without_nan(tables)


def measure(
    scores: ArrayLike,
    targets: ArrayLike,
    labels: LabelSpace,
    *,
    profile: str = "manylabel",
    thresholds: ArrayLike = 0.5,
) -> Measures:
    """All figures of a data set.

    Args:
        scores: [N, C], after the sigmoid, 0..1, in the order of the data set.
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
        labels: The C labels.
        profile: A key of `PROFILES`.
        thresholds: One for all labels, or [C]. The manylabel profile decides by them, srn also
            its top-3.

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
    scores, targets = check_scores(scores), check_targets(targets)
    _check_columns(scores.shape[1], labels)
    _check_range(scores)
    ap = chosen.average_precision(scores, targets)
    decisions = chosen.precision_recall_f1(chosen.decide(scores, thresholds), targets)
    positives = (targets == PRESENT).sum(axis=0)
    return Measures(
        profile=chosen,
        num_images=len(scores),
        mAP=mean_of_defined(ap),
        all=decisions,
        top3=chosen.precision_recall_f1(chosen.decide_top3(scores, thresholds), targets),
        skipped=tuple(name for name, count in zip(labels, positives, strict=True) if count == 0),
        unknown=int((targets == UNKNOWN).sum()),
        per_label=_rows(labels, ap, decisions, thresholds),
    )


def find_profile(name: str) -> Profile:
    """The profile called `name`.

    Raises:
        ConfigError: There is none; the closest is suggested.
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
    labels: LabelSpace, ap: NDArray[np.float64], decisions: Decisions, thresholds: ArrayLike
) -> tuple[LabelMeasures, ...]:
    each = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), ap.shape)
    return tuple(
        LabelMeasures(
            label=name,
            positives=int(decisions.positives[i]),
            AP=float(ap[i]),
            precision=float(decisions.precision[i]),
            recall=float(decisions.recall[i]),
            F1=float(decisions.f1[i]),
            threshold=float(each[i]),
        )
        for i, name in enumerate(labels)
    )


def _check_columns(columns: int, labels: LabelSpace) -> None:
    if columns != len(labels):
        raise DataError(
            f"The scores have {columns} columns, but there are {len(labels)} labels.",
            where=repr(labels),
            fix="Give one column a label, in the order of the labels.",
        )


def _check_range(scores: NDArray[Any]) -> None:
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        raise DataError(
            f"Scores must lie in 0..1; given are {scores.min():.4g} to {scores.max():.4g}.",
            where="scores",
            fix="Give scores, after the sigmoid, not logits.",
        )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
