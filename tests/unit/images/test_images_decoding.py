"""The pixels of images against a plain transcription with Pillow, and which way they take."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import simplejpeg
from cases import case
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile

from manylabel.errors import ConfigError, ImageError
from manylabel.images import (
    MAX_PIXELS,
    Crop,
    FilePart,
    load_rgb,
    open_image,
    prepared,
    rgb_pixels,
)
from manylabel.images.jpeg import REDUCED_ABOVE

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
    """What the usual steps with Pillow give, on the whole image at once."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) / 257).round().astype(np.uint8)
        image = Image.fromarray(grey)
    if image.mode in {"RGBA", "LA"} or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


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


# Turned JPEGs take the fast way, too; all else is decoded by Pillow

XMP_TURNED = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/>"""

TURNED = {
    **{f"turned by {n}": saved(drawn(33, 20), exif=turned(n)) for n in range(2, 9)},
    "turned by XMP": saved(drawn(33, 20), xmp=XMP_TURNED),
}

OTHERS = {
    "CMYK": saved(drawn(33, 20).convert("CMYK")),
    "PNG": saved(drawn(33, 20), "PNG"),
    "PNG, turned": saved(drawn(33, 20), "PNG", exif=turned(5)),
    "PNG, transparent": saved(drawn(33, 20).convert("RGBA"), "PNG"),
    "PNG, grey and transparent": saved(drawn(33, 20).convert("LA"), "PNG"),
    "PNG, 16 bits": saved(
        Image.fromarray(np.arange(99, dtype=np.uint16).reshape(9, 11) * 660), "PNG"
    ),
    "palette": saved(drawn(33, 20).convert("P"), "GIF"),
    "palette, transparent": saved(drawn(33, 20).convert("P"), "GIF", transparency=3),
    "black and white": saved(drawn(33, 20).convert("1"), "PNG"),
    "WebP": saved(drawn(33, 20), "WEBP"),
    "WebP, transparent": saved(drawn(33, 20).convert("RGBA"), "WEBP", lossless=True),
    "TIFF": saved(drawn(33, 20), "TIFF"),
    "TIFF, turned": saved(drawn(33, 20), "TIFF", exif=turned(6)),
    "JPEG in TIFF": saved(drawn(33, 20), "TIFF", compression="jpeg"),
    "PPM": saved(drawn(33, 20), "PPM"),
    "BMP": saved(drawn(33, 20), "BMP"),
    "AVIF": saved(drawn(33, 20), "AVIF"),
    "JPEG 2000": saved(drawn(33, 20), "JPEG2000"),
}


@pytest.mark.parametrize("data", TURNED.values(), ids=TURNED)
def test_turned_jpegs_have_pillows_bits(fast: list[int], data: bytes) -> None:
    np.testing.assert_array_equal(load_rgb(data), by_pillow(data))
    assert len(fast) == 1


@pytest.mark.parametrize("strip", [1 << 20, 100], ids=["whole", "in strips"])
@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_all_else_is_pillows(
    fast: list[int], monkeypatch: pytest.MonkeyPatch, data: bytes, strip: int
) -> None:
    monkeypatch.setattr("manylabel.images.greys._STRIP", strip)
    np.testing.assert_array_equal(load_rgb(data), by_pillow(data))
    np.testing.assert_array_equal(np.asarray(open_image(data)), by_pillow(data))
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


# Very large JPEGs


def test_a_large_jpeg_may_come_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule: at least eight times the size that it is resized to, on both sides."""
    monkeypatch.setattr("manylabel.images.jpeg.REDUCED_ABOVE", 600 * 400 - 1)
    data, lying = saved(drawn(600, 400)), saved(drawn(600, 400), exif=turned(6))
    sizes = [(20, 20), (6, 6), (51, 10), (5, 30)]
    expected = dict(zip(sizes, [(200, 300), (50, 75), (400, 600), (200, 300)], strict=True))
    for size, shape in expected.items():
        with case(size=size):
            assert prepared(data, np.shape, size=size) == (*shape, 3)
            assert prepared(lying, np.shape, size=(size[1], size[0])) == (*shape[::-1], 3)
    assert prepared(data, np.shape) == (400, 600, 3)


def test_photographs_of_60_megapixels_keep_all_pixels() -> None:
    assert REDUCED_ABOVE >= 60_000_000
    assert prepared(saved(drawn(600, 400)), np.shape, size=(4, 4)) == (400, 600, 3)


def test_a_box_is_cut_from_all_pixels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("manylabel.images.jpeg.REDUCED_ABOVE", 1)
    (tmp_path / "photo.jpg").write_bytes(saved(drawn(600, 400)))
    crop = Crop(tmp_path / "photo.jpg", 100, 50, 500, 350)
    pixels = prepared(crop, np.copy, size=(4, 4))
    np.testing.assert_array_equal(pixels, by_pillow(saved(drawn(600, 400)))[50:350, 100:500])


# One image never ends the work on others


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("too wide"), OSError(5, "no")])
def test_whatever_goes_wrong_is_told_of_the_image(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)

    def fail(pixels: np.ndarray) -> None:
        raise error

    for source in (path, Crop(path, 0, 0, 9, 9)):
        with pytest.raises(ImageError) as told:
            prepared(source, fail)
        assert told.value.where == str(source)


def test_whatever_a_decoder_raises_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's modules raise all kinds of errors, among them those of processes that they start."""
    for error in (subprocess.CalledProcessError(1, "gs"), MemoryError(), AssertionError("no")):
        with monkeypatch.context() as patch, case(error=error):
            patch.setattr(PngImageFile, "load", Mock(side_effect=error))
            with pytest.raises(ImageError, match="damaged|not enough memory"):
                load_rgb(PNG)


def test_other_mistakes_of_the_user_stay_what_they_are() -> None:
    mistake = ConfigError("No such device.", where="device", fix="Give cpu.")
    with pytest.raises(ConfigError):
        prepared(PNG, Mock(side_effect=mistake))
