"""What a codestream says that it takes, whatever the file around it says."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from cases import case
from PIL import Image

from manylabel.errors import ImageError
from manylabel.images import load_rgb
from manylabel.images.jpeg2000 import MAX_SAMPLES, jpeg2000_bytes

PIXELS = 40 * 30


def saved(**settings: object) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG2000", **settings)
    return file.getvalue()


def with_sizes(data: bytes, at: int, *sizes: int) -> bytes:
    """The file with other numbers in the header of the codestream."""
    start = data.index(b"\xff\x4f\xff\x51") + 8 + 4 * at
    return data[:start] + struct.pack(f">{len(sizes)}I", *sizes) + data[start + 4 * len(sizes) :]


def test_an_ordinary_file_takes_some_bytes_a_value() -> None:
    for settings in ({}, {"irreversible": True}, {"num_resolutions": 2}, {"no_jp2": True}):
        with case(settings=settings):
            assert 6 * 3 * PIXELS < jpeg2000_bytes(saved(**settings)) < 20 * 3 * PIXELS + 50_000
            assert load_rgb(saved(**settings)).shape == (30, 40, 3)


def test_the_size_of_the_codestream_counts() -> None:
    with pytest.raises(ImageError, match="2,700,000,000 values in 3 components"):
        load_rgb(with_sizes(saved(), 0, 30_000, 30_000))
    assert MAX_SAMPLES < 3 * 30_000**2


def test_many_tiles_and_small_blocks_count() -> None:
    plain = jpeg2000_bytes(saved())
    assert jpeg2000_bytes(with_sizes(saved(), 4, 1, 1)) > plain + PIXELS * 6_000
    assert jpeg2000_bytes(saved(codeblock_size=(4, 4))) > plain + 3 * PIXELS // 16 * 400
    start = saved().index(b"\xff\x52") + 2
    coding = bytearray(saved()[start : start + 12])
    coding[1], coding[2] = 12 + coding[7] + 1, 1  # its length, and that precincts follow
    tiny = bytes(coding) + b"\x33" * (coding[7] + 1)  # of 8x8 values, so blocks of 4x4
    data = saved()[:start] + tiny + saved()[start + 12 :]
    assert jpeg2000_bytes(data) > plain + 3 * PIXELS // 16 * 400


def test_the_coding_of_one_component_counts() -> None:
    data = saved()
    one = b"\xff\x53\0\x09\0\0\x05\0\0\0\x01"  # code-blocks of 4x4
    at = data.index(b"\xff\x5c")
    assert jpeg2000_bytes(data[:at] + one + data[at:]) == jpeg2000_bytes(
        saved(codeblock_size=(4, 4))
    )


def test_what_is_no_codestream_takes_nothing() -> None:
    assert jpeg2000_bytes(b"") == jpeg2000_bytes(b"\xff\x4f\xff\x51") == 0
