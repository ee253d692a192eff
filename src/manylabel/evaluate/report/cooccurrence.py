"""Which labels come together, in truth and as predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import PRESENT, UNKNOWN

SHOWN: Final = 14
"""Labels of a heat map; more cannot be read on a page."""


@final
@dataclass(frozen=True, eq=False)
class Together:
    """How often a label is there where another one is.

    Args:
        labels: The K columns of the data set that are looked at.
        true: [K, K], 0..1: of the images with the row's label, the share that has the column's.
        predicted: The same of the decisions. NaN where no image has the row's label.
    """

    labels: tuple[int, ...]
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]

    def gaps(self, count: int) -> list[tuple[int, int, float, float]]:
        """The pairs that truth and decisions differ most in: row, column, true and predicted."""
        gap = np.abs(self.predicted - self.true)
        gap[~np.isfinite(gap)] = 0
        order = np.argsort(-gap, axis=None, kind="stable")[:count]
        pairs = [divmod(int(place), len(self.labels)) for place in order]
        return [
            (self.labels[a], self.labels[b], float(self.true[a, b]), float(self.predicted[a, b]))
            for a, b in pairs
            if gap[a, b] > 0
        ]


def together(
    decided: NDArray[np.bool_], targets: NDArray[np.int8], *, shown: int = SHOWN
) -> Together:
    """Of the most frequent labels, which come together.

    An image counts for a pair where both of its targets are known, in truth and decisions alike.

    Args:
        decided: [N, C].
        targets: [N, C] of 1, 0 and -1.
        shown: At most so many labels.
    """
    present = targets == PRESENT
    chosen = np.sort(np.argsort(-present.sum(axis=0), kind="stable")[:shown])
    known = targets[:, chosen] != UNKNOWN
    return Together(
        tuple(chosen.tolist()),
        _shares(present[:, chosen], known),
        _shares(decided[:, chosen] & known, known),
    )


def _shares(there: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows: NDArray[Any] = there.T.astype(np.float64)
    both, first = rows @ there, rows @ known
    return np.where(first == 0, np.nan, both / np.maximum(first, 1))
