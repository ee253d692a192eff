"""Drawings as pixels: each part is where it should be, in its colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from manylabel.explain.pictures.drawing import Drawing, Group, Raster, Rect, Shape, Text
from manylabel.explain.pictures.raster import rendered, to_pixels


def drawing(*parts, paper="#ffffff") -> Drawing:
    return Drawing(width=40, height=30, paper=paper, parts=parts, title="t", says="s")


def pixels(*parts, scale: float = 2, paper="#ffffff") -> np.ndarray:
    return np.asarray(rendered(drawing(*parts, paper=paper), scale)).astype(int)


def where(image: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels of a colour; right and bottom are outside."""
    rows, columns = np.nonzero((image == colour).all(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("scale", [1, 1.5, 2])
def test_the_size_follows_the_scale(scale):
    assert rendered(drawing(), scale).size == (round(40 * scale), round(30 * scale))


def test_a_filled_rectangle():
    image = pixels(Rect(x=5, y=6, width=10, height=4, fill="#ff0000"))
    assert where(image, (255, 0, 0)) == (10, 12, 30, 20)
    assert (image == (255, 0, 0)).all(axis=2).sum() == 20 * 8


def test_a_line_lies_on_the_edge_of_its_rectangle():
    image = pixels(Rect(x=5, y=6, width=10, height=4, stroke="#ff0000", line=2))
    assert where(image, (255, 0, 0)) == (8, 10, 32, 22)  # one unit further on each side
    assert (image[14:18, 14:28] == 255).all()  # the inside is free


def test_an_empty_rectangle_is_not_drawn():
    assert (pixels(Rect(x=5, y=6, width=0, height=4, fill="#ff0000")) == 255).all()


def test_an_image_fills_its_place():
    red = Image.new("RGB", (3, 3), "red")
    image = pixels(Raster(x=10, y=2, width=8, height=4, image=red))
    assert where(image, (255, 0, 0)) == (20, 4, 36, 12)


def test_a_shape_has_smooth_edges_and_leaves_its_surroundings():
    triangle = Shape(points=[(10, 20), (20, 5), (30, 20)], fill="#ff0000")
    image = pixels(triangle, paper="#0000ff")
    kinds = {tuple(each) for each in image.reshape(-1, 3)}
    assert {(255, 0, 0), (0, 0, 255)} < kinds  # and mixtures between
    assert tuple(image[36, 40]) == (255, 0, 0)
    area = (image[..., 0] / 255).sum() / 4
    assert area == pytest.approx(20 * 15 / 2, rel=0.08)


def test_text_stands_at_its_base_line_and_ends_where_it_should():
    left = pixels(Text(x=4, y=20, text="Ell", size=12, colour="#000000"))
    dark = np.nonzero(left.min(axis=2) < 128)
    assert dark[0].max() + 1 == 40  # the base line, at twice 20
    assert 8 <= dark[1].min() <= 12
    right = pixels(Text(x=36, y=20, text="Ell", size=12, colour="#000000", at_end=True))
    assert 68 <= np.nonzero(right.min(axis=2) < 128)[1].max() <= 72


def test_parts_of_a_group_are_drawn_and_later_ones_lie_above():
    one = Rect(x=0, y=0, width=40, height=30, fill="#ff0000")
    two = Rect(x=0, y=0, width=20, height=30, fill="#00ff00")
    image = pixels(Group("both", [one, two]))
    assert tuple(image[5, 5]) == (0, 255, 0)
    assert tuple(image[5, 60]) == (255, 0, 0)


def test_files_hold_the_same_picture():
    whole = drawing(Rect(x=5, y=6, width=10, height=4, fill="#ff0000"))
    png = Image.open(io.BytesIO(to_pixels(whole, "png", 2)))
    jpg = Image.open(io.BytesIO(to_pixels(whole, "jpg", 2)))
    assert (png.format, jpg.format) == ("PNG", "JPEG")
    assert np.array_equal(np.asarray(png), np.asarray(rendered(whole, 2)))
    assert np.abs(np.asarray(jpg).astype(int) - np.asarray(png)).mean() < 5
