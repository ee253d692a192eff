"""The mistakes that a model was surest of: where model or truth are most worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import ABSENT, PRESENT

SHOWN: Final = 12
"""Mistakes of either kind."""

_OF_A_LABEL: Final = 3
"""So that one bad label does not fill the page."""


@final
@dataclass(frozen=True, slots=True)
class Mistake:
    """A label that was wrongly decided in an image: its row, its column and its score."""

    image: int
    label: int
    score: float


@final
@dataclass(frozen=True, slots=True)
class Mistakes:
    """The surest mistakes of a kind, and how many there are.

    Args:
        shown: The surest, of no label more than three.
        total: All of that kind.
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
    """Labels that were decided for and are absent, the highest score first; all [N, C]."""
    return _surest(scores, decided & (targets == ABSENT), shown, falling=True)


def false_negatives(
    scores: NDArray[np.floating[Any]],
    decided: NDArray[np.bool_],
    targets: NDArray[np.int8],
    *,
    shown: int = SHOWN,
) -> Mistakes:
    """Labels that are present and were not decided for, the lowest score first; all [N, C]."""
    return _surest(scores, ~decided & (targets == PRESENT), shown, falling=False)


def _surest(
    scores: NDArray[np.floating[Any]], wrong: NDArray[np.bool_], shown: int, *, falling: bool
) -> Mistakes:
    images, labels = np.nonzero(wrong)
    values = scores[images, labels].astype(np.float64)
    order = np.argsort(-values if falling else values, kind="stable")
    seen: dict[int, int] = {}
    chosen: list[Mistake] = []
    for place in order:
        label = int(labels[place])
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= _OF_A_LABEL:
            chosen.append(Mistake(int(images[place]), label, float(values[place])))
        if len(chosen) == shown:
            break
    return Mistakes(tuple(chosen), len(values))
