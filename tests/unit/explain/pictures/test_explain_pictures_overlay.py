"""Overlays: what the pixels are where a map is 0, where it is 1, and between."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from manylabel.explain.pictures.overlay import (
    BRIGHTNESS,
    OPACITY,
    blend,
    colour_bar,
    colour_of,
    enlarged,
)

MAP = np.array([[0.0, 0.25, 0.5], [1.0, 0.75, 0.0]])


def colours(*rgb: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGB", size, rgb)


def noise(size: tuple[int, int] = (60, 40)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


@pytest.mark.parametrize("style", ["smooth", "grid"])
def test_without_evidence_the_image_stays_nearly_as_it_is(style):
    image = noise()
    drawn = blend(image, np.zeros((3, 4)), style)
    assert np.abs(array(drawn.convert("L")) - 0.94 * array(image.convert("L"))).max() <= 2
    assert np.abs(array(drawn) - array(image)).mean() < 35
    red = array(blend(colours(200, 40, 40), np.zeros((3, 4)), style))[0, 0]
    assert red[0] > 150 > 100 > red[1]  # it is still red
    grey = array(blend(colours(100, 100, 100), np.zeros((3, 4)), style))
    assert np.abs(grey - 100 * BRIGHTNESS).max() <= 1


def test_the_strongest_place_has_the_last_colour_over_the_image():
    """By hand: 0.8 of plasma's yellow, and 0.2 of the image, which is a little darker."""
    drawn = array(blend(colours(100, 100, 100), MAP, "grid"))
    end = np.array(colormaps["plasma"](1.0)[:3]) * 255
    assert np.abs(drawn[25:38, 3:17] - (0.8 * end + 0.2 * 94)).max() <= 2
    assert OPACITY == 0.8
    assert tuple(np.round(end)) == colour_of(1.0)


def test_each_cell_of_a_grid_is_one_block_and_covers_more_the_stronger_it_is():
    drawn = array(blend(colours(0, 0, 255), MAP, "grid"))
    blocks = [drawn[r * 20 : r * 20 + 20, c * 20 : c * 20 + 20] for r in (0, 1) for c in (0, 1, 2)]
    assert all((block == block[0, 0]).all() for block in blocks)
    blue = dict(zip(MAP.ravel().tolist(), (block[0, 0, 2] for block in blocks), strict=True))
    assert blue[0.0] > blue[0.25] > blue[0.5] > blue[0.75] > blue[1.0]


def test_the_colours_are_even_steps_of_lightness():
    """CIE lightness of 11 strengths rises by nearly equal steps, so no step looks like an edge."""
    srgb = np.array([colour_of(step / 10) for step in range(11)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    steps = np.diff(lightness)
    assert steps.min() > 0.6 * steps.mean() > 0
    assert steps.max() < 1.6 * steps.mean()


def test_smooth_maps_have_the_values_of_the_cells_at_their_centres():
    large = enlarged(MAP, (90, 60), "smooth")
    assert large.shape == (60, 90)
    for row in range(2):
        for column in range(3):
            assert large[row * 30 + 15, column * 30 + 15] == pytest.approx(
                MAP[row, column], abs=0.06
            )
    assert large.min() >= 0
    assert large.max() <= 1
    assert np.abs(np.diff(large, axis=1)).max() < 0.1  # no edges, unlike the grid's
    assert np.abs(np.diff(enlarged(MAP, (90, 60), "grid"), axis=1)).max() > 0.2


def test_the_contour_of_smooth_maps_runs_where_the_map_is_half_its_maximum():
    ramp = np.linspace(0, 1, 11)[None].repeat(11, axis=0)
    drawn = array(blend(colours(0, 0, 0, size=(550, 550)), ramp, "smooth"))
    middle = drawn[275]
    white = np.flatnonzero(middle.min(axis=1) > 180)
    assert 1 <= len(white) <= 4
    assert 265 <= white.min() <= white.max() <= 285  # half of the way
    grid = array(blend(colours(0, 0, 0, size=(550, 550)), ramp, "grid"))
    assert not (grid[275].min(axis=1) > 180).any()


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1), (2000, 40)])
@pytest.mark.parametrize("style", ["smooth", "grid"])
def test_images_of_any_shape_keep_their_size(size, style):
    assert blend(noise(size), MAP, style).size == size


def test_the_bar_goes_from_grey_to_the_last_colour():
    bar = array(colour_bar((200, 6)))
    assert np.ptp(bar[3, 0]) <= 8
    assert np.abs(bar[3, -1] - (0.8 * np.array(colour_of(1)) + 0.2 * 150 * BRIGHTNESS)).max() <= 2
    assert (np.diff(bar[3, :, 2]) <= 1).all() or bar[3, -1, 2] < bar[3, 0, 2]
