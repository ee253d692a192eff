"""Compares two models on the same images: is the difference larger than chance?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from manylabel.data.records import Records
from manylabel.decide import Decision
from manylabel.errors import DataError
from manylabel.evaluate.intervals import (
    THRESHOLD,
    OnProgress,
    bootstrapped,
    counting,
    decision_in_words,
)
from manylabel.evaluate.predictions.score import without_nan
from manylabel.evaluate.predictions.table import Predictions, matched, some_names
from manylabel.metrics.bootstrap import Interval, draw_weights, interval

FIGURES: Final = ("mAP", "CF1", "OF1")


@final
@dataclass(frozen=True, slots=True)
class LabelDifference:
    """The AP of a label for both models, and the difference."""

    label: str
    a: float
    b: float
    difference: Interval

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 is outside the interval of the difference."""
        return self.difference.low > 0 or self.difference.high < 0


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """The comparison of model B with model A on the same images, under the profile `manylabel`.

    Args:
        truth: The images that were used, with their targets.
        a: The metrics of A by name, as fractions.
        b: The metrics of B by name, as fractions.
        differences: B minus A by name, with the middle 95 % of paired draws.
        labels: The labels with a positive, the largest difference in AP first.
        draws: The number of bootstrap draws for the intervals.
        seed: The seed of the draws.
        decided: How A and B decide for CF1 and OF1, in words.
    """

    truth: Records
    a: dict[str, float]
    b: dict[str, float]
    differences: dict[str, Interval]
    labels: tuple[LabelDifference, ...]
    draws: int
    seed: int
    decided: tuple[str, str]

    @property
    def decided_in_words(self) -> str:
        """How both decide, as a part of a sentence."""
        a, b = self.decided
        return f"decided where {a}" if a == b else f"A decided where {a}; B decided where {b}"

    def conclusions(self) -> list[str]:
        """The conclusion for each metric and for the labels, one sentence each."""
        sentences = [
            conclusion(name, found, len(self.truth)) for name, found in self.differences.items()
        ]
        count = sum(row.excludes_zero for row in self.labels)
        sentences.append(
            f"labels: for {count:,} of {len(self.labels):,}, the interval of the change in AP does "
            "not include 0; by chance alone, 1 in 20 would."
        )
        return sentences

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; None where a metric has no value."""
        return without_nan(
            {
                "images": len(self.truth),
                "data_sha256": self.truth.fingerprint(),
                "a": self.a,
                "b": self.b,
                "difference": {name: found.as_dict() for name, found in self.differences.items()},
                "labels": [
                    {"label": row.label, "a": row.a, "b": row.b, **row.difference.as_dict()}
                    for row in self.labels
                ],
                "conclusions": self.conclusions(),
                "profile": "manylabel",
                "decided": dict(zip("ab", self.decided, strict=True)),
                "resamples": self.draws,
                "seed": self.seed,
            }
        )


def conclusion(name: str, found: Interval, num_images: int) -> str:
    """The conclusion from the interval of the difference B - A, in one sentence.

    Args:
        name: The name of the metric.
        found: The difference, as fractions.
        num_images: The number of images.
    """
    if math.isnan(found.low):
        return f"{name}: no value, so A and B cannot be compared."
    reach = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
    if found.low > 0 or found.high < 0:
        better = "B" if found.low > 0 else "A"
        return f"{name}: {better} is better by {abs(100 * found.value):.2f} points ({reach})."
    return (
        f"{name}: the interval ({reach}) includes 0, so these {num_images:,} images do not show "
        "which of A and B is better."
    )


def compare(
    a: Predictions,
    b: Predictions,
    truth: Records,
    *,
    threshold: float | None = None,
    draws: int = 1000,
    seed: int = 0,
    common: bool = False,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Compares B with A, with paired bootstrap intervals: each draw takes the same images for both.

    Each model is compared as it decides: by its own decision, if its predictions have one.

    Args:
        a: The predictions of A.
        b: The predictions of B.
        truth: The images with their targets.
        threshold: The threshold for all labels of both, 0..1. If not given, each model's decision,
            and 0.5 if there is none.
        draws: The number of bootstrap draws.
        seed: The seed of the draws.
        common: If the images differ, use those that all three have.
        on_progress: Called with the number of labels done and the number of all, of both models.

    Raises:
        DataError: The images or the labels differ.
    """
    a, b, truth = same_images(a, b, truth, common=common)
    targets = truth.targets
    decisions = [_decision(model, threshold) for model in (a, b)]
    weights = draw_weights(len(truth), draws=draws, seed=seed)
    count = counting(on_progress, 2 * len(truth.labels))
    one, other = (
        bootstrapped(
            model.scores, targets, weights, decided=rule.decide(model.scores), on_label=count
        )
        for model, rule in zip((a, b), decisions, strict=True)
    )
    differences = {
        name: interval(other.figures[name] - one.figures[name], other.draws[name] - one.draws[name])
        for name in FIGURES
    }
    labels = [
        LabelDifference(
            name,
            float(one.ap[i]),
            float(other.ap[i]),
            interval(float(other.ap[i] - one.ap[i]), other.ap_draws[:, i] - one.ap_draws[:, i]),
        )
        for i, name in enumerate(truth.labels)
        if not np.isnan(one.ap[i])
    ]
    labels.sort(key=lambda row: -abs(row.difference.value))
    words = (decision_in_words(decisions[0]), decision_in_words(decisions[1]))
    return Comparison(
        truth, one.figures, other.figures, differences, tuple(labels), draws, seed, words
    )


