"""Two models on the same images: is the difference more than the luck of which images they were?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.errors import DataError
from manylabel.evaluate.predictions import Predictions, matched
from manylabel.metrics.bootstrap import (
    Interval,
    average_precision_draws,
    draw_weights,
    f1_draws,
    interval,
    mean_ap_draws,
)
from manylabel.metrics.decisions import decide_at_threshold, precision_recall_f1
from manylabel.metrics.ranking import average_precision, mean_of_defined

FIGURES: Final = ("mAP", "CF1", "OF1")


@final
@dataclass(frozen=True, slots=True)
class Moved:
    """A label's AP under both models, and the difference."""

    label: str
    a: float
    b: float
    difference: Interval

    @property
    def certain(self) -> bool:
        """The interval of the difference does not hold 0."""
        return self.difference.low > 0 or self.difference.high < 0


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """B against A on the same images, under the profile `manylabel`.

    Args:
        truth: The images that were compared, with their targets.
        a: The figures of A by name, in fractions.
        b: Those of B.
        differences: B less A by name, with the middle 95 % of paired draws.
        labels: The labels with a positive, those first whose AP moved most.
        draws: How many draws the intervals are of.
        seed: Of the draws.
    """

    truth: Records
    a: dict[str, float]
    b: dict[str, float]
    differences: dict[str, Interval]
    labels: tuple[Moved, ...]
    draws: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "images": len(self.truth),
            "data_sha256": self.truth.fingerprint(),
            "a": self.a,
            "b": self.b,
            "difference": {name: found.as_dict() for name, found in self.differences.items()},
            "labels": [
                {"label": row.label, "a": row.a, "b": row.b, **row.difference.as_dict()}
                for row in self.labels
            ],
            "draws": self.draws,
            "seed": self.seed,
        }


def compare(
    a: Predictions,
    b: Predictions,
    truth: Records,
    *,
    threshold: float = 0.5,
    draws: int = 1000,
    seed: int = 0,
    common: bool = False,
) -> Comparison:
    """What B gains over A, with paired bootstrap intervals: both are drawn the same images.

    Args:
        a: The predictions to compare with.
        b: Those that are compared.
        truth: The images with their targets.
        threshold: For all labels, 0..1.
        draws: How many times the images are drawn.
        seed: Of the draws.
        common: Compare the images that all three have, where they differ.

    Raises:
        DataError: They are of different images or labels.
    """
    if common:
        shared = set(a.keys) & set(b.keys)
        items = tuple(record for record in truth.items if record.key in shared)
        truth = Records(truth.labels, items, truth.source, truth.notes)
        if not items:
            raise DataError(
                "The predictions and the targets have no image in common.",
                where=f"{a.source}, {b.source} and {truth.source}",
                fix="Give predictions for the images of the targets.",
            )
    a, _ = matched(a, truth, common=common)
    b, truth = matched(b, truth, common=common)
    targets = truth.targets()
    weights = draw_weights(len(truth), draws=draws, seed=seed)
    one, other = (_drawn(model.scores, targets, threshold, weights) for model in (a, b))
    differences = {
        name: interval(other.figures[name] - one.figures[name], other.draws[name] - one.draws[name])
        for name in FIGURES
    }
    moved = [
        Moved(
            name,
            float(one.ap[i]),
            float(other.ap[i]),
            interval(float(other.ap[i] - one.ap[i]), other.ap_draws[:, i] - one.ap_draws[:, i]),
        )
        for i, name in enumerate(truth.labels)
        if not np.isnan(one.ap[i])
    ]
    moved.sort(key=lambda row: -abs(row.difference.value))
    return Comparison(truth, one.figures, other.figures, differences, tuple(moved), draws, seed)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A model's figures and their draws."""

    figures: dict[str, float]
    draws: dict[str, NDArray[np.float64]]
    ap: NDArray[np.float64]
    ap_draws: NDArray[np.float64]


def _drawn(
    scores: NDArray[Any],
    targets: NDArray[np.int8],
    threshold: float,
    weights: NDArray[np.int32],
) -> _Drawn:
    decided = decide_at_threshold(scores, threshold)
    ap = average_precision(scores, targets)
    decisions = precision_recall_f1(decided, targets)
    ap_draws = average_precision_draws(scores, targets, weights)
    by_label, pooled = f1_draws(decided, targets, weights)
    return _Drawn(
        {"mAP": mean_of_defined(ap), "CF1": decisions.CF1, "OF1": decisions.OF1},
        {"mAP": mean_ap_draws(ap_draws), "CF1": by_label, "OF1": pooled},
        ap,
        ap_draws,
    )
