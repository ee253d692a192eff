"""Two models on the same images: is the difference more than the luck of which images they were?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from manylabel.data.records import Records
from manylabel.errors import DataError
from manylabel.evaluate.intervals import THRESHOLD, OnProgress, bootstrapped, counting
from manylabel.evaluate.predictions.score import without_nan
from manylabel.evaluate.predictions.table import Predictions, matched
from manylabel.metrics.bootstrap import Interval, draw_weights, interval

FIGURES: Final = ("mAP", "CF1", "OF1")

_SHOWN: Final = 3


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
        threshold: What CF1 and OF1 were decided at.
    """

    truth: Records
    a: dict[str, float]
    b: dict[str, float]
    differences: dict[str, Interval]
    labels: tuple[Moved, ...]
    draws: int
    seed: int
    threshold: float = THRESHOLD

    def conclusions(self) -> list[str]:
        """What may be said of each figure and of the labels, a sentence each."""
        said = [
            conclusion(name, found, len(self.truth)) for name, found in self.differences.items()
        ]
        certain = sum(row.certain for row in self.labels)
        said.append(
            f"labels: AP of {certain:,} of {len(self.labels):,} moved by an interval without 0; "
            "where nothing differs, 1 in 20 does by luck."
        )
        return said

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; None where a figure has no value."""
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
                "threshold": self.threshold,
                "resamples": self.draws,
                "seed": self.seed,
            }
        )


def conclusion(name: str, found: Interval, num_images: int) -> str:
    """What the interval of the difference B - A lets one say, in a sentence.

    Args:
        name: The figure's.
        found: The difference, in fractions.
        num_images: How many images it is of.
    """
    if math.isnan(found.low):
        return f"{name}: no value, so A and B cannot be compared by it."
    reach = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
    if found.low > 0 or found.high < 0:
        better = "B" if found.low > 0 else "A"
        return f"{name}: {better} is better by {abs(100 * found.value):.2f} points ({reach})."
    return (
        f"{name}: the interval ({reach}) holds 0: A and B are not told apart on "
        f"these {num_images:,} images."
    )


def compare(
    a: Predictions,
    b: Predictions,
    truth: Records,
    *,
    threshold: float = THRESHOLD,
    draws: int = 1000,
    seed: int = 0,
    common: bool = False,
    on_progress: OnProgress | None = None,
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
        on_progress: Told how many labels are drawn, and of how many, those of both models.

    Raises:
        DataError: They are of different images or labels.
    """
    a, b, truth = same_images(a, b, truth, common=common)
    targets = truth.targets
    weights = draw_weights(len(truth), draws=draws, seed=seed)
    count = counting(on_progress, 2 * len(truth.labels))
    one, other = (
        bootstrapped(model.scores, targets, weights, threshold=threshold, on_label=count)
        for model in (a, b)
    )
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
    return Comparison(
        truth, one.figures, other.figures, differences, tuple(moved), draws, seed, threshold
    )


def same_images(
    a: Predictions, b: Predictions, truth: Records, *, common: bool = False
) -> tuple[Predictions, Predictions, Records]:
    """Both predictions in the truth's order of images and labels, and the truth.

    Args:
        a: Predictions.
        b: Others.
        truth: The images with their targets.
        common: Keep the images that all three have, where they differ; a note counts the others.

    Raises:
        DataError: Labels or images differ; or there is no image that all three have.
    """
    shared = set(a.keys) & set(b.keys)
    if not common:
        _require_same(a, b, shared)
        a, _ = matched(a, truth)
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
    note = (f"Images that not all have, left out: {', '.join(left_out)}",) if left_out else ()
    a, _ = matched(_only(a, kept), kept)
    b, kept = matched(_only(b, kept), kept)
    return a, b, kept.with_notes(*note)


def _only(predictions: Predictions, records: Records) -> Predictions:
    """The predictions of the images of `records`."""
    wanted = set(records.keys)
    rows = [row for row, key in enumerate(predictions.keys) if key in wanted]
    return Predictions(
        tuple(predictions.keys[row] for row in rows),
        predictions.labels,
        predictions.scores[rows],
        predictions.source,
        predictions.notes,
    )


def _require_same(a: Predictions, b: Predictions, shared: set[str]) -> None:
    only = [[key for key in side.keys if key not in shared] for side in (a, b)]
    if not any(only):
        return
    parts = [
        f"{len(keys):,} only in {side.source} ({_some(keys)})"
        for side, keys in zip((a, b), only, strict=True)
        if keys
    ]
    raise DataError(
        f"The images of the two predictions differ: {' and '.join(parts)}; "
        f"{len(shared):,} are in both.",
        where=f"{a.source} and {b.source}",
        fix="Give predictions for the same images, or say --common to compare those in both.",
    )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", ..." if len(listed) > _SHOWN else "")