def _decision(model: Predictions, threshold: float | None) -> Decision:
    if threshold is None and model.decision is not None:
        return model.decision
    return Decision(thresholds=(THRESHOLD if threshold is None else threshold,) * len(model.labels))


def same_images(
    a: Predictions, b: Predictions, truth: Records, *, common: bool = False
) -> tuple[Predictions, Predictions, Records]:
    """Both predictions, with images and labels in the order of the truth, and the truth.

    Args:
        a: The predictions of one model.
        b: The predictions of the other model.
        truth: The images with their targets.
        common: If the images differ, keep those that all three have; a note counts the others.

    Raises:
        DataError: The labels or the images differ, or there is no image that all three have.
    """
    shared = set(a.keys) & set(b.keys)
    if not common:
        _require_same(a, b, shared)
        a, truth = matched(a, truth)
        b, truth = matched(b, truth)
        return a, b, truth
    kept = truth.select_keys(shared)
    if not len(kept):
        raise DataError(
            "The predictions and the targets have no image in common.",
            where=f"{a.source}, {b.source} and {truth.source}",
            fix="Give predictions for the images of the targets.",
        )
    left_out = [
        f"{size - len(kept):,} of {size:,} in {source}"
        for size, source in (
            (len(a.keys), a.source),
            (len(b.keys), b.source),
            (len(truth), truth.source),
        )
        if size > len(kept)
    ]
    notes = (
        [f"Images that are not in all files are left out: {', '.join(left_out)}"]
        if left_out
        else []
    )
    a, kept = matched(_only(a, kept), kept)
    b, kept = matched(_only(b, kept), kept)
    return a, b, kept.with_notes(*notes)


def _only(predictions: Predictions, records: Records) -> Predictions:
    """The predictions of the images of `records`."""
    wanted = set(records.keys)
    rows = [row for row, key in enumerate(predictions.keys) if key in wanted]
    return replace(
        predictions,
        keys=tuple(predictions.keys[row] for row in rows),
        scores=predictions.scores[rows],
    )


def _require_same(a: Predictions, b: Predictions, shared: set[str]) -> None:
    only = [[key for key in side.keys if key not in shared] for side in (a, b)]
    if not any(only):
        return
    parts = [
        f"{len(keys):,} only in {side.source} ({some_names(keys)})"
        for side, keys in zip((a, b), only, strict=True)
        if keys
    ]
    raise DataError(
        f"The images of the two predictions differ: {' and '.join(parts)}; "
        f"{len(shared):,} are in both.",
        where=f"{a.source} and {b.source}",
        fix="Give predictions for the same images, or use --common to compare those in both.",
    )
