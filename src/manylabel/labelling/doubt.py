"""Which photographs the model is least sure of, so that a person looks at those first.

A label is decided by comparing its score with its threshold. The *doubt* about this decision is
1 / (1 + exp(d)), where d is the distance between score and threshold in logits. It is 0.5 at the
threshold and falls to 0 far from it. If logits were calibrated around the threshold, it would be
the probability that the decision is wrong.

The doubt about a photograph is the sum over its `WORST` labels. All labels would not do: with
hundreds of them, the many small doubts would hide the few that matter.

One label that is hard everywhere would fill the page. So photographs are chosen one after another,
and what is already chosen about a label makes more of it count less: its doubts are divided by
1 + n, where n is the sum of twice its doubts in the photographs that are chosen. A label that was
shown once at its threshold counts half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

WORST: Final = 3
"""So many labels of a photograph count."""
_LEAST: Final = 1e-6
"""Scores and thresholds are at least so far from 0 and 1, so that their logits are finite."""


def doubt(scores: ArrayLike, thresholds: ArrayLike) -> NDArray[np.float64]:
    """The doubt about each decision, [N, C], 0..0.5.

    Args:
        scores: [N, C], 0..1.
        thresholds: [C], 0..1.
    """
    return 1 / (1 + np.exp(np.abs(_logit(scores) - _logit(thresholds))))


@final
class Doubts:
    """Collects the doubts about many photographs in a few numbers for each.

    Args:
        thresholds: The threshold of each label, [C], 0..1.
    """

    def __init__(self, thresholds: Sequence[float]) -> None:
        self._thresholds = np.asarray(thresholds, dtype=np.float64)
        self._labels: list[NDArray[np.int32]] = []
        self._doubts: list[NDArray[np.float32]] = []

    def add(self, scores: NDArray[Any]) -> None:
        """Add a photograph by its scores [C], 0..1."""
        all_of_it = doubt(scores, self._thresholds)
        worst = np.argsort(-all_of_it, kind="stable")[:WORST]
        self._labels.append(worst.astype(np.int32))
        self._doubts.append(all_of_it[worst].astype(np.float32))

    def first(self, count: int) -> list[int]:
        """The positions of the photographs to look at first, the most doubtful first.

        Args:
            count: How many; fewer if fewer were added.
        """
        labels, doubts = np.array(self._labels), np.array(self._doubts)
        shown = np.zeros(len(self._thresholds))
        left, chosen = np.ones(len(labels), dtype=bool), list[int]()
        for _ in range(min(count, len(labels))):
            gains = np.where(left, (doubts / (1 + shown[labels])).sum(axis=1), -1)
            best = int(gains.argmax())
            left[best] = False
            chosen.append(best)
            shown[labels[best]] += 2 * doubts[best]
        return chosen


def _logit(values: ArrayLike) -> NDArray[np.float64]:
    inside = np.clip(np.asarray(values, dtype=np.float64), _LEAST, 1 - _LEAST)
    return np.log(inside) - np.log1p(-inside)
