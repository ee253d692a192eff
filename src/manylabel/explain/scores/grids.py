"""Maps of one size: every map is enlarged to the same grid before it is measured."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

GRID: Final = 56
"""The rows and columns of the grid on which maps and regions are compared. The usual sizes of maps
(7, 14, 28) divide it."""

CENTRE_SIGMA: Final = 0.25
"""The standard deviation of the fixed map at the centre, as a fraction of each side."""


def resized(maps: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """Maps [..., H, W] at another size, [..., height, width], by bilinear interpolation.

    A smaller size is antialiased. Both are as in Pillow and in torch with `antialias`.
    """
    rows = _weights(maps.shape[-2], height)
    columns = _weights(maps.shape[-1], width)
    return rows @ maps.astype(np.float64) @ columns.T


def centre_map(height: int, width: int) -> NDArray[np.float64]:
    """A Gaussian at the centre, stretched to the shape of the image: [height, width], below 1.

    It knows nothing about the image. So it is the map to beat where objects lie in the middle.

    Source: T. Judd, F. Durand, A. Torralba, "A Benchmark of Computational Models of Saliency to
    Predict Human Fixations", MIT 2012: the baseline "centre".
    """
    down, across = (
        np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / CENTRE_SIGMA) ** 2)
        for side in (height, width)
    )
    return np.outer(down, across)


def overlaps(edges: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """How much of each of `cells` equal parts of 0..1 lies between two neighbouring edges, 0..1.

    Args:
        edges: Rising numbers [E], 0..1.
        cells: The number of parts.

    Returns:
        [cells, E - 1].
    """
    low = np.arange(cells)[:, None] / cells
    inside = np.minimum(edges[1:], low + 1 / cells) - np.maximum(edges[:-1], low)
    return inside.clip(0) * cells


@cache
def _weights(source: int, target: int) -> NDArray[np.float64]:
    """What each of `source` positions adds to each of `target` positions, [target, source]."""
    centres = (np.arange(target) + 0.5) / target * source - 0.5
    reach = max(1.0, source / target)
    distance = np.abs(centres[:, None] - np.arange(source)) / reach
    weights = (1 - distance).clip(0)
    weights /= weights.sum(axis=1, keepdims=True)
    weights.flags.writeable = False
    return weights
