"""Energy inside and IoU against slow loops over pixels, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from manylabel.explain.scores.measures import energy_inside, iou_at

CASES = [np.random.default_rng(seed) for seed in range(5)]


def slow_energy(one: np.ndarray, cover: np.ndarray) -> float:
    inside = total = 0.0
    for row in range(one.shape[0]):
        for column in range(one.shape[1]):
            value = max(0.0, float(one[row, column]))
            total += value
            inside += value * float(cover[row, column])
    return inside / total


def slow_iou(one: np.ndarray, cover: np.ndarray, share: float) -> float:
    both = either = 0.0
    for row in range(one.shape[0]):
        for column in range(one.shape[1]):
            high = bool(one[row, column] >= share * one.max())
            covered = float(cover[row, column])
            both += covered if high else 0.0
            either += 1.0 if high else covered
    return both / either


@pytest.mark.parametrize("rng", CASES)
def test_measures_equal_loops_over_pixels(rng):
    maps, cover = rng.normal(size=(3, 6, 8)), rng.random((6, 8)).round(1)
    assert energy_inside(maps, cover) == pytest.approx([slow_energy(m, cover) for m in maps])
    expected = [[slow_iou(one, cover, share) for share in (0.2, 0.5, 1.0)] for one in maps]
    assert iou_at(maps, cover, (0.2, 0.5, 1.0)) == pytest.approx(np.array(expected))


def test_a_small_case_by_hand():
    one = np.array([[[4.0, 2.0], [-8.0, 1.0]]])
    cover = np.array([[1.0, 0.5], [1.0, 0.0]])
    assert energy_inside(one, cover) == pytest.approx([5 / 7])
    # At 0.5, the two upper places are high: 1.5 of them are covered, of a region of 2.5.
    assert iou_at(one, cover, (0.5,)) == pytest.approx(np.array([[1.5 / 3.0]]))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_a_positive_value_points_nowhere(value):
    one, cover = np.full((1, 3, 3), value), np.ones((3, 3))
    assert energy_inside(one, cover).tolist() == [0]
    assert iou_at(one, cover, (0.5, 0.1)).tolist() == [[0, 0]]


def test_a_map_that_is_the_same_everywhere_has_the_area_of_the_region():
    cover = np.random.default_rng(0).random((5, 5))
    assert energy_inside(np.full((1, 5, 5), 3.0), cover) == pytest.approx([cover.mean()])
    assert iou_at(np.full((1, 5, 5), 3.0), cover, (0.5,)) == pytest.approx(cover.mean())


def test_a_region_of_no_area_has_no_iou():
    assert iou_at(np.zeros((1, 2, 2)), np.zeros((2, 2)), (0.5,)).tolist() == [[0]]
