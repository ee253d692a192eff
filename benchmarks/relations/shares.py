"""From scores to shares of the attainable gain, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DRAWS: Final = 500


def average_precisions(
    scores: NDArray[Any], targets: NDArray[Any], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """AP of each draw and label, [B, C], in percent.

    Args:
        scores: [N, C].
        targets: [N, C] of 1 and 0.
        weights: How often each image is drawn, [B, N].
    """
    found = np.empty((len(weights), scores.shape[1]))
    for label in range(scores.shape[1]):
        # Ties are in a fixed order; continuous scores have none.
        order = np.argsort(-scores[:, label], kind="stable")
        drawn, hits = weights[:, order], targets[order, label]
        positives = drawn * hits
        precision = positives.cumsum(1) / np.maximum(drawn.cumsum(1), 1)
        found[:, label] = (positives * precision).sum(1) / positives.sum(1)
    return 100 * found


def draws_of(images: int, seed: int = 0) -> NDArray[np.int64]:
    """Bootstrap weights [1 + DRAWS, N]; the first row is the data set itself."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=DRAWS)
    return np.concatenate([np.ones((1, images), dtype=np.int64), drawn])


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its 95 % bootstrap interval over test images."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: NDArray[np.float64]) -> Interval:
        """The figure is the first value; the others are of bootstrap draws."""
        low, high = np.nanpercentile(draws[1:], [2.5, 97.5])
        return cls(float(draws[0]), float(low), float(high))


def calibrated(
    val_logits: NDArray[Any], val_targets: NDArray[Any], logits: NDArray[Any]
) -> NDArray[np.float64]:
    """Probabilities [N, C] of logits, by Platt's scaling on validation images.

    Each label gets a slope and an offset; positives and negatives count as in Platt (1999).
    """
    columns = []
    for label in range(logits.shape[1]):
        slope, offset = _platt(val_logits[:, label], val_targets[:, label])
        columns.append(1 / (1 + np.exp(-(slope * logits[:, label] + offset))))
    return np.stack(columns, axis=1)


def _platt(logits: NDArray[Any], targets: NDArray[Any]) -> tuple[float, float]:
    """Slope and offset by Newton's method on smoothed targets."""
    positives = float(targets.sum())
    negatives = len(targets) - positives
    smooth = np.where(targets > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = np.stack([logits.astype(np.float64), np.ones(len(logits))], axis=1)
    found = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        gradient = x.T @ (p - smooth) + 1e-3 * (found - [1, 0])
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        found = found - np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return float(found[0]), float(found[1])


def grouped(
    by_label: NDArray[np.float64], groups: Mapping[str, Sequence[str]], labels: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """The mean over the labels of each group, [B]."""
    return {
        group: by_label[:, [labels.index(name) for name in names]].mean(1)
        for group, names in groups.items()
    }
