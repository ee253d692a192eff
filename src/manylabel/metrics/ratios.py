"""Ratios and means that may be of nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ratio(part: Any, whole: Any, of_nothing: float = math.nan) -> NDArray[np.float64]:
    """`part` / `whole`, element by element; `of_nothing` where `whole` is 0.

    Args:
        part: Counts or sums, of any shape.
        whole: Counts, 0 or at least 1, of the same shape.
        of_nothing: What 0 / 0 is by the metric's definition.
    """
    return np.where(whole == 0, of_nothing, part / np.maximum(whole, 1))


def mean_or_nan(values: NDArray[np.floating | np.bool_]) -> float:
    """The mean of all values; NaN if there are none."""
    return float(values.mean()) if values.size else math.nan
