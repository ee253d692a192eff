"""What is refused before it is decoded, and how much memory an image is said to need."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from cases import case
from PIL import Image

from manylabel.errors import ImageError
from manylabel.images import MAX_MEMORY, MAX_PIXELS, MAX_SIDE, load_rgb, open_image
from manylabel.images.limits import MAX_SCANS, decoded_bytes
from manylabel.images.opening import open_header


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def needed(data: bytes) -> int:
    return decoded_bytes(open_header(io.BytesIO(data)), data)


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, row: int = 0) -> bytes:
    """A PNG of zeros, of which only the first rows may be there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(row))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


# Sizes


@pytest.mark.parametrize(
    ("width", "height", "what"),
    [
        (2, 80_000_000, "2x80000000 pixels, and a side may have 65,535"),
        (MAX_SIDE + 1, 9, "a side may have 65,535"),
        (20_000, 9_000, f"more than {MAX_PIXELS:,} pixels"),
        (60_000, 60_000, f"more than {MAX_PIXELS:,} pixels"),
        (13_000, 13_000, "needs about 1,183 MB of memory, and 900 MB are allowed"),
        (1, 9, "is 1x9 pixels"),
    ],
)
def test_sizes_are_refused_by_the_header(width: int, height: int, what: str) -> None:
    for read in (load_rgb, open_image):
        with pytest.raises(ImageError, match=what) as caught:
            read(png(width, height))
        assert caught.value.fix


def test_the_limit_is_of_decoded_images_of_a_caller_too() -> None:
    with pytest.raises(ImageError, match="a side may have"):
        load_rgb(Image.new("L", (2, MAX_SIDE + 1)))


# Memory


def test_a_pixel_needs_what_pillow_and_the_result_take() -> None:
    for kind in ("PNG", "BMP", "GIF", "PPM", "JPEG"):
        data = saved(Image.new("RGB", (640, 480)), kind)
        with case(kind=kind):
            assert needed(data) == 7 * 640 * 480 + len(data)


def test_decoders_that_take_more_say_so() -> None:
    image, pixels = Image.new("RGB", (640, 480)), 640 * 480
    for kind, settings, more in [
        ("WEBP", {"lossless": True}, 12),
        ("AVIF", {}, 11),
        ("JPEG2000", {}, 18),
        ("TIFF", {"compression": "tiff_lzw"}, 0.1),
        ("JPEG", {"progressive": True, "subsampling": 0}, 6),
        ("JPEG", {"progressive": True, "subsampling": 2}, 3),
    ]:
        with case(kind=kind, settings=settings):
            assert needed(saved(image, kind, **settings)) >= (7 + more) * pixels


@pytest.mark.parametrize("tile", [(16, 16), (60_000, 60_000)])
def test_a_tile_larger_than_the_image_is_counted(tile: tuple[int, int]) -> None:
    """libtiff decodes whole tiles, whatever the size of the image."""
    whole = saved(Image.new("L", (32, 32)), "TIFF", compression="tiff_lzw")
    data = with_tags(whole, {322: tile[0], 323: tile[1], 324: 8, 325: 9})
    assert needed(data) >= tile[0] * tile[1]
    if tile[0] > 16:
        with pytest.raises(ImageError, match="of memory"):
            load_rgb(data)


def with_tags(tiff: bytes, tags: dict[int, int]) -> bytes:
    """A little-endian TIFF with more tags, whose directory is written at its end."""
    (start,) = struct.unpack("<I", tiff[4:8])
    (count,) = struct.unpack("<H", tiff[start : start + 2])
    old = [tiff[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    kept = [entry for entry in old if struct.unpack("<H", entry[:2])[0] not in {273, 278, 279}]
    new = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    entries = sorted(kept + new, key=lambda entry: struct.unpack("<H", entry[:2]))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + directory


# Time


def with_scans(data: bytes, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * scans + data[-2:]


def test_jpegs_of_too_many_scans_are_refused() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    data = saved(image, "JPEG", progressive=True)
    assert load_rgb(data).shape == (40, 60, 3)
    assert needed(with_scans(data, 50))
    for read in (load_rgb, open_image):
        with pytest.raises(ImageError, match=f"more than {MAX_SCANS} scans of 2,400 pixels"):
            read(with_scans(data, 2000))


def jpegs_in_tiff(jpeg: bytes, count: int, *, tiled: bool) -> bytes:
    """A grey TIFF 2,000 wide, of strips or tiles of 400 rows that are all the same JPEG."""
    data = 22 + 12 * 11
    lists = data + len(jpeg)
    tags = {256: 2_000, 257: 400 * count, 258: 8, 259: 7, 262: 1, 277: 1}
    tags |= {322: 2_000, 323: 400} if tiled else {278: 400, 296: 1}
    entries = [(tag, 1, value) for tag, value in tags.items()]
    entries += [
        (324 if tiled else 273, count, lists),
        (325 if tiled else 279, count, lists + 4 * count),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, *entry) for tag, *entry in sorted(entries))
    start = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory
    numbers = struct.pack("<I", data) * count + struct.pack("<I", len(jpeg)) * count
    return start.ljust(data, b"\0") + jpeg + numbers


@pytest.mark.parametrize("tiled", [False, True])
def test_tiffs_whose_jpegs_have_too_many_scans_are_refused(tiled: bool) -> None:
    """Many strips or tiles may share one small JPEG of many scans."""
    grey = Image.new("L", (2_000, 400), 90)
    plain, slow = saved(grey, "JPEG"), saved(grey, "JPEG", progressive=True)
    assert load_rgb(jpegs_in_tiff(slow, 2, tiled=tiled)).shape == (800, 2_000, 3)
    assert needed(jpegs_in_tiff(plain, 100, tiled=tiled))
    assert needed(jpegs_in_tiff(with_scans(slow, 50), 2, tiled=tiled))
    for read in (load_rgb, open_image):
        with pytest.raises(ImageError, match="JPEGs in the TIFF have too many scans"):
            read(jpegs_in_tiff(with_scans(slow, 60), 40, tiled=tiled))


def test_what_looks_like_a_scan_elsewhere_is_none() -> None:
    """Thumbnails and what follows the image may hold any bytes."""
    data = saved(Image.new("RGB", (60, 40)), "JPEG", comment=b"\xff\xda" * 300)
    plain = load_rgb(data)
    np.testing.assert_array_equal(load_rgb(data + b"\xff\xda\0\0" * 300), plain)


def test_rare_forms_that_are_slow_are_bounded() -> None:
    small = b"P5 20 20 254\n" + bytes(400)
    assert load_rgb(small).shape == (20, 20, 3)
    with pytest.raises(ImageError, match="9,000,000 values in a rare form of PPM"):
        load_rgb(b"P5 3000 3000 254\n" + bytes(100))


def test_a_ppm_of_many_comments_is_refused() -> None:
    pixels = b"1 " * 12
    assert load_rgb(b"P3 2 2 255\n" + b"# a comment\n" * 2_000 + pixels).max() == 1
    with pytest.raises(ImageError, match="more than 10,000 comments"):
        load_rgb(b"P3 2 2 255\n" + b"#\n" * 20_000 + pixels)


def test_a_limit_holds_for_every_machine() -> None:
    assert MAX_MEMORY == 900_000_000
