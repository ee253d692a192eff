"""Which labels occur together in a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from manylabel.explain.relations.significance import benjamini_hochberg, fisher
from manylabel.labels import PRESENT, UNKNOWN

_NORMAL: float = 1.959964
"""97.5 % of a normal distribution lies below this."""
_POISSON: float = 3.688879
"""An expected count above this gives 0 with a probability below 2.5 %: -log(0.025)."""


@final
@dataclass(frozen=True, eq=False)
class TogetherInData:
    """How often each two of C labels occur together. All arrays are symmetric, [C, C].

    Only images in which the targets of both labels are known count for a pair.

    Args:
        images: The number of images that count for the pair.
        first: The number of these that have the label of the row.
        both: The number of images with both labels.
        lift: P(both) / (P(one) P(other)): 1 by chance; NaN if one of the labels never occurs.
        low: The lower end of the 95 % interval of the lift.
        high: The upper end.
        phi: The correlation of the two labels, -1..1; NaN if one of them does not vary.
        p: p-values of Fisher's exact test, corrected for the number of pairs by Benjamini and
            Hochberg; NaN on the diagonal and where `phi` is NaN.
    """

    images: NDArray[np.int64]
    first: NDArray[np.int64]
    both: NDArray[np.int64]
    lift: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    phi: NDArray[np.float64]
    p: NDArray[np.float64]


def together_in_data(targets: NDArray[np.int8]) -> TogetherInData:
    """How often each two labels occur together, with intervals and tests.

    Args:
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
    """
    present = (targets == PRESENT).astype(np.float32)  # exact up to 16 million images
    known = (targets != UNKNOWN).astype(np.float32)
    images, first, both = (
        np.rint(each).astype(np.int64)
        for each in (known.T @ known, present.T @ known, present.T @ present)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = both * images / (first.astype(np.float64) * first.T)
        low, high = _interval(images, first, both, lift)
        phi = _phi(images, first, both)
    return TogetherInData(
        images, first, both, lift, low, high, phi, _tested(images, first, both, phi)
    )


def _interval(
    images: NDArray[np.int64],
    first: NDArray[np.int64],
    both: NDArray[np.int64],
    lift: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 95 % interval of the lift, by the delta method on its logarithm.

    For no image with both labels, the upper end is that of a Poisson count of 0.
    """
    n, a, b, ab = (np.asarray(each, np.float64) for each in (images, first, first.T, both))
    slope = n / ab - n / a - n / b
    variance = (ab * slope**2 / n + (a - ab) * n / a**2 + (b - ab) * n / b**2 - 1) / n
    ends = np.exp(np.stack([-1, 1])[:, None, None] * _NORMAL * np.sqrt(np.maximum(variance, 0)))
    low, high = lift * ends
    never = (both == 0) & (a > 0) & (b > 0)
    return np.where(never, 0, low), np.where(never, _POISSON * n / (a * b), high)


def _phi(
    images: NDArray[np.int64], first: NDArray[np.int64], both: NDArray[np.int64]
) -> NDArray[np.float64]:
    n, a, b = (np.asarray(each, np.float64) for each in (images, first, first.T))
    return (n * both - a * b) / np.sqrt(a * (n - a) * b * (n - b))


def _tested(
    images: NDArray[np.int64],
    first: NDArray[np.int64],
    both: NDArray[np.int64],
    phi: NDArray[np.float64],
) -> NDArray[np.float64]:
    rows, columns = np.nonzero(np.triu(np.isfinite(phi), k=1))
    raw = fisher(
        both[rows, columns],
        first[rows, columns],
        first[columns, rows],
        images[rows, columns],
    )
    p = np.full(phi.shape, np.nan)
    p[rows, columns] = p[columns, rows] = benjamini_hochberg(raw)
    return p
