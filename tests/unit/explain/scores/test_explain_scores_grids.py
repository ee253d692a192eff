"""Sizes of maps against Pillow, the map at the centre, and overlaps against counting."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from manylabel.explain.scores.grids import CENTRE_SIGMA, centre_map, overlaps, resized


@pytest.mark.parametrize("shape", [(7, 7), (14, 14), (5, 9), (56, 56), (100, 60), (1, 3)])
def test_sizes_are_changed_as_in_pillow(shape):
    one = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    pillow = Image.fromarray(one).resize((56, 56), Image.Resampling.BILINEAR)
    assert resized(one, 56, 56) == pytest.approx(np.asarray(pillow), abs=1e-5)


def test_many_maps_are_resized_at_once():
    maps = np.random.default_rng(0).normal(size=(2, 3, 7, 5))
    found = resized(maps, 10, 20)
    assert found.shape == (2, 3, 10, 20)
    assert found[1, 2] == pytest.approx(resized(maps[1, 2], 10, 20))


def test_the_map_at_the_centre_is_a_gaussian_stretched_to_the_image():
    found = centre_map(4, 8)
    for row in range(4):
        for column in range(8):
            y, x = (row + 0.5) / 4 - 0.5, (column + 0.5) / 8 - 0.5
            expected = np.exp(-(x * x + y * y) / (2 * CENTRE_SIGMA**2))
            assert found[row, column] == pytest.approx(expected)


def test_overlaps_equal_counting_fine_points():
    edges = np.array([0.1, 0.35, 0.9])
    points = (np.arange(12_000) + 0.5) / 12_000
    counted = [
        [((points >= low) & (points < high))[part * 2000 : part * 2000 + 2000].mean() for low, high
         in zip(edges[:-1], edges[1:], strict=True)]
        for part in range(6)
    ]  # fmt: skip
    assert overlaps(edges, 6) == pytest.approx(np.array(counted), abs=1e-3)
