"""Regions: which pixels they are, where else they can be, and what fills them."""

from __future__ import annotations

import numpy as np
import pytest

from manylabel.data.records import Box
from manylabel.explain.audit.regions import (
    FILLS,
    Fill,
    box_region,
    elsewhere,
    hidden,
    map_region,
    outlined,
)


def block(top: int, left: int, height: int, width: int, size=(20, 30)) -> np.ndarray:
    region = np.zeros(size, dtype=bool)
    region[top : top + height, left : left + width] = True
    return region


def test_a_box_takes_all_pixels_that_it_touches():
    found = box_region([Box("cat", 0.05, 0.26, 0.19, 0.5)], (20, 30))
    assert (found == block(5, 1, 5, 5)).all()  # x 1.5 to 5.7, y 5.2 to 10
    both = box_region([Box("cat", 0, 0, 0.1, 0.1), Box("cat", 0.9, 0.9, 1.2, 1)], (20, 30))
    assert (both == (block(0, 0, 2, 3) | block(18, 27, 2, 3))).all()


def test_a_box_without_extent_is_one_pixel_also_at_the_edge():
    assert box_region([Box("cat", 1, 1, 1, 1)], (20, 30)).sum() == 1
    assert box_region([Box("cat", -0.5, 0, -0.4, 0)], (20, 30)).sum() == 1
    assert not box_region([], (20, 30)).any()


def test_the_region_of_a_map_is_where_it_is_half_as_high():
    evidence = np.zeros((2, 3))
    evidence[0, 2] = 4.0
    found = map_region(evidence, (20, 30))
    assert found[:8, 22:].all()  # the cell is rows 0..9, columns 20..29
    assert not found[:, :14].any()
    assert not found[16:].any()


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_evidence_has_no_region(value):
    assert not map_region(np.full((3, 3), value), (20, 30)).any()


def test_every_free_place_is_drawn_and_no_other():
    region, avoid = block(2, 3, 16, 10), block(2, 3, 16, 10)
    found = {
        np.argwhere(elsewhere(region, avoid, np.random.default_rng(seed)))[0].__str__()
        for seed in range(600)
    }
    free = {
        str(np.array([top, left]))
        for top in range(5)
        for left in range(21)
        if not (block(top, left, 16, 10) & avoid).any()
    }
    assert found == free


def test_a_place_elsewhere_has_the_same_shape():
    region = block(0, 0, 3, 3) | block(5, 8, 2, 2)
    found = elsewhere(region, region, np.random.default_rng(0))
    assert found is not None
    assert not (found & region).any()
    rows, columns = np.nonzero(found)
    own_rows, own_columns = np.nonzero(region)
    assert (rows - rows.min() == own_rows - own_rows.min()).all()
    assert (columns - columns.min() == own_columns - own_columns.min()).all()


def test_without_a_free_place_it_goes_on_at_the_other_side():
    region = block(0, 10, 20, 10)  # as high as the image: free are columns 0..9 and 20..29
    avoid = block(0, 5, 20, 20)
    found = elsewhere(region, avoid, np.random.default_rng(0))
    assert found is not None
    assert found.sum() == 200
    assert (found & avoid).sum() <= 20
    assert found[:, 0].all()
    assert found[:, 29].all()


def test_a_region_that_fills_the_image_has_no_other_place():
    region = block(0, 0, 20, 25)
    assert elsewhere(region, region, np.random.default_rng(0)) is None


@pytest.mark.parametrize("fill", FILLS)
def test_only_the_region_changes(fill: Fill):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    region = block(4, 5, 7, 9)
    found = hidden(pixels, region, fill)
    assert (found[~region] == pixels[~region]).all()
    assert (found[region] != pixels[region]).mean() > 0.9
    assert found.dtype == np.uint8


def test_surroundings_hold_nothing_of_what_is_hidden():
    pixels = np.full((20, 30, 3), 90, dtype=np.uint8)
    region = block(4, 5, 7, 9)
    pixels[region] = (255, 0, 0)
    assert (hidden(pixels, region, "surroundings") == 90).all()
    blurred = hidden(pixels, region, "blur")
    assert blurred[7, 9, 0] > 120  # a blur does


def test_what_lies_beside_does_not_grow_into_the_region():
    pixels = np.full((20, 30, 3), 90, dtype=np.uint8)
    region, beside = block(4, 5, 7, 9), block(4, 14, 7, 9)
    pixels[beside] = (255, 0, 0)
    assert (hidden(pixels, region, "surroundings")[region][:, 0] > 90).any()
    found = hidden(pixels, region, "surroundings", avoid=beside)
    assert (found[region] == 90).all()
    assert (found[beside] == pixels[beside]).all()


def test_surroundings_go_on_smoothly():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (64, 64, 3))
    region = block(20, 20, 24, 24, size=(64, 64))
    found = hidden(np.ascontiguousarray(ramp), region, "surroundings").astype(int)
    middle = found[32, 20:44, 0]
    assert (np.diff(middle) >= 0).all()
    assert np.abs(found - ramp).max() < 45  # the range of the ramp in the region is 92


def test_an_image_that_is_all_hidden_stays():
    pixels = np.full((4, 4, 3), 7, dtype=np.uint8)
    assert (hidden(pixels, np.ones((4, 4), dtype=bool), "surroundings") == 7).all()


def test_an_outline_is_the_edge_of_a_region_and_no_more():
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    found = outlined(pixels, block(0, 5, 7, 9))
    edge = block(0, 5, 7, 9) & ~block(1, 6, 5, 7)
    assert (found[edge] == (255, 214, 0)).all()
    assert (found[~edge] == 0).all()
    assert (pixels == 0).all()
