"""What an image may need: its size, the length of its file, and the memory and time of decoding.

All limits are constants, so that the same images are refused on every machine. What an image needs
is computed from its header, before anything is decoded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import islice, zip_longest
from typing import Final

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from manylabel.images.errors import refused
from manylabel.images.jpeg2000 import jpeg2000_bytes

MIN_SIDE: Final = 2
"""Images with a shorter side are refused: a 1x1 image is a tracking pixel or a failed download."""

MAX_SIDE: Final = 65_535
"""Images with a longer side are refused. It is the longest side that a JPEG can have."""

MAX_PIXELS: Final = 178_956_970
"""Images with more pixels are refused as decompression bombs: twice Pillow's own warning limit."""

MAX_FILE: Final = 512 * 1024 * 1024
"""Image files with more bytes are refused before they are read."""

MAX_MEMORY: Final = 900_000_000
"""Images that need more bytes of memory to be decoded are refused. The file itself counts."""

MAX_SCANS: Final = 100
"""JPEGs with more scans are refused. Each one passes over the whole image; 3 to 20 are usual."""

PIXEL_BYTES: Final = 7
"""The bytes that a pixel takes: 4 for Pillow, and 3 for the RGB result or a copy of it."""

_MAX_SCANNED: Final = 2_000_000_000
"""The most pixels that all scans of a JPEG together may pass over: 100 megapixels 20 times."""

_DECODER: Final[Mapping[str | None, int]] = {"WEBP": 12, "AVIF": 11, "HEIF": 11}
"""The bytes of a pixel that the decoder of a format takes beside Pillow's pixels, measured."""

_SLOW: Final[Mapping[str, int]] = {"ppm": 6_000_000, "ppm_plain": 16_000_000, "bmp_rle": 16_000_000}
"""The most samples for Pillow's decoders that are written in Python, by name: a few seconds."""

MAX_COMMENTS: Final = 10_000
"""PPMs of text with more comments are refused: Pillow copies a megabyte for each of them."""

_TIFF_SCANS: Final = 500_000
"""The most scans in all JPEGs of a TIFF: `headers.MAX_PARTS` of several scans."""

_TIFF_SCAN: Final = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c][\x01-\x04]")
"""The begin of a scan in a JPEG inside a TIFF. Compressed values never look like it."""

_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")
"""A marker of a JPEG that begins a segment: no stuffed byte, no filler and no restart."""


def require_size(width: int, height: int) -> None:
    """Refuse an image that is too small or too large.

    Raises:
        ImageError: A side is below `MIN_SIDE` or above `MAX_SIDE`, or it has more pixels than
            `MAX_PIXELS`.
    """
    if min(width, height) < MIN_SIDE:
        raise refused(
            f"The image is {width}x{height} pixels.",
            fix="Remove it: it has no content to classify.",
        )
    if max(width, height) > MAX_SIDE:
        raise refused(
            f"The image is {width}x{height} pixels, and a side may have {MAX_SIDE:,}.",
            fix="Make it smaller first, or cut it into several images.",
        )
    if width * height > MAX_PIXELS:
        raise refused(
            f"The image has more than {MAX_PIXELS:,} pixels.",
            fix="Make it smaller first: decoding it would need too much memory.",
        )


def require_memory(
    needed: int, most: int = MAX_MEMORY, *, fix: str = "Make it smaller first."
) -> None:
    """Refuse an image that needs more bytes of memory than `most`.

    Raises:
        ImageError: It needs more.
    """
    if needed > most:
        raise refused(
            f"Decoding the image needs about {needed / 1e6:,.0f} MB of memory, and "
            f"{most / 1e6:,.0f} MB are allowed.",
            fix=fix,
        )


def decoded_bytes(image: Image.Image, data: bytes, *, pixels: int | None = None) -> int:
    """The most bytes that decoding takes, from the header: file, decoder and result.

    Args:
        image: The opened image, which is not decoded yet.
        data: Its file.
        pixels: The pixels of the result, if it is decoded at a reduced size.

    Raises:
        ImageError: It has more scans, or more values for a slow decoder, than are allowed.
    """
    whole = image.width * image.height
    _require_fast(image, whole, data)
    return (
        PIXEL_BYTES * (whole if pixels is None else pixels)
        + _decoder_bytes(image, data)
        + len(data)
    )


def _decoder_bytes(image: Image.Image, data: bytes) -> int:
    """The bytes that a decoder takes beside the pixels that it gives."""
    pixels = image.width * image.height
    if isinstance(image, JpegImageFile):
        return _coefficients(image, data)
    if isinstance(image, TiffImageFile):
        _require_few_scans(image, data)
        return _tiff_bytes(image, pixels)
    if image.format == "JPEG2000":
        return jpeg2000_bytes(data)
    return _DECODER.get(image.format, 0) * pixels


