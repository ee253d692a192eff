"""How far the figures of predictions would move with other images of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import LabelSpace
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

Threshold = float | NDArray[np.float64]
"""What decides: one threshold for all labels, or one each, [C]."""
THRESHOLD: Final = 0.5
"""Where figures that are of no profile are decided, if nothing else is asked for."""

OnProgress = Callable[[int, int], None]
"""Told how many labels are drawn, and of how many."""


@final
@dataclass(frozen=True, eq=False)
class Bootstrapped:
    """A model's figures by the definitions of profile `manylabel`, and how they vary by draw.

    Args:
        figures: mAP, CF1 and OF1, in fractions.
        draws: The same in each draw, [draws] each.
        ap: [C]; NaN for a label without a positive.
        ap_draws: [draws, C].
    """

    figures: dict[str, float]
    draws: dict[str, NDArray[np.float64]]
    ap: NDArray[np.float64]
    ap_draws: NDArray[np.float64]


def bootstrapped(
    scores: NDArray[Any],
    targets: NDArray[np.int8],
    weights: NDArray[np.int32],
    *,
    threshold: Threshold = THRESHOLD,
    on_label: Callable[[], None] | None = None,
) -> Bootstrapped:
    """The figures of some images and of each draw of them.

    Args:
        scores: [N, C], 0..1.
        targets: [N, C] of 1, 0 and -1.
        weights: [draws, N], as `draw_weights` gives them.
        threshold: For all labels, or [C]; 0..1.
        on_label: Called when a label is done: that is where the time goes.
    """
    ap_draws = np.empty((len(weights), scores.shape[1]))
    for label in range(scores.shape[1]):
        one = slice(label, label + 1)
        ap_draws[:, one] = average_precision_draws(scores[:, one], targets[:, one], weights)
        if on_label:
            on_label()
    decided = decide_at_threshold(scores, threshold)
    decisions = precision_recall_f1(decided, targets)
    ap = average_precision(scores, targets)
    by_label, pooled = f1_draws(decided, targets, weights)
    return Bootstrapped(
        {"mAP": mean_of_defined(ap), "CF1": decisions.CF1, "OF1": decisions.OF1},
        {"mAP": mean_ap_draws(ap_draws), "CF1": by_label, "OF1": pooled},
        ap,
        ap_draws,
    )


@final
@dataclass(frozen=True, eq=False)
class Intervals:
    """Figures by the definitions of profile `manylabel`, each with the middle 95 % of its draws.

    Args:
        figures: mAP, CF1 and OF1, in fractions.
        labels: The AP of each label.
        threshold: What CF1 and OF1 were decided at.
        draws: How many draws there were.
        seed: Of the draws.
    """

    figures: dict[str, Interval]
    labels: dict[str, Interval]
    threshold: Threshold
    draws: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """The figures by name and what they are of."""
        return {
            **{name: found.as_dict() for name, found in self.figures.items()},
            "labels": [{"label": name, **found.as_dict()} for name, found in self.labels.items()],
            "profile": "manylabel",
            "threshold": np.asarray(self.threshold).tolist(),
            "resamples": self.draws,
            "seed": self.seed,
        }


def intervals(
    scores: NDArray[Any],
    targets: NDArray[np.int8],
    labels: LabelSpace,
    *,
    draws: int,
    seed: int = 0,
    threshold: Threshold = THRESHOLD,
    on_progress: OnProgress | None = None,
) -> Intervals:
    """The headline figures and each label's AP with their bootstrap intervals.

    Args:
        scores: [N, C], 0..1.
        targets: [N, C] of 1, 0 and -1.
        labels: The C labels.
        draws: How many times the images are drawn.
        seed: Of the draws.
        threshold: For all labels, or [C]; 0..1.
        on_progress: Told how many labels are drawn, and of how many.
    """
    drawn = bootstrapped(
        scores,
        targets,
        draw_weights(len(scores), draws=draws, seed=seed),
        threshold=threshold,
        on_label=counting(on_progress, len(labels)),
    )
    return Intervals(
        {name: interval(value, drawn.draws[name]) for name, value in drawn.figures.items()},
        {
            name: interval(float(drawn.ap[label]), drawn.ap_draws[:, label])
            for label, name in enumerate(labels)
        },
        threshold,
        draws,
        seed,
    )


def in_words(threshold: Threshold) -> str:
    """When a label is decided for: "score >= 0.5"."""
    one = isinstance(threshold, float)
    return f"score >= {threshold:g}" if one else "score >= the label's threshold"


def counting(on_progress: OnProgress | None, total: int) -> Callable[[], None] | None:
    """What tells `on_progress` one more of `total` each time it is called."""
    if on_progress is None:
        return None
    done = iter(range(1, total + 1))
    return lambda: on_progress(next(done), total)
