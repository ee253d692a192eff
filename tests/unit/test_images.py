"""The fast way to an image's pixels against the slow one, and what may take which."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from cases import case
from PIL import Image

from manylabel.errors import ImageError
from manylabel.images import (
    ENDINGS,
    FORMATS,
    MAX_PIXELS,
    Crop,
    FilePart,
    has_image_ending,
    load_rgb,
    open_image,
    rgb_pixels,
    usual_ending,
)

SIZES = [(64, 48), (33, 47), (17, 2), (2, 19), (250, 187)]


def drawn(width: int, height: int) -> Image.Image:
    """Noise over soft blocks: fine detail, strong colours, and flat places."""
    rng = np.random.default_rng(width * height)
    soft = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)).resize((width, height))
    noise = rng.integers(-40, 40, (height, width, 3)) * (rng.random((height, width, 1)) < 0.3)
    return Image.fromarray((np.asarray(soft) + noise).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str = "JPEG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each image that the fast decoder has decoded."""
    taken: list[int] = []
    decode: Callable[..., np.ndarray] = simplejpeg.decode_jpeg

    def counting(data: bytes, **settings: object) -> np.ndarray:
        pixels = decode(data, **settings)
        taken.append(pixels.size)
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", counting)
    return taken


# Formats


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_has_the_endings_that_pillow_gives_it(name: str) -> None:
    registered = Image.registered_extensions()
    assert {registered[ending] for ending in FORMATS[name]} == {name.upper()}


@pytest.mark.parametrize("name", FORMATS)
def test_the_usual_ending_of_a_written_file(name: str) -> None:
    written = Image.open(io.BytesIO(saved(drawn(9, 8), name.upper())))
    assert usual_ending(written.format) == FORMATS[name][0]


def test_what_is_no_format_has_no_ending() -> None:
    assert usual_ending("MPO") == ".jpg"  # several JPEGs in one file
    assert usual_ending("PDF") is None
    assert usual_ending(None) is None


def test_names_with_the_ending_of_an_image() -> None:
    assert all(has_image_ending(f"a{ending}") for ending in ENDINGS)
    assert has_image_ending(Path("photos/A.JPG"))
    for name in ("a.txt", "jpg", ".jpg", "a.jpg.txt", "a.jpg/b", ""):
        assert not has_image_ending(name)


def test_a_file_of_no_format_is_told_all_formats() -> None:
    with pytest.raises(ImageError) as caught:
        open_image(b"no image")
    assert caught.value.fix == "Give JPEG, PNG, WebP, TIFF, BMP, GIF or PPM."


# Ordinary JPEGs: the same bits as Pillow, from the fast decoder


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_jpegs_have_pillows_bits(fast: list[int], subsampling: str, progressive: bool) -> None:
    for size, quality in product(SIZES, [20, 75, 95]):
        settings = {"subsampling": subsampling, "progressive": progressive, "quality": quality}
        data = saved(drawn(*size), **settings)
        fast.clear()
        with case(size=size, quality=quality):
            pixels = load_rgb(data)
            assert (pixels.dtype, pixels.shape) == (np.uint8, (size[1], size[0], 3))
            np.testing.assert_array_equal(pixels, by_pillow(data))
            assert len(fast) == 1


