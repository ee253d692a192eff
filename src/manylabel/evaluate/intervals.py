"""Bootstrap intervals: how much metrics would change with other images of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.decide import Decision
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
"""One threshold for all labels, or one for each label, [C]."""
THRESHOLD: Final = 0.5
"""The default threshold for metrics that are not computed under a profile."""

OnProgress = Callable[[int, int], None]
"""Called with the number of labels done and the number of all labels."""


@final
@dataclass(frozen=True, eq=False)
class Bootstrapped:
    """A model's metrics by the definitions of profile `manylabel`, for all images and each draw.

    Args:
        figures: mAP, CF1 and OF1, as fractions.
        draws: The same metrics for each draw, [draws] each.
        ap: [C], AP of each label; NaN for a label without a positive.
        ap_draws: [draws, C], AP of each label in each draw.
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
    decided: NDArray[np.bool_],
    on_label: Callable[[], None] | None = None,
) -> Bootstrapped:
    """The metrics of some images, and of each bootstrap draw of them.

    Args:
        scores: [N, C], 0..1.
        targets: [N, C] of 1, 0 and -1.
        weights: [draws, N], as `draw_weights` gives them.
        decided: Boolean [N, C], the labels that the model predicts.
        on_label: Called after each label, because labels take most of the time.
    """
    ap_draws = np.empty((len(weights), scores.shape[1]))
    for label in range(scores.shape[1]):
        one = slice(label, label + 1)
        ap_draws[:, one] = average_precision_draws(scores[:, one], targets[:, one], weights)
        if on_label:
            on_label()
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
    """Metrics by the definitions of profile `manylabel`, each with the middle 95 % of its draws.

    Args:
        figures: mAP, CF1 and OF1, as fractions.
        labels: The AP of each label.
        threshold: The threshold for CF1 and OF1.
        draws: The number of draws.
        seed: The seed of the draws.
    """

    figures: dict[str, Interval]
    labels: dict[str, Interval]
    threshold: Threshold
    draws: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """The metrics by name, and the settings with which they were computed."""
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
    """mAP, CF1, OF1 and the AP of each label, with bootstrap intervals.

    Args:
        scores: [N, C], 0..1.
        targets: [N, C] of 1, 0 and -1.
        labels: The C labels.
        draws: The number of bootstrap draws.
        seed: The seed of the draws.
        threshold: One for all labels, or [C]; 0..1.
        on_progress: Called with the number of labels done and the number of all labels.
    """
    drawn = bootstrapped(
        scores,
        targets,
        draw_weights(len(scores), draws=draws, seed=seed),
        decided=decide_at_threshold(scores, threshold),
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
    """The decision rule in words, such as "score >= 0.5"."""
    values = np.unique(np.asarray(threshold))
    return f"score >= {values[0]:g}" if len(values) == 1 else "score >= the label's threshold"


def decision_in_words(decision: Decision) -> str:
    """How a decision turns scores into labels, such as "score >= 0.5, 1 to 3 labels an image"."""
    rule = in_words(np.array(decision.thresholds))
    most = "any number of" if decision.at_most is None else decision.at_most
    return rule + (f", {decision.at_least} to {most} labels an image" if decision.limited else "")


def counting(on_progress: OnProgress | None, total: int) -> Callable[[], None] | None:
    """A function that counts its calls and reports each count and `total` to `on_progress`."""
    if on_progress is None:
        return None
    done = iter(range(1, total + 1))
    return lambda: on_progress(next(done), total)
