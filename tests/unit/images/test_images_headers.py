"""Files that take long to open are refused before Pillow reads them."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manylabel.errors import ImageError
from manylabel.images import MAX_FILE, load_rgb, open_image, read_header

REST = bytes(1_000_000)
"""Bytes after an image. Only longer files are looked through."""


def saved(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 10)).save(file, kind)
    return file.getvalue()


JPEG, PNG = saved("JPEG"), saved("PNG")
TIFF_TAGS = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}


def refused(data: bytes, what: str) -> None:
    for read in (load_rgb, open_image, read_header):
        with pytest.raises(ImageError, match=what):
            read(data)


def test_a_jpeg_with_much_filler_is_refused() -> None:
    def of(filler: bytes) -> bytes:
        return JPEG[:20] + filler + JPEG[20:] + REST

    np.testing.assert_array_equal(load_rgb(of(b"\xff" * 60_000)), load_rgb(JPEG))
    assert read_header(of(bytes(60_000))).size == (16, 16)
    for filler in (b"\xff", b"\0", b"\xff\xd8"):
        refused(of(filler * 70_000), "more than 65,536 bytes between the segments")


@pytest.mark.parametrize("between", [b"", b"\xff", b"\xff\xd8"], ids=repr)
def test_jpegs_of_too_many_segments_are_refused(between: bytes) -> None:
    """Whatever stands between them: Pillow skips it."""
    segment = b"\xff\xe1\0\x09Exif\0\0a"

    def of(segments: int) -> bytes:
        return JPEG[:2] + (between + segment) * segments + JPEG[2:] + REST

    if between != b"\xff\xd8":  # Pillow skips it, but the decoder does not
        np.testing.assert_array_equal(load_rgb(of(9_900)), load_rgb(JPEG))
    refused(of(10_001), "more than 10,000 segments")


def test_a_jpeg_of_much_exif_is_refused() -> None:
    """Pillow joins the segments one by one, so their bytes count, not only their number."""
    segment = b"\xff\xe1\x03\xe8Exif\0\0" + bytes(992)
    assert read_header(JPEG[:2] + segment * 900 + JPEG[2:] + REST).size == (16, 16)
    refused(JPEG[:2] + segment * 1_100 + JPEG[2:] + REST, "more than 1,000,000 bytes of EXIF")


def test_a_png_of_many_chunks_is_refused() -> None:
    def of(chunks: int) -> bytes:
        return PNG[:33] + bytes(4) + (b"prVtOq\xc6\x84" + bytes(4)) * chunks + PNG[37:]

    refused(of(200_001), "more than 200,000 chunks")


def test_a_png_of_much_exif_is_refused() -> None:
    """Its orientation may be millions of fractions."""
    file = io.BytesIO()
    exif = b"II*\0\x08\0\0\0" + bytes(1_000_000)
    Image.new("RGB", (16, 16)).save(file, "PNG", exif=exif)
    refused(file.getvalue(), "more than 1,000,000 bytes of EXIF")


def tiff(order: str, tags: dict[int, tuple[int, int, int]], *, large: bool = False) -> bytes:
    """A TIFF with 16x16 grey pixels in one strip, with these tags (type, values, place) as well."""
    shorts = {tag: (3, 1, value) for tag, value in TIFF_TAGS.items()}
    entries = sorted((shorts | tags).items())
    start = struct.pack(order + "2sH", b"II" if order == "<" else b"MM", 43 if large else 42)
    start += struct.pack(
        order + ("HHQQ" if large else "LH"), *((8, 0, 16) if large else (8,)), len(entries)
    )
    word = "Q" if large else "L"
    for tag, (kind, values, place) in entries:
        one = kind == 3 and values == 1
        start += struct.pack(order + "HH" + word, tag, kind, values)
        start += (
            struct.pack(order + "H", place).ljust(8 if large else 4, b"\0")
            if one
            else (struct.pack(order + word, place))
        )
    return start + bytes(9) + b"\x08" * 2_000_000


@pytest.mark.parametrize(
    ("order", "large"), [("<", False), (">", False), ("<", True)], ids=["II", "MM", "large"]
)
def test_a_tiff_of_many_values_is_refused(order: str, large: bool) -> None:
    plain = tiff(order, {}, large=large)
    assert load_rgb(plain).shape == (16, 16, 3)
    many = {tag: (1, 1_000_000, 1_000) for tag in range(60_000, 60_002)}
    assert load_rgb(tiff(order, many, large=large)).shape == (16, 16, 3)  # bytes are no numbers
    for tag in (273, 279, 324, 325):
        refused(tiff(order, {tag: (1, 65_537, 1_000)}, large=large), "65,536 strips or tiles")
    refused(tiff(order, {60_000: (5, 200_001, 1_000)}, large=large), "200,000 numbers")
    tags = {tag: (3, 1, 0) for tag in range(60_000, 64_096)}
    refused(tiff(order, tags, large=large), "4,096 tags")


def test_a_tag_that_says_more_than_the_file_has_is_skipped() -> None:
    assert load_rgb(tiff("<", {60_000: (4, 4_000_000_000, 1_000)})).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"P6" + b" " * 70_000 + b"2 2 255\n" + bytes(12),
        b"P5 #" + b"a" * 70_000 + b"\n2 2 255\n" + bytes(4),
        b"P6 2 2" + b" " * 70_000,
    ],
    ids=["space", "a comment", "no largest value"],
)
def test_a_ppm_must_begin_with_its_header(data: bytes) -> None:
    refused(data, "more than 65,536 bytes before the pixels")


def test_long_ppms_are_read() -> None:
    pixels = bytes(range(256)) * 300
    assert load_rgb(b"P6 #a comment\n160 # another\n160\n255\n" + pixels).shape == (160, 160, 3)
    assert load_rgb(b"P4 1000 800\n" + bytes([255]) * 100_000).shape == (800, 1000, 3)


def test_a_header_is_read_in_small_pieces(tmp_path: Path) -> None:
    path = tmp_path / "long.jpg"
    with path.open("wb") as file:
        file.write(JPEG)
        file.truncate(MAX_FILE)
    tracemalloc.start()
    try:
        assert read_header(path).size == (16, 16)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    with path.open("ab") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(ImageError, match="537 MB are allowed"):
        read_header(path)
