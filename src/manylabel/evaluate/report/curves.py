"""What a threshold would do: right and wrong decisions of each label on a grid of thresholds.

The counts are exact at each threshold of the grid, so a page that holds them needs no scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import PRESENT, UNKNOWN

MOST_POINTS: Final = 200
"""Thresholds of a label; more could not be told apart on a screen."""

_LEAST_POINTS: Final = 8
_ALL_POINTS: Final = 120_000
"""Thresholds of all labels: some 3 MB of text."""


@final
@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """A label's decisions under K thresholds.

    Args:
        thresholds: [K], rising, 0..1; a score that reaches it is a decision for the label.
        right: [K], images decided for the label that have it.
        wrong: [K], images decided for the label that do not.
        own: Which of the K is the label's own threshold.
    """

    thresholds: NDArray[np.float64]
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]
    own: int

    def as_list(self) -> list[Any]:
        """Thresholds, right, wrong and own, ready for JSON."""
        tables = (self.thresholds, self.right, self.wrong)
        return [*(table.tolist() for table in tables), self.own]


def points_for(curves: int) -> int:
    """How many thresholds each of so many curves may have."""
    return int(np.clip(_ALL_POINTS // max(1, curves), _LEAST_POINTS, MOST_POINTS))


def threshold_curve(
    scores: NDArray[np.floating[Any]],
    targets: NDArray[np.int8],
    own: float,
    *,
    points: int = MOST_POINTS,
) -> ThresholdCurve:
    """The decisions of one label; unknown targets are left out.

    Args:
        scores: [N], 0..1.
        targets: [N] of 1, 0 and -1.
        own: The label's own threshold, 0..1; it is one of the grid.
        points: At most so many thresholds, 8 or more.
    """
    known = targets != UNKNOWN
    every = np.sort(scores[known].astype(np.float64))
    positive = np.sort(scores[targets == PRESENT].astype(np.float64))
    grid = _grid(every, positive, own, points)
    right = len(positive) - np.searchsorted(positive, grid, side="left")
    predicted = len(every) - np.searchsorted(every, grid, side="left")
    at = int(np.searchsorted(grid, own))
    return ThresholdCurve(grid, right.astype(np.int64), (predicted - right).astype(np.int64), at)


def _grid(
    every: NDArray[np.float64], positive: NDArray[np.float64], own: float, points: int
) -> NDArray[np.float64]:
    """Half of the thresholds where recall changes, a quarter by rank, a quarter evenly spaced.

    They are rounded, which is short to write; only the label's own is not.
    """
    quarter = (points - 1) // 4
    wanted = np.concatenate(
        [
            np.linspace(0, 1, quarter),
            _spread(every, quarter),
            _spread(positive, points - 1 - 2 * quarter),
        ]
    )
    return np.unique(np.array([*map(_rounded_down, wanted.tolist()), own]))


def _spread(ordered: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """At most so many of the values, evenly by rank, both ends among them."""
    if len(ordered) <= count:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, count).round().astype(np.intp)]


def _rounded_down(value: float) -> float:
    """Six digits of a score, never above it: what has the score still reaches the threshold."""
    rounded = float(f"{value:.6g}")
    return rounded if rounded <= value else float(f"{value * (1 - 1e-5):.6g}")
