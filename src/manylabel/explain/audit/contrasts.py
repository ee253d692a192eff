"""Images with a companion beside images without it: does the model rank and decide alike there?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from manylabel.explain.audit.pairs import Pair
from manylabel.explain.audit.statistics import (
    Values,
    Weights,
    ap_at_prevalence,
    auc,
    drawn,
    rank_sum_p,
)
from manylabel.labels import ABSENT, PRESENT
from manylabel.metrics.bootstrap import Interval, interval

_AT_ONCE: Final = 2_000_000
"""The number of weights of bootstrap draws that are held at once: about 50 MB."""

Cell = Literal["both", "label_only", "companion_only", "neither"]
_CELLS: Final[dict[Cell, tuple[int, int]]] = {
    "both": (PRESENT, PRESENT),
    "label_only": (PRESENT, ABSENT),
    "companion_only": (ABSENT, PRESENT),
    "neither": (ABSENT, ABSENT),
}
"""The targets of the label and of the companion in the four groups of images."""


@final
@dataclass(frozen=True, slots=True)
class Contrast:
    """One metric on images with the companion and without it, each with a 95 % interval.

    Args:
        beside: The metric on images with the companion.
        alone: The metric on images without the companion.
        difference: `beside` minus `alone`.
    """

    beside: Interval
    alone: Interval
    difference: Interval

    def as_dict(self) -> dict[str, Any]:
        """The three intervals, ready for JSON."""
        return {
            "with_companion": self.beside.as_dict(),
            "without_companion": self.alone.as_dict(),
            "difference": self.difference.as_dict(),
        }


@final
@dataclass(frozen=True, slots=True)
class Contrasts:
    """How a label's scores differ between images with and without a companion.

    A figure is None if one of its groups of images has too few images.

    Args:
        AP: Average precision at the label's prevalence in all images.
        recall: The share of the images with the label in which it is predicted.
        false_positives: The share of the images without the label in which it is predicted.
        auc: Among images without the label: the chance that one with the companion scores higher
            than one without. 0.5 means that the companion makes no difference.
        auc_p: The p-value of the test that `auc` is 0.5; NaN without `auc`.
    """

    AP: Contrast | None
    recall: Contrast | None
    false_positives: Contrast | None
    auc: Interval | None
    auc_p: float

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON; a figure without a value is None."""
        figures = {
            "AP_at_prevalence": self.AP,
            "recall": self.recall,
            "false_positive_rate": self.false_positives,
            "negatives_AUC": self.auc,
        }
        return {name: each and each.as_dict() for name, each in figures.items()}


@final
@dataclass(frozen=True, slots=True)
class Sampling:
    """How figures are drawn: the draws of the bootstrap, its seed, the fewest images of a group."""

    draws: int
    seed: int
    fewest: int


def contrasts(
    pair: Pair,
    scores: Values,
    decided: NDArray[np.bool_],
    targets: NDArray[np.int8],
    sampling: Sampling,
) -> Contrasts:
    """Compares images with and without the companion of a pair.

    The bootstrap draws images within each of the four groups, so every draw has as many of each.

    Args:
        pair: The label and its companion.
        scores: The scores of all labels, [N, C].
        decided: The predicted labels, boolean [N, C].
        targets: [N, C] of 1, 0 and -1.
        sampling: The number of draws, and the fewest images of a group.
    """
    groups = _Groups.of(pair, scores, decided, targets)
    random = np.random.default_rng((sampling.seed, pair.label, pair.companion))
    enough: dict[Cell, bool] = {cell: groups.size(cell) >= sampling.fewest for cell in _CELLS}
    values = _figures(groups, enough, {c: np.ones((1, groups.size(c)), np.int64) for c in _CELLS})
    draws: dict[str, list[NDArray[np.float64]]] = {name: [] for name in values}
    for count in _parts(sampling.draws, len(scores)):
        weights: dict[Cell, Weights] = {
            cell: drawn(random, groups.size(cell), count) for cell in _CELLS if enough[cell]
        }
        for name, found in _figures(groups, enough, weights).items():
            draws[name].append(found)
    whole = {name: np.concatenate(parts) for name, parts in draws.items()}
    single = {name: float(value[0]) for name, value in values.items()}
    rises = "auc" in values
    return Contrasts(
        _contrast("AP", single, whole),
        _contrast("recall", single, whole),
        _contrast("false", single, whole),
        interval(single["auc"], whole["auc"]) if rises else None,
        rank_sum_p(groups.scores["companion_only"], groups.scores["neither"])
        if rises
        else float("nan"),
    )


@final
@dataclass(frozen=True, slots=True)
class _Groups:
    """The scores and decisions of a label in the four groups of images."""

    scores: dict[Cell, Values]
    decided: dict[Cell, NDArray[np.bool_]]
    prevalence: float

    @classmethod
    def of(
        cls, pair: Pair, scores: Values, decided: NDArray[np.bool_], targets: NDArray[np.int8]
    ) -> _Groups:
        own, other = targets[:, pair.label], targets[:, pair.companion]
        rows: dict[Cell, NDArray[np.intp]] = {
            cell: np.flatnonzero((own == first) & (other == second))
            for cell, (first, second) in _CELLS.items()
        }
        return cls(
            {cell: scores[found, pair.label] for cell, found in rows.items()},
            {cell: decided[found, pair.label] for cell, found in rows.items()},
            (pair.both + pair.label_only) / pair.images,
        )

    def size(self, cell: Cell) -> int:
        return len(self.scores[cell])


def _figures(
    groups: _Groups, enough: dict[Cell, bool], weights: dict[Cell, Weights]
) -> dict[str, NDArray[np.float64]]:
    """Each metric with and without the companion in each draw, as far as there are images."""
    found: dict[str, NDArray[np.float64]] = {}
    if all(enough.values()):
        found["AP beside"] = _ap(groups, weights, "both", "companion_only")
        found["AP alone"] = _ap(groups, weights, "label_only", "neither")
    if enough["both"] and enough["label_only"]:
        found["recall beside"] = _rate(groups, weights, "both")
        found["recall alone"] = _rate(groups, weights, "label_only")
    if enough["companion_only"] and enough["neither"]:
        found["false beside"] = _rate(groups, weights, "companion_only")
        found["false alone"] = _rate(groups, weights, "neither")
        scores = groups.scores["companion_only"], groups.scores["neither"]
        found["auc"] = auc(*scores, (weights["companion_only"], weights["neither"]))
    return found


def _ap(
    groups: _Groups, weights: dict[Cell, Weights], with_label: Cell, without: Cell
) -> NDArray[np.float64]:
    return ap_at_prevalence(
        groups.scores[with_label],
        groups.scores[without],
        (weights[with_label], weights[without]),
        groups.prevalence,
    )


def _rate(groups: _Groups, weights: dict[Cell, Weights], cell: Cell) -> NDArray[np.float64]:
    return weights[cell] @ groups.decided[cell].astype(np.float64) / groups.size(cell)


def _contrast(
    name: str, single: dict[str, float], draws: dict[str, NDArray[np.float64]]
) -> Contrast | None:
    beside, alone = f"{name} beside", f"{name} alone"
    if beside not in single:
        return None
    return Contrast(
        interval(single[beside], draws[beside]),
        interval(single[alone], draws[alone]),
        interval(single[beside] - single[alone], draws[beside] - draws[alone]),
    )


def _parts(draws: int, images: int) -> Iterator[int]:
    """The draws in parts, so that the weights of a part fit into little memory."""
    step = max(1, _AT_ONCE // max(1, images))
    return (min(step, draws - start) for start in range(0, draws, step))