def _require_fast(image: Image.Image, pixels: int, data: bytes) -> None:
    tiles = getattr(image, "tile", None)
    most = _SLOW.get(tiles[0][0]) if tiles else None
    samples = pixels * len(image.getbands())
    if most is not None and samples > most:
        raise refused(
            f"The image has {samples:,} values in a rare form of {image.format} that is slow to "
            f"decode, and {most:,} are allowed.",
            fix="Save it as PNG.",
        )
    if tiles and tiles[0][0] == "ppm_plain" and data.count(b"#") > MAX_COMMENTS:
        raise refused(
            f"The PPM has more than {MAX_COMMENTS:,} comments, which would take too long.",
            fix="Save it as PNG.",
        )


def _coefficients(image: JpegImageFile, data: bytes) -> int:
    """The coefficients that libjpeg keeps of a JPEG of several scans, 2 bytes each."""
    pixels = image.width * image.height
    scans = 1 if _has_one_scan(image, data) else _count_scans(data)
    if scans > MAX_SCANS or (scans > 1 and scans * pixels > _MAX_SCANNED):
        raise refused(
            f"The JPEG has {scans if scans <= MAX_SCANS else f'more than {MAX_SCANS}'} scans of "
            f"{pixels:,} pixels, which would take too long.",
            fix="Save it again as an ordinary JPEG.",
        )
    if scans < 2 and "progressive" not in image.info:
        return 0
    sampling = [(across, down) for _, across, down, _ in image.layer]
    whole = max((across for across, _ in sampling), default=1) * max(
        (down for _, down in sampling), default=1
    )
    return 2 * pixels * sum(across * down for across, down in sampling) // max(1, whole)


def _has_one_scan(image: JpegImageFile, data: bytes) -> bool:
    """Whether the first scan has all colours of an image that is not progressive."""
    if not data or image.fp is None:
        return True  # a caller has opened the image
    colours = len(image.layer)
    start = image.fp.tell() - 2 * colours - 8  # Pillow has read to the end of the scan's header
    whole = data[start : start + 2] == b"\xff\xda" and data[start + 4] == colours
    return whole and "progressive" not in image.info


def _count_scans(data: bytes) -> int:
    """How often a JPEG says that a scan begins, up to one more than `MAX_SCANS`."""
    scans, position = 0, 2
    while scans <= MAX_SCANS and (found := _MARKER.search(data, position)):
        if found[1] == b"\xd9":
            break
        scans += found[1] == b"\xda"
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans


def _require_few_scans(image: TiffImageFile, data: bytes) -> None:
    """Refuse a TIFF of JPEGs whose scans take too long. Its strips may share one JPEG."""
    if image.info.get("compression") != "jpeg" or not data:
        return
    scans = [found.start() for found in islice(_TIFF_SCAN.finditer(data), _TIFF_SCANS + 1)]
    passed = sum(_scans_of_parts(image, scans, *tags) for tags in ((273, 279), (324, 325)))
    if len(scans) > _TIFF_SCANS or passed * _part_pixels(image) > _MAX_SCANNED:
        raise refused(
            "The JPEGs in the TIFF have too many scans, which would take too long.",
            fix="Save it again as an ordinary TIFF.",
        )


def _scans_of_parts(image: TiffImageFile, scans: list[int], places: int, lengths: int) -> int:
    """How many of the scans the strips or tiles have together, by the tags of both."""
    parts = zip_longest(_tag(image, places), _tag(image, lengths), fillvalue=0)
    return sum(
        # libtiff guesses a length that is missing.
        bisect_left(scans, place + length) - bisect_left(scans, place) if length else len(scans)
        for place, length in parts
    )


def _part_pixels(image: TiffImageFile) -> int:
    """The pixels of a tile, or of a strip if there are no tiles."""
    if 322 in image.tag_v2:
        return max(_tag(image, 322), default=0) * max(_tag(image, 323), default=0)
    height = image.tag_v2[257]
    return image.tag_v2[256] * min(max(_tag(image, 278), default=height), height)


def _tiff_bytes(image: TiffImageFile, pixels: int) -> int:
    """The largest strip or tile, which libtiff decodes at once, and a second copy if rotated."""
    strip = image.width * min(max(_tag(image, 278), default=image.height), image.height)
    tile = max(_tag(image, 322), default=0) * max(_tag(image, 323), default=0)
    rotated = 4 * pixels if max(_tag(image, 274), default=1) > 1 else 0
    sample = max(_tag(image, 277), default=1) * max(_tag(image, 258), default=1)
    return max(strip, tile) * sample // 8 + rotated


def _tag(image: TiffImageFile, number: int) -> Sequence[int]:
    """All values of a tag, none if it is not there."""
    value = image.tag_v2.get(number, ())
    return [*map(int, value)] if isinstance(value, tuple | bytes) else [int(value)]
