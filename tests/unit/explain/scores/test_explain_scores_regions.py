"""Regions of boxes and of masks, against fine grids and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from manylabel.data.records import Box
from manylabel.explain.scores.regions import BoxRegions, MaskRegions, union_area


def area_by_grid(boxes: list[Box], cells: int) -> np.ndarray:
    centres = (np.arange(cells) + 0.5) / cells
    x, y = centres[None, :], centres[:, None]
    covered = np.zeros((cells, cells), dtype=bool)
    for box in boxes:
        covered |= (box.left <= x) & (x < box.right) & (box.top <= y) & (y < box.bottom)
    return covered


def random_boxes(seed: int) -> list[Box]:
    # All edges lie on a grid of 40, so that counting its cells is exact.
    rng = np.random.default_rng(seed)
    x, y = (np.sort(rng.integers(0, 41, (6, 2)), axis=1) / 40 for _ in range(2))
    return [Box("cat", *x0y0) for x0y0 in zip(x[:, 0], y[:, 0], x[:, 1], y[:, 1], strict=True)]


@pytest.mark.parametrize("seed", range(8))
def test_union_area_equals_a_fine_grid(seed):
    boxes = random_boxes(seed)
    assert union_area(boxes) == pytest.approx(area_by_grid(boxes, 40).mean())


def test_union_area_is_clipped_to_the_image():
    assert union_area([Box("cat", -0.5, 0.5, 0.5, 1.5)]) == pytest.approx(0.25)
    assert union_area([Box("cat", 1.2, 0.5, 1.5, 1.5)]) == 0
    assert union_area([]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_cover_of_boxes_equals_a_fine_grid(seed):
    boxes = random_boxes(seed)
    fine = area_by_grid(boxes, 40).reshape(8, 5, 8, 5).mean(axis=(1, 3))
    assert BoxRegions(boxes).cover("cat", 8) == pytest.approx(fine)
    # 40 does not divide 7, but the exact area stays.
    assert BoxRegions(boxes).cover("cat", 7).mean() == pytest.approx(union_area(boxes))


def test_boxes_hold_their_edges_and_keep_labels_apart():
    regions = BoxRegions([Box("cat", 0, 0, 0.5, 0.5), Box("dog", 0.5, 0.5, 1, 1)])
    assert regions.labels() == {"cat", "dog"}
    assert regions.holds("cat", 0.5, 0.5)
    assert not regions.holds("cat", 0.51, 0.5)
    assert regions.cover("dog", 2).tolist() == [[0, 0], [0, 1]]


MASK = np.array([[0, 0, 1, 1], [0, 2, 1, 255]], dtype=np.uint8)


def test_a_mask_has_the_labels_whose_class_is_in_it():
    assert MaskRegions(MASK, {"cat": 1, "dog": 2, "owl": 3}).labels() == {"cat", "dog"}


def test_a_point_is_in_the_pixel_around_it():
    regions = MaskRegions(MASK, {"cat": 1, "dog": 2})
    for row in range(2):
        for column in range(4):
            x, y = (column + 0.5) / 4, (row + 0.5) / 2
            assert regions.holds("cat", x, y) == (MASK[row, column] == 1)
    assert not regions.holds("cat", 1.0, 1.0)  # the last pixel, not one behind it
    assert regions.holds("cat", 1.0, 0.0)


def test_the_cover_of_a_mask_is_exact_on_any_grid():
    regions = MaskRegions(MASK, {"cat": 1, "dog": 2})
    assert regions.cover("cat", 2) == pytest.approx(np.array([[0, 1], [0, 0.5]]))
    assert regions.cover("cat", 4) == pytest.approx(np.repeat(MASK == 1, 2, axis=0) * 1.0)
    assert regions.cover("dog", 3).mean() == pytest.approx(1 / 8)


def test_boxes_and_a_mask_of_the_same_rectangles_agree():
    boxes = random_boxes(3)
    mask = area_by_grid(boxes, 40).astype(np.uint8)
    own = MaskRegions(mask, {"cat": 1}).cover("cat", 14)
    assert own == pytest.approx(BoxRegions(boxes).cover("cat", 14), abs=1e-6)
