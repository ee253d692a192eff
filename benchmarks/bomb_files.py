"""Draws small image files that need as much memory or time as their formats allow.

`FILES` has them by name. Each is drawn as the bytes of a file of less than 10 MB. Where a format is
simple, the file is written directly, so that the large image is never in memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image

COLOUR = (200, 30, 10)
BLOCK = 1 << 20
CHANNELS = {0: 1, 2: 3, 3: 1, 6: 4}
"""The channels of a PNG, by its colour type: grey, RGB, palette, RGBA."""


def _side(megapixels: float) -> int:
    """The side of a square image."""
    return int((megapixels * 1e6) ** 0.5)


def _zeros(count: int) -> bytes:
    """So many bytes of zero, compressed by zlib: the same compressed block again and again."""
    deflate = zlib.compressobj(9, wbits=-15)
    block = deflate.compress(bytes(BLOCK)) + deflate.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, wbits=-15)
    last = rest.compress(bytes(count % BLOCK)) + rest.flush()
    checksum = struct.pack(">I", (count % 65_521) << 16 | 1)
    return b"\x78\xda" + block * (count // BLOCK) + last + checksum


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *, bits: int = 8, colours: int, extra: bytes = b"") -> bytes:
    """A black PNG; `extra` are the chunks before its pixels."""
    row = 1 + -(-width * bits * CHANNELS[colours] // 8)
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + extra
    return start + _chunk(b"IDAT", _zeros(row * height)) + _chunk(b"IEND", b"")


def _square_png(megapixels: float, **how: Any) -> bytes:
    return _png(_side(megapixels), _side(megapixels), **how)


def _tiff(
    side: int, parts: list[bytes], layout: dict[int, list[int]], *, bits: int, channels: int
) -> bytes:
    """A TIFF with deflate, whose parts (strips or tiles) are equal.

    Args:
        side: Its width and height.
        parts: The compressed parts.
        layout: The tags, with their values, that say what a part is.
        bits: The bits of a channel; 32 are a float.
        channels: 1 is grey, 3 RGB, 4 RGBA.
    """
    where, lengths = (324, 325) if 322 in layout else (273, 279)
    tags = {256: [side], 257: [side], 258: [bits] * channels, 259: [8], **layout}
    tags |= {262: [2 if channels > 2 else 1], 277: [channels]}
    tags |= {339: [3 if bits == 32 else 1] * channels}
    tags |= {338: [2]} if channels == 4 else {}
    tags |= {where: [8 + len(parts[0]) * i for i in range(len(parts))]}
    tags |= {lengths: [len(part) for part in parts]}
    body = b"".join(parts)
    entries, far, after = b"", b"", 8 + len(body) + 6 + 12 * len(tags)
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, far = struct.pack("<I", after + len(far)), far + packed
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    start = b"II*\0" + struct.pack("<I", 8 + len(body))
    return start + body + struct.pack("<H", len(tags)) + entries + bytes(4) + far


def _strips_tiff(megapixels: float, *, rows: int, bits: int, channels: int) -> bytes:
    """A TIFF with strips of so many rows."""
    side = _side(megapixels) // rows * rows
    strip = _zeros(side * rows * channels * bits // 8)
    return _tiff(side, [strip] * (side // rows), {278: [rows]}, bits=bits, channels=channels)


def _strip_tiff(megapixels: float) -> bytes:
    """A float TIFF of one strip."""
    return _strips_tiff(megapixels, rows=_side(megapixels), bits=32, channels=1)


def _tile_tiff(side: int) -> bytes:
    """A small TIFF in one large tile."""
    tile = [_zeros(side * side * 3)]
    return _tiff(100, tile, {322: [side], 323: [side]}, bits=8, channels=3)


def _square(megapixels: float, mode: str, form: str, **how: Any) -> bytes:
    """A square image of one colour, as Pillow saves it."""
    colour = {"RGB": COLOUR, "CMYK": (1, 2, 3, 4), "RGBA": (*COLOUR, 100)}[mode]
    file = io.BytesIO()
    Image.new(mode, (_side(megapixels), _side(megapixels)), colour).save(file, form, **how)
    return file.getvalue()


def _scans(megapixels: float, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = _square(megapixels, "RGB", "JPEG", **_PROGRESSIVE)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - data.count(b"\xff\xda")) + data[-2:]


def _segments(data: bytes, count: int) -> bytes:
    """A small JPEG with the same EXIF segment many times before the image."""
    small = _square(0.004, "RGB", "JPEG")
    segment = struct.pack(">HH", 0xFFE1, len(data) + 2) + data
    return small[:2] + segment * count + small[2:]


def _filler() -> bytes:
    """A small JPEG with bytes that mean nothing before its image."""
    small = _square(0.004, "RGB", "JPEG")
    return small[:2] + b"\xff" * 9_900_000 + small[2:]


def _gif(width: int, height: int, *, extra: bytes = b"") -> bytes:
    """A GIF whose canvas is large and whose only frame has one pixel."""
    canvas = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return canvas + extra + frame + b";"


def _bmp(side: int, run: int) -> bytes:
    """A BMP with run lengths of so many pixels."""
    row = bytes([run, 7]) * (side // run) + (bytes([side % run, 7]) if side % run else b"")
    pixels = (row + b"\0\0") * side + b"\0\1"
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    start = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    about = struct.pack("<IHHI", start + len(pixels), 0, 0, start)
    return b"BM" + about + header + palette + pixels


_PALETTE = _chunk(b"PLTE", bytes(768)) + _chunk(b"tRNS", bytes(range(256)))
_LOSSLESS = {"lossless": True, "quality": 0, "method": 0}
_PROGRESSIVE = {"progressive": True, "subsampling": 0}

FILES: dict[str, Callable[[], bytes]] = {
    "PNG, RGBA, 127 MP": lambda: _square_png(127, colours=6),
    "PNG, RGBA of 16 bits, 127 MP": lambda: _square_png(127, bits=16, colours=6),
    "PNG, grey of 16 bits, 127 MP": lambda: _square_png(127, bits=16, colours=0),
    "PNG, grey of 16 bits, 177 MP": lambda: _square_png(177, bits=16, colours=0),
    "PNG, palette, transparent, 127 MP": lambda: _square_png(127, colours=3, extra=_PALETTE),
    "PNG, 2x65,535": lambda: _png(2, 65_535, colours=2),
    "PNG, 800,000 chunks": lambda: _png(50, 50, colours=2, extra=_chunk(b"teXt", b"") * 800_000),
    "JPEG, CMYK, 127 MP": lambda: _square(127, "CMYK", "JPEG", quality=50),
    "JPEG, progressive, 68 MP": lambda: _square(68, "RGB", "JPEG", **_PROGRESSIVE),
    "JPEG, progressive, 100 MP": lambda: _square(100, "RGB", "JPEG", **_PROGRESSIVE),
    "JPEG, 100 scans of 19.9 MP": lambda: _scans(19.9, 100),
    "JPEG, 30 scans of 65 MP": lambda: _scans(65, 30),
    "JPEG, 2,000 scans of 1 MP": lambda: _scans(1, 2_000),
    "JPEG, 9,900 segments of EXIF": lambda: _segments(b"Exif\0\0" + bytes(980), 9_900),
    "JPEG, 890,000 segments of EXIF": lambda: _segments(b"Exif\0\0a", 890_000),
    "JPEG, 9.9 MB of filler": _filler,
    "TIFF, float, 80 MP": lambda: _strip_tiff(80),
    "TIFF, float, 177 MP": lambda: _strip_tiff(177),
    "TIFF, RGBA of 16 bits, 127 MP": lambda: _strips_tiff(127, rows=1, bits=16, channels=4),
    "TIFF, LZW, 127 MP": lambda: _square(127, "RGB", "TIFF", compression="tiff_lzw"),
    "TIFF, 100x100 in a tile of 268 MP": lambda: _tile_tiff(16_384),
    "WebP, lossless, 47 MP": lambda: _square(47, "RGB", "WEBP", **_LOSSLESS),
    "WebP, lossless, 100 MP": lambda: _square(100, "RGB", "WEBP", **_LOSSLESS),
    "AVIF, RGBA, 49 MP": lambda: _square(49, "RGBA", "AVIF", speed=10, subsampling="4:4:4"),
    "JPEG 2000, 34 MP": lambda: _square(34, "RGB", "JPEG2000"),
    "GIF, canvas of 127 MP": lambda: _gif(_side(127), _side(127)),
    "GIF, 9.8 MB of comments": lambda: _gif(20, 20, extra=b"!\xfe" + b"\1a" * 4_900_000 + b"\0"),
    "BMP, runs of 1 pixel, 4.8 MP": lambda: _bmp(2_190, 1),
    "BMP, runs of 255 pixels, 16 MP": lambda: _bmp(3_999, 255),
    "BMP, runs of 255 pixels, 177 MP": lambda: _bmp(_side(177), 255),
    "PPM, text": lambda: b"P3 1280 1280 255\n" + b"7 " * (1280 * 1280 * 3),
    "PPM, text, 2 million comments": lambda: (
        b"P3 100 100 255\n" + b"#\n" * 2_000_000 + b"1 " * 30_000
    ),
    "PPM, largest value 254": lambda: b"P6 1410 1410 254\n" + bytes(1410 * 1410 * 3),
    "PPM, 9.8 MB of comments": lambda: b"P6 " + b"#\n" * 4_900_000 + b"9 9 255\n" + bytes(243),
}
"""The files by name. Most formats have one at its limit, and some have one above it."""
