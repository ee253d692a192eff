"""Refuses a file whose header takes long to open, before Pillow reads it.

Pillow makes objects of everything that a header holds. The walks here read only what says how much
that is: a few bytes of each segment of a JPEG, chunk of a PNG or tag of a TIFF.
"""

from __future__ import annotations

import os
import re
import struct
from typing import IO, Final

from PIL.JpegImagePlugin import MARKER

from manylabel.errors import ImageError
from manylabel.images.errors import refused

MAX_SEGMENTS: Final = 10_000
"""JPEGs with more segments before the image are refused."""

MAX_FILLER: Final = 65_536
"""JPEGs with more bytes between those segments are refused: Pillow skips them one by one. PPMs must
begin with a header of at most so many bytes."""

MAX_EXIF: Final = 1_000_000
"""Images with more bytes of EXIF are refused. It has pictures of its own at most, of 64 kB."""

MAX_CHUNKS: Final = 200_000
"""PNGs with more chunks are refused: 512 MiB in the usual chunks of 8 KiB are 65,536."""

MAX_TAGS: Final = 4_096
"""TIFFs with more tags are refused."""

MAX_PARTS: Final = 65_536
"""TIFFs with more strips or tiles are refused: one for each row of the highest image."""

MAX_NUMBERS: Final = 200_000
"""TIFFs with more numbers in all tags are refused: twice `MAX_PARTS`, and colours."""

_FEW_BYTES: Final = 1_000_000
"""In a JPEG or PNG of fewer bytes, no number of segments or chunks takes long."""

_SEGMENT: Final = re.compile(
    b"\xff([%b])" % re.escape(bytes(marker & 0xFF for marker, each in MARKER.items() if each[2]))
)
"""A marker of a segment that Pillow reads. It skips what stands between segments."""

_PPM: Final = re.compile(rb"P[0-6fy]")
_COMMENT: Final = re.compile(rb"#[^\r\n]*")

_PARTS: Final = frozenset({258, 273, 279, 324, 325, 338, 339})
"""The tags of which Pillow goes through each value: bits, strips, tiles and kinds of samples."""

_NUMBER: Final = {3: 2, 4: 4, 5: 8, 6: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""The bytes of a number, by its type in a TIFF. Other types are bytes and text."""


def require_short_header(file: IO[bytes], start: bytes) -> None:
    """Refuse an image file with far more in its header than images have.

    Args:
        file: The file, which is left at any place.
        start: Its first bytes, at least 16 if it has them.

    Raises:
        ImageError: It is beyond a limit of this module.
    """
    length = file.seek(0, os.SEEK_END)
    if start.startswith(b"\xff\xd8") and length > _FEW_BYTES:
        _require_few_segments(file)
    elif start.startswith(b"\x89PNG") and length > _FEW_BYTES:
        _require_few_chunks(file)
    elif start[:2] in {b"II", b"MM"} and len(start) >= 16:
        _require_few_tags(file, start, length)
    elif _PPM.match(start) and length > MAX_FILLER:
        _require_early_pixels(file)


def require_short_exif(size: int) -> None:
    """Refuse an image with so many bytes of EXIF, if they are too many.

    Raises:
        ImageError: They are more than `MAX_EXIF`.
    """
    if size > MAX_EXIF:
        raise _too_much(f"{MAX_EXIF:,} bytes of EXIF")


def _require_few_segments(file: IO[bytes]) -> None:
    position, filler, exif = 2, 0, 0
    for _ in range(MAX_SEGMENTS):
        file.seek(position)
        data = file.read(MAX_FILLER + 64)
        found = _SEGMENT.search(data)
        filler += found.start() if found else len(data)
        if filler > MAX_FILLER:
            raise _too_much(f"{MAX_FILLER:,} bytes between the segments of the JPEG")
        if not found or found[1] == b"\xda":
            return
        size = int.from_bytes(data[found.end() : found.end() + 2], "big")
        # Pillow joins the parts of EXIF one by one.
        exif += size if data[found.end() + 2 :].startswith(b"Exif") else 0
        require_short_exif(exif)
        position += found.end() + max(2, size)
    raise _too_much(f"{MAX_SEGMENTS:,} segments before the image of the JPEG")


def _require_few_chunks(file: IO[bytes]) -> None:
    position = 8
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        chunk = file.read(8)
        if len(chunk) < 8 or chunk[4:] == b"IEND":
            return
        position += int.from_bytes(chunk[:4], "big") + 12
    raise _too_much(f"{MAX_CHUNKS:,} chunks of the PNG")


def _require_few_tags(file: IO[bytes], start: bytes, length: int) -> None:
    """Look at the first directory of a TIFF or BigTIFF, as Pillow does."""
    order, large = ("<" if start[:2] == b"II" else ">"), start[2] == 43
    (directory,) = struct.unpack_from(order + ("8xQ" if large else "4xL"), start)
    if directory > length:
        return
    file.seek(directory)
    count = int.from_bytes(file.read(8 if large else 2), "little" if order == "<" else "big")
    if count > MAX_TAGS:
        raise _too_much(f"{MAX_TAGS:,} tags of the TIFF")
    tag = struct.Struct(order + ("HHQ8x" if large else "HHL4x"))
    data, numbers = file.read(count * tag.size), 0
    for number, kind, values in tag.iter_unpack(data[: len(data) // tag.size * tag.size]):
        if values * _NUMBER.get(kind, 1) > length:
            continue  # it is not in the file, so Pillow skips it
        if number in _PARTS and values > MAX_PARTS:
            raise _too_much(f"{MAX_PARTS:,} strips or tiles of the TIFF")
        numbers += values if kind in _NUMBER else 0
    if numbers > MAX_NUMBERS:
        raise _too_much(f"{MAX_NUMBERS:,} numbers in the tags of the TIFF")


def _require_early_pixels(file: IO[bytes]) -> None:
    """Refuse a PPM with very much space or comments before its pixels."""
    file.seek(0)
    start = file.read(MAX_FILLER)
    words = _COMMENT.sub(b"", start).split(maxsplit=4)
    if len(words) < (3 if start[1:2] in b"14" else 4):
        raise _too_much(f"{MAX_FILLER:,} bytes before the pixels of the PPM")


def _too_much(what: str) -> ImageError:
    return refused(
        f"The header of the image file is too long: there are more than {what}.",
        fix="Save it again as an ordinary image.",
    )
