from __future__ import annotations

import math

import numpy as np

from manylabel.metrics.ratios import mean_or_nan, ratio


def test_a_ratio_of_nothing_is_what_the_definition_says() -> None:
    part, whole = np.array([1, 0, 3]), np.array([2, 0, 3])
    np.testing.assert_array_equal(ratio(part, whole), [0.5, np.nan, 1.0])
    np.testing.assert_array_equal(ratio(part, whole, 1.0), [0.5, 1.0, 1.0])
    assert ratio(np.int64(0), np.int64(0), 0.0) == 0.0


def test_a_mean_of_nothing_is_not_a_number() -> None:
    assert mean_or_nan(np.array([True, False])) == 0.5
    assert math.isnan(mean_or_nan(np.empty((0, 3))))