ORDINARY = {
    "grey": saved(drawn(33, 20).convert("L")),
    "optimised": saved(drawn(33, 20), optimize=True),
    "with restarts": saved(drawn(200, 120), restart_marker_blocks=3),
    "RGB kept as RGB": saved(drawn(33, 20), keep_rgb=True),
    "upright by EXIF": saved(drawn(33, 20), exif=turned(1)),
    "EXIF of no orientation": saved(drawn(33, 20), exif=turned(9)),
    "with a comment": saved(drawn(33, 20), comment=b"a holiday", dpi=(72, 72)),
    "bytes after its end": saved(drawn(33, 20)) + b"\0" * 100,
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_other_ordinary_jpegs_have_pillows_bits(fast: list[int], data: bytes) -> None:
    np.testing.assert_array_equal(load_rgb(data), by_pillow(data))
    assert len(fast) == 1


def test_pictures_of_several_frames_give_the_first(fast: list[int]) -> None:
    data = saved(drawn(33, 20), "MPO", save_all=True, append_images=[drawn(20, 33)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    np.testing.assert_array_equal(load_rgb(data), by_pillow(data))
    assert len(fast) == 1


# All else: what `open_image` gives, which has tests of its own

XMP_TURNED = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/>"""

OTHERS = {
    **{f"turned by {n}": saved(drawn(33, 20), exif=turned(n)) for n in range(2, 9)},
    "turned by XMP": saved(drawn(33, 20), xmp=XMP_TURNED),
    "CMYK": saved(drawn(33, 20).convert("CMYK")),
    "PNG": saved(drawn(33, 20), "PNG"),
    "PNG, transparent": saved(drawn(33, 20).convert("RGBA"), "PNG"),
    "PNG, 16 bits": saved(Image.fromarray(np.full((9, 9), 999, np.uint16)), "PNG"),
    "palette": saved(drawn(33, 20).convert("P"), "GIF"),
    "WebP": saved(drawn(33, 20), "WEBP"),
    "TIFF": saved(drawn(33, 20), "TIFF"),
    "JPEG in TIFF": saved(drawn(33, 20), "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_all_else_is_pillows(fast: list[int], data: bytes) -> None:
    expected = np.asarray(open_image(data))
    np.testing.assert_array_equal(load_rgb(data), expected)
    assert not fast


def test_turned_jpegs_are_upright() -> None:
    assert load_rgb(saved(drawn(33, 20), exif=turned(6))).shape == (33, 20, 3)
    assert load_rgb(saved(drawn(33, 20), xmp=XMP_TURNED)).shape == (33, 20, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_every_place_gives_the_same(tmp_path: Path, kind: str) -> None:
    data = saved(drawn(40, 30), kind)
    path, tar = tmp_path / "photo", tmp_path / "tar"
    path.write_bytes(data)
    tar.write_bytes(b"before" + data + b"after")
    expected = by_pillow(data)
    part = FilePart(tar, offset=6, size=len(data), name="photo")
    for source in (data, path, str(path), part, Image.open(path), open_image(path)):
        np.testing.assert_array_equal(load_rgb(source), expected)
    for image in (path, part):
        crop = Crop(image, left=-3, top=2.5, right=20.2, bottom=99)
        pixels = load_rgb(crop)
        np.testing.assert_array_equal(pixels, expected[2:, :21])
        np.testing.assert_array_equal(pixels, np.asarray(open_image(crop)))


# What cannot be used: the same words

JPEG, PNG = saved(drawn(64, 48)), saved(drawn(64, 48), "PNG")
BOMB = JPEG.replace((48).to_bytes(2) + (64).to_bytes(2), b"\xff\x00\xff\x00", 1)

BAD = {
    "empty": b"",
    "text": b"no image",
    "JPEG's first bytes": b"\xff\xd8",
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "half a PNG": PNG[: len(PNG) // 2],
    "a header alone": JPEG[: JPEG.index(b"\xff\xda")],
    "1x9": saved(drawn(1, 9)),
    "9x1": saved(drawn(9, 1)),
    "a bomb": BOMB,
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_bad_image_is_told_as_open_image_tells_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for source in (path, data, Crop(path, 0, 0, 5, 5)):
        with pytest.raises(ImageError) as expected:
            open_image(source)
        with pytest.raises(ImageError) as told:
            load_rgb(source)
        assert str(told.value) == str(expected.value)


def test_a_bomb_is_not_decoded(fast: list[int]) -> None:
    assert MAX_PIXELS < 0xFF00**2
    with pytest.raises(ImageError, match="more than 178,956,970 pixels"):
        load_rgb(BOMB)
    assert not fast


@pytest.mark.parametrize(
    ("box", "what"),
    [((50, 0, 70, 9), "0x9"), ((3, 3, 4, 9), "1x6"), ((9, 9, 3, 20), "0x11")],
)
def test_a_crop_of_nothing_is_told(tmp_path: Path, box: tuple[int, ...], what: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(drawn(40, 30)))
    for read in (open_image, load_rgb):
        with pytest.raises(ImageError, match=f"Only {what} pixels of the box") as told:
            read(Crop(path, *box))
        assert told.value.where.startswith(f"{path}, box ")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        load_rgb(tmp_path / "missing.jpg")


@pytest.mark.parametrize("progressive", [False, True])
def test_cut_off_jpegs_are_refused_by_both_or_by_neither(progressive: bool) -> None:
    whole = saved(drawn(24, 20), progressive=progressive)
    for length in range(1, len(whole)):
        assert outcome(load_rgb, whole[:length]) == outcome(open_image, whole[:length])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's, about odd metadata
def test_mutated_jpegs_come_out_alike() -> None:
    rng = np.random.default_rng(7)
    originals = [saved(drawn(24, 20)), saved(drawn(24, 20), progressive=True, exif=turned(1))]
    refused = 0
    for number in range(300):
        data = bytearray(originals[number % 2])
        for position in rng.integers(2, len(data), 3):
            data[position] = rng.integers(256)
        found = outcome(load_rgb, bytes(data))
        assert found == outcome(open_image, bytes(data))
        refused += isinstance(found, str)
    assert 10 < refused < 290


def outcome(
    read: Callable[[bytes], np.ndarray | Image.Image], data: bytes
) -> str | tuple[object, bytes]:
    """An image's size and bits, or the words of its refusal."""
    try:
        image = read(data)
    except ImageError as error:
        return str(error)
    pixels = rgb_pixels(image) if isinstance(image, Image.Image) else image
    return pixels.shape, pixels.tobytes()
