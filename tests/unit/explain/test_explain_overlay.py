"""Overlays: colours of panels at given cells, layout, titles, choice of labels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from manylabel.explain.overlay import (
    PANEL,
    Panels,
    attention_gallery,
    blend,
    choose_labels,
    draw_overlay,
    to_png,
)

GREY = (100, 100, 100)
MAP = np.array([[0.0, 0.1, 0.2], [0.4, 0.3, -1.0]])


def jet_over_grey(value: float) -> np.ndarray:
    return (np.array(colormaps["jet"](float(value))[:3]) * 255 + np.array(GREY)) / 2


def test_each_position_is_one_block_of_its_colour():
    pixels = np.asarray(blend(Image.new("RGB", (60, 20), GREY), MAP)).astype(int)
    for row in range(2):
        for column in range(3):
            block = pixels[row * 10 : row * 10 + 10, column * 20 : column * 20 + 20]
            expected = jet_over_grey(max(MAP[row, column], 0) / 0.4)
            assert np.abs(block - expected).max() <= 2


def test_a_map_without_evidence_is_all_cold():
    pixels = np.asarray(blend(Image.new("RGB", (8, 8), GREY), -np.ones((2, 2)))).astype(int)
    assert np.abs(pixels - jet_over_grey(0)).max() <= 2


def test_panels_keep_the_photos_aspect_ratio_and_follow_it_in_a_row():
    sheet = draw_overlay(Image.new("RGB", (80, 40), GREY), np.stack([MAP, -MAP]), ["a 1", "b 0"])
    pixels = np.asarray(sheet).astype(int)
    column = np.abs(pixels - GREY).max(2)[:, 20] <= 1  # through the photo
    assert column.sum() == PANEL // 2
    row = pixels[np.flatnonzero(column)[-1]]  # through the last row of all three panels
    photo, first, second = (row[20 + i * (PANEL + 10)] for i in range(3))
    assert np.abs(photo - GREY).max() <= 1
    assert np.abs(first - jet_over_grey(1)).max() <= 2  # MAP's bottom left is its maximum
    assert np.abs(second - jet_over_grey(0)).max() <= 2


def test_many_labels_make_several_rows():
    image = Image.new("RGB", (40, 40), GREY)
    four = draw_overlay(image, np.stack([MAP] * 3), ["a 1"] * 3)
    five = draw_overlay(image, np.stack([MAP] * 4), ["a 1"] * 4)
    assert five.width == four.width
    assert five.height > 2 * PANEL > four.height


def test_a_gallery_has_a_row_an_image():
    rows = [
        Panels(Image.new("RGB", (40, 40), GREY), np.stack([MAP] * 2), ["a 1", "b 0"]),
        Panels(Image.new("RGB", (40, 20), GREY), np.stack([MAP] * 5), ["c 1"] * 5, "cat, dog"),
    ]
    sheet = attention_gallery(rows)
    assert sheet.width > 6 * PANEL
    assert 1.5 * PANEL < sheet.height < 2 * PANEL


@pytest.mark.parametrize("title", ["$x^2$ 0.5", "猫 0.5", "a" * 200 + " 0.5", "", "\n\t 0.5"])
def test_any_title_can_be_drawn(title):
    image = Image.new("RGB", (4, 40), GREY)
    assert draw_overlay(image, MAP[None], [title]).size == draw_overlay(image, MAP[None], [""]).size


def test_a_long_title_is_cut_but_keeps_its_score():
    image = Image.new("RGB", (40, 40), GREY)
    sheets = [
        np.asarray(draw_overlay(image, MAP[None], ["label " * 20 + score]))
        for score in ("0.11", "0.77")
    ]
    changed = np.flatnonzero((sheets[0] != sheets[1]).any((0, 2)))
    assert len(changed) > 0
    assert changed.min() > 2 * PANEL - 60  # at the right end of the second panel's title


def test_to_png_gives_a_png_of_the_same_pixels():
    sheet = draw_overlay(Image.new("RGB", (40, 40), GREY), MAP[None], ["a 1"])
    again = Image.open(io.BytesIO(to_png(sheet)))
    assert again.format == "PNG"
    assert np.array_equal(np.asarray(again), np.asarray(sheet))


@pytest.mark.parametrize(
    ("scores", "thresholds", "most", "expected"),
    [
        ([0.9, 0.1, 0.6, 0.3, 0.2], 0.5, 11, [0, 2, 3]),  # two predicted, filled up to three
        ([0.9, 0.8, 0.6, 0.7, 0.2], 0.5, 11, [0, 1, 3, 2]),  # four predicted
        ([0.9, 0.8, 0.6, 0.7, 0.2], 0.5, 3, [0, 1, 3]),
        ([0.5, 0.4], 0.5, 11, [0, 1]),  # fewer labels than three
        ([0.9, 0.2, 0.6, 0.4], [0.95, 0.1, 0.5, 0.5], 11, [2, 1, 0]),  # predicted ones first
        ([0.5, 0.5, 0.5, 0.5], 0.6, 11, [0, 1, 2]),
    ],
)
def test_labels_worth_showing(scores, thresholds, most, expected):
    limits = np.broadcast_to(np.array(thresholds), len(scores))
    assert choose_labels(np.array(scores), np.array(scores) >= limits, most=most) == expected
