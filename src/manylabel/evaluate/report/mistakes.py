"""Finds the most confident mistakes of a model, which may be errors of the model or the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import ABSENT, PRESENT

SHOWN: Final = 12
"""The number of mistakes of each kind that are shown."""

_MAX_PER_LABEL: Final = 3
"""The largest number of mistakes of one label, so that one bad label does not fill the page."""


@final
@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong decision: the row of the image, the column of the label, and the score."""

    image: int
    label: int
    score: float


@final
@dataclass(frozen=True, slots=True)
class Mistakes:
    """The most confident mistakes of one kind, and the number of all.

    Args:
        shown: The most confident mistakes, at most three of each label.
        total: The number of all mistakes of this kind.
    """

    shown: tuple[Mistake, ...]
    total: int


def false_positives(
    scores: NDArray[np.floating[Any]],
    decided: NDArray[np.bool_],
    targets: NDArray[np.int8],
    *,
    shown: int = SHOWN,
) -> Mistakes:
    """Labels that are predicted but absent, the highest score first; arrays are [N, C]."""
    return _most_confident(scores, decided & (targets == ABSENT), shown, falling=True)


def false_negatives(
    scores: NDArray[np.floating[Any]],
    decided: NDArray[np.bool_],
    targets: NDArray[np.int8],
    *,
    shown: int = SHOWN,
) -> Mistakes:
    """Labels that are present but not predicted, the lowest score first; arrays are [N, C]."""
    return _most_confident(scores, ~decided & (targets == PRESENT), shown, falling=False)


def _most_confident(
    scores: NDArray[np.floating[Any]], wrong: NDArray[np.bool_], shown: int, *, falling: bool
) -> Mistakes:
    images, labels = np.nonzero(wrong)
    values = scores[images, labels].astype(np.float64)
    order = np.argsort(-values if falling else values, kind="stable")
    counts: dict[int, int] = {}
    chosen: list[Mistake] = []
    for i in order:
        label = int(labels[i])
        counts[label] = counts.get(label, 0) + 1
        if counts[label] <= _MAX_PER_LABEL:
            chosen.append(Mistake(int(images[i]), label, float(values[i])))
        if len(chosen) == shown:
            break
    return Mistakes(tuple(chosen), len(values))
