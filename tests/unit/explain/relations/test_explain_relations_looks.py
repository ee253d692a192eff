"""Pictures of kernels and of two maps over an image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from manylabel.explain.relations.looks import FIRST, SECOND, SIDE, kernel_picture, two_maps


def test_a_kernel_is_orange_where_it_adds_and_blue_where_it_takes_away():
    drawn = np.asarray(kernel_picture(np.array([[2.0, -2.0, 0.0], [1.0, 0.0, 0.0]])))
    assert drawn.shape == (2, 3, 3)
    assert tuple(drawn[0, 0]) == FIRST
    assert tuple(drawn[0, 1]) == SECOND
    assert tuple(drawn[0, 2]) == (255, 255, 255)
    assert (drawn[0, 0] <= drawn[1, 0]).all()
    assert (drawn[1, 0] <= 255).all()


def test_a_kernel_of_zeros_is_white():
    assert (np.asarray(kernel_picture(np.zeros((3, 3)))) == 255).all()


def test_each_map_colours_its_own_place():
    image = Image.new("RGB", (50, 30), (200, 30, 30))
    first, second = np.zeros((2, 4, 4))
    first[0, 0] = second[3, 3] = 1
    drawn = np.asarray(two_maps(image, first, second)).astype(int)
    assert drawn.shape == (SIDE, SIDE, 3)
    assert np.ptp(drawn[SIDE // 8, -SIDE // 8]) <= 1  # grey: no map is there
    assert drawn[5, 5, 0] - drawn[5, 5, 2] > 100  # orange
    assert drawn[-5, -5, 2] - drawn[-5, -5, 0] > 80  # blue
    alone = np.asarray(two_maps(image, first, None)).astype(int)
    assert np.ptp(alone[-5, -5]) <= 1
