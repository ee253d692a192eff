"""What decoding a JPEG 2000 takes, from the headers of its codestream.

The header of the file around a codestream may say something smaller, so it is not used.

Source: ITU-T T.800, annex A: the markers SIZ, COD and COC.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from manylabel.images.errors import refused

MAX_SAMPLES: Final = 200_000_000
"""Images with more values are refused: OpenJPEG needs about 20 ns for each."""

MAX_COMPONENTS: Final = 16
"""Images with more components are refused. Pillow reads at most four."""

_SAMPLE: Final = 6
"""The bytes that OpenJPEG takes for a value: 32 bits, and its working memory."""
_BLOCK: Final = 450
"""The bytes for a code-block."""
_TILE: Final = 6_000
_TILE_COMPONENT: Final = 1_200
"""The bytes for a tile, and for each component of one."""

_SIZE: Final = re.compile(rb"\xff\x4f\xff\x51....(.{34})", re.DOTALL)
"""The begin of a codestream: its sizes follow."""

_CODING: Final = re.compile(
    rb"\xff(?:\x52..([\x00-\x07])[\x00-\x04]..[\x00\x01]|\x53...([\x00\x01]))"
    rb"([\x00-\x20])([\x00-\x08])([\x00-\x08]).[\x00\x01](?=(.{0,33}))",
    re.DOTALL,
)
"""How all components are coded (COD), or one of them (COC): precincts or not, decompositions, and
the exponents of the sides of code-blocks, less 2. The exponents of precincts follow."""


def jpeg2000_bytes(data: bytes) -> int:
    """The bytes that OpenJPEG takes beside the pixels that it gives.

    Raises:
        ImageError: There are more values or components than are allowed.
    """
    sizes = [found[1] for found in _SIZE.finditer(data)]
    blocks = max((_blocks_per_value(found) for found in _CODING.finditer(data)), default=0)
    return max((_codestream_bytes(header, blocks) for header in sizes), default=0)


def _codestream_bytes(header: bytes, blocks_per_value: float) -> int:
    right, bottom, left, top, across, down, *_, components = struct.unpack(">8IH", header)
    width, height = max(0, right - left), max(0, bottom - top)
    samples = width * height * components
    if samples > MAX_SAMPLES or components > MAX_COMPONENTS:
        raise refused(
            f"The JPEG 2000 has {samples:,} values in {components} components, and "
            f"{MAX_SAMPLES:,} in {MAX_COMPONENTS} are allowed.",
            fix="Make it smaller first, or save it as PNG or JPEG.",
        )
    tiles = (width // max(1, across) + 2) * (height // max(1, down) + 2)
    blocks = int(samples * blocks_per_value) + tiles
    return samples * _SAMPLE + blocks * _BLOCK + tiles * (_TILE + components * _TILE_COMPONENT)


def _blocks_per_value(found: re.Match[bytes]) -> float:
    """How many code-blocks there are for a value. No block is larger than its precinct."""
    style, levels = (found[1] or found[2])[0], found[3][0]
    across, down = found[4][0] + 2, found[5][0] + 2
    precincts = found[6][: levels + 1] if style & 1 else b"\xff"
    return sum(
        # Each resolution has a quarter of the values of the next one.
        0.25 ** (len(precincts) - 1 - resolution)
        / (1 << min(across, max(0, (each & 15) - 1)) + min(down, max(0, (each >> 4) - 1)))
        for resolution, each in enumerate(precincts)
    )
