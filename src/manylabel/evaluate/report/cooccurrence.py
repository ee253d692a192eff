"""Measures which labels occur together, in the targets and in the decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import PRESENT, UNKNOWN

SHOWN: Final = 14
"""The number of labels in a heat map. More could not be read on a page."""


@final
@dataclass(frozen=True, eq=False)
class Cooccurrence:
    """How often a label is present in the images that have another label.

    Args:
        labels: The K labels, as columns of the data set.
        true: [K, K], 0..1: the fraction of the images with the label of the row that also have the
            label of the column. NaN where no image has the label of the row.
        predicted: The same for the decisions.
    """

    labels: tuple[int, ...]
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]

    def largest_differences(self, count: int) -> list[tuple[int, int, float, float]]:
        """The pairs for which `true` and `predicted` differ most: row, column, and both values."""
        difference = np.abs(self.predicted - self.true)
        difference[~np.isfinite(difference)] = 0
        order = np.argsort(-difference, axis=None, kind="stable")[:count]
        pairs = [divmod(int(position), len(self.labels)) for position in order]
        return [
            (self.labels[a], self.labels[b], float(self.true[a, b]), float(self.predicted[a, b]))
            for a, b in pairs
            if difference[a, b] > 0
        ]


def measure_cooccurrence(
    decided: NDArray[np.bool_], targets: NDArray[np.int8], *, shown: int = SHOWN
) -> Cooccurrence:
    """Measures which of the most frequent labels occur together.

    For a pair of labels, only images with known targets for both count, also for the decisions.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.
        shown: The largest number of labels to use.
    """
    present = targets == PRESENT
    chosen = np.sort(np.argsort(-present.sum(axis=0), kind="stable")[:shown])
    known = targets[:, chosen] != UNKNOWN
    return Cooccurrence(
        tuple(chosen.tolist()),
        _fractions(present[:, chosen], known),
        _fractions(decided[:, chosen] & known, known),
    )


def _fractions(present: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows: NDArray[Any] = present.T.astype(np.float64)
    both, first = rows @ present, rows @ known
    return np.where(first == 0, np.nan, both / np.maximum(first, 1))
