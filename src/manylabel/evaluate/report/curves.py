"""Counts right and wrong decisions of each label on a grid of thresholds.

The counts are exact at each threshold of the grid. So a page that holds them needs no scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import PRESENT, UNKNOWN

MOST_POINTS: Final = 200
"""The largest number of thresholds of a label. More could not be distinguished on a screen."""

_LEAST_POINTS: Final = 8
_ALL_POINTS: Final = 120_000
"""The largest number of thresholds of all labels together: about 3 MB of text."""


@final
@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """The counts of a label's decisions at K thresholds.

    Args:
        thresholds: [K], rising, 0..1; the label is predicted if its score reaches the threshold.
        right: [K], images for which the label is predicted and present (true positives).
        wrong: [K], images for which the label is predicted and absent (false positives).
        own: The position of the label's own threshold in `thresholds`.
    """

    thresholds: NDArray[np.float64]
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]
    own: int

    def as_list(self) -> list[Any]:
        """`thresholds`, `right`, `wrong` and `own`, ready for JSON."""
        tables = (self.thresholds, self.right, self.wrong)
        return [*(table.tolist() for table in tables), self.own]


def points_for(curves: int) -> int:
    """The largest number of thresholds of each curve, for this number of curves."""
    return int(np.clip(_ALL_POINTS // max(1, curves), _LEAST_POINTS, MOST_POINTS))


def threshold_curve(
    scores: NDArray[np.floating[Any]],
    targets: NDArray[np.int8],
    own: float,
    *,
    points: int = MOST_POINTS,
) -> ThresholdCurve:
    """Counts the decisions of one label on a grid of thresholds; unknown targets are left out.

    Args:
        scores: [N], 0..1.
        targets: [N] of 1, 0 and -1.
        own: The label's own threshold, 0..1; it is in the grid.
        points: The largest number of thresholds, 8 or more.
    """
    known = targets != UNKNOWN
    known_scores = np.sort(scores[known].astype(np.float64))
    positive = np.sort(scores[targets == PRESENT].astype(np.float64))
    grid = _grid(known_scores, positive, own, points)
    right = len(positive) - np.searchsorted(positive, grid, side="left")
    predicted = len(known_scores) - np.searchsorted(known_scores, grid, side="left")
    own_position = int(np.searchsorted(grid, own))
    wrong = (predicted - right).astype(np.int64)
    return ThresholdCurve(grid, right.astype(np.int64), wrong, own_position)


def _grid(
    known_scores: NDArray[np.float64], positive: NDArray[np.float64], own: float, points: int
) -> NDArray[np.float64]:
    """A grid of thresholds that includes the label's own.

    Half of them are where recall changes, a quarter are quantiles of all scores, and a quarter are
    evenly spaced. All except the label's own are rounded, so that the page is small.
    """
    quarter = (points - 1) // 4
    wanted = np.concatenate(
        [
            np.linspace(0, 1, quarter),
            _spread(known_scores, quarter),
            _spread(positive, points - 1 - 2 * quarter),
        ]
    )
    return np.unique(np.array([*map(_rounded_down, wanted.tolist()), own]))


def _spread(ordered: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """At most `count` of the sorted values, evenly spaced by rank, with the first and the last."""
    if len(ordered) <= count:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, count).round().astype(np.intp)]


def _rounded_down(value: float) -> float:
    """The score rounded down to six digits, so that the score still reaches this threshold."""
    rounded = float(f"{value:.6g}")
    return rounded if rounded <= value else float(f"{value * (1 - 1e-5):.6g}")
