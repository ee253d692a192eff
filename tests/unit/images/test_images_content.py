"""The hash of what an image shows: equal for the same pixels in any file, and for nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manylabel.images import Crop, decoding, jpeg, open_image, prepared
from manylabel.images.content import pixels_content

ORIENTATION = 0x0112


def content(source) -> int:
    found: list[int] = []
    prepared(source, lambda pixels: None, on_content=found.append)
    (only,) = found
    return only


@pytest.fixture
def photo() -> Image.Image:
    """Smooth colours with noise, larger than the block that is folded."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 150)[None, :, None] + np.zeros((130, 1, 3))
    return Image.fromarray((ramp + random.integers(0, 50, ramp.shape)).astype(np.uint8))


def slow(pixels: np.ndarray) -> int:
    """The definition, with Python's integers."""
    data, words, odd = pixels.tobytes(), 4096, 0x9E3779B97F4A7C15
    folded = [0] * words
    whole = len(data) // (8 * words) * (8 * words)
    for start in range(0, whole, 8 * words):
        for i in range(words):
            word = int.from_bytes(data[start + 8 * i : start + 8 * i + 8], "little")
            folded[i] = (folded[i] * odd + word) % 2**64
    size = b"".join(side.to_bytes(8, "little") for side in pixels.shape)
    text = size + b"".join(word.to_bytes(8, "little") for word in folded) + data[whole:]
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@pytest.mark.parametrize("size", [(1, 1), (40, 50), (104, 105), (130, 150)])
def test_it_is_the_hash_that_bundles_hold(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert pixels_content(pixels) == slow(pixels)


def test_formats_that_lose_nothing_have_one_hash(photo: Image.Image, tmp_path: Path) -> None:
    for name, options in {
        "a.png": {},
        "b.bmp": {},
        "c.tiff": {"compression": "tiff_lzw"},
        "d.webp": {"lossless": True},
        "e.ppm": {},
        "f.jp2": {"irreversible": False},
    }.items():
        photo.save(tmp_path / name, **options)
    photo.convert("RGBA").save(tmp_path / "g.png")
    found = {content(path) for path in tmp_path.iterdir()}
    assert found == {pixels_content(np.asarray(photo))}


def test_a_jpeg_keeps_its_hash_without_exif_and_as_png(photo: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    photo.save(tmp_path / "a.jpg", quality=90, exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    at = data.index(b"\xff\xe1")
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    (tmp_path / "stripped.jpg").write_bytes(data[:at] + data[end:])
    Image.open(tmp_path / "a.jpg").save(tmp_path / "a.png")
    assert len({content(path) for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_a_turned_photo_has_the_hash_of_the_upright_one(
    photo: Image.Image, orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photo.save(tmp_path / "lying.jpg", exif=exif)
    open_image(tmp_path / "lying.jpg").save(tmp_path / "upright.png")
    assert content(tmp_path / "lying.jpg") == content(tmp_path / "upright.png")


def test_a_grey_image_has_the_hash_of_the_same_image_in_colour(tmp_path: Path, photo) -> None:
    photo.convert("L").save(tmp_path / "grey.png")
    photo.convert("L").convert("RGB").save(tmp_path / "colour.png")
    assert content(tmp_path / "grey.png") == content(tmp_path / "colour.png")


def test_one_pixel_makes_another_hash(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    flat = pixels.reshape(-1)
    found = {pixels_content(pixels)}
    places = np.random.default_rng(2).choice(flat.size, 300, replace=False)
    for place in [0, flat.size - 1, *places.tolist()]:
        changed = flat.copy()
        changed[place] ^= 1
        found.add(pixels_content(changed.reshape(pixels.shape)))
    assert len(found) == 303


def test_other_shapes_orders_and_parts_have_other_hashes(photo: Image.Image) -> None:
    pixels = np.asarray(photo)
    black = np.zeros((120, 160, 3), np.uint8)
    others = [
        pixels,
        pixels.reshape(65, 300, 3),
        pixels[::-1],
        pixels[:, ::-1],
        pixels[..., ::-1],
        pixels[:-1],
        black,
        black.reshape(160, 120, 3),
        black[:-1],
    ]
    assert len({pixels_content(each) for each in others}) == len(others)


def test_a_crop_has_the_hash_of_its_part(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "whole.png")
    photo.crop((10, 20, 70, 100)).save(tmp_path / "part.png")
    crop = Crop(tmp_path / "whole.png", 10, 20, 70, 100)
    assert content(crop) == content(tmp_path / "part.png") != content(tmp_path / "whole.png")


def test_the_size_that_a_huge_jpeg_is_decoded_at_does_not_matter(
    photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (decoding, jpeg):
        monkeypatch.setattr(module, "REDUCED_ABOVE", 1000)
    photo.resize((800, 800)).save(tmp_path / "huge.jpg")
    shapes, found = set[tuple[int, ...]](), set[int]()
    for size in (None, (8, 8), (40, 40), (100, 100)):
        prepared(
            tmp_path / "huge.jpg",
            lambda pixels: shapes.add(pixels.shape),
            size=size,
            on_content=found.add,
        )
    assert len(shapes) > 1
    assert len(found) == 1


def test_a_bad_image_has_no_hash(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    found: list[int] = []
    with pytest.raises(Exception, match="cut.png"):
        prepared(tmp_path / "cut.png", lambda pixels: None, on_content=found.append)
    assert not found
