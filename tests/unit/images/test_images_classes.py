"""Masks of classes: the numbers as they are stored, in all formats that hold them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from manylabel.errors import ImageError
from manylabel.images.classes import load_classes

CLASSES = np.random.default_rng(0).integers(0, 60, (9, 13)).astype(np.uint8)


def test_grey_values_are_the_numbers(tmp_path):
    Image.fromarray(CLASSES).save(tmp_path / "mask.png")
    assert (load_classes(tmp_path / "mask.png") == CLASSES).all()


def test_of_a_palette_the_positions_are_the_numbers(tmp_path):
    mask = Image.fromarray(CLASSES, mode=None).convert("P")
    mask.putdata(CLASSES.ravel().tolist())
    mask.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    mask.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        assert saved.mode == "P"
    assert (load_classes(tmp_path / "mask.png") == CLASSES).all()


def test_numbers_of_16_bits(tmp_path):
    wide = CLASSES.astype(np.uint16) * 300
    Image.fromarray(wide).save(tmp_path / "mask.png")
    found = load_classes(tmp_path / "mask.png")
    assert found.dtype == np.uint16
    assert (found == wide).all()


def test_one_bit_is_class_0_or_1(tmp_path):
    Image.fromarray(CLASSES > 30).save(tmp_path / "mask.png")
    assert (load_classes(tmp_path / "mask.png") == (CLASSES > 30)).all()


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        ("mask.png", np.zeros((5, 5, 3), dtype=np.uint8), "PNG of mode RGB"),
        ("mask.jpg", np.zeros((5, 5), dtype=np.uint8), "JPEG of mode L"),
    ],
)
def test_colours_and_jpegs_are_refused(tmp_path, name, pixels, message):
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(ImageError, match=message) as found:
        load_classes(tmp_path / name)
    assert name in found.value.where


def test_what_is_no_image_is_an_error_of_the_image(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match="not an image"):
        load_classes(tmp_path / "mask.png")
    with pytest.raises(ImageError, match="cannot be read"):
        load_classes(tmp_path / "none.png")
    Image.fromarray(np.zeros((400, 400), dtype=np.uint8)).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError):
        load_classes(tmp_path / "half.png")
