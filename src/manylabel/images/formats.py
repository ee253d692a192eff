"""The image formats that are read, with the endings of their files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif", ".avifs"),
    "JPEG 2000": (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
    "HEIF": (".heic", ".heif", ".heics", ".heifs", ".hif"),
}
"""The image formats, each with its file endings; the usual ending is the first. MPO, which is
several JPEGs in one file, counts as JPEG."""

ENDINGS: Final = tuple(sorted(ending for endings in FORMATS.values() for ending in endings))
"""File endings, in lower case, that are read as images in a folder."""

HEAD_BYTES: Final = 64
"""So many bytes from the beginning of a file say what format it has."""

_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
)
"""The brands in the first bytes of a HEIF file."""

_BEGINS: Final = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"),
    *(b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
)
_TIFF_BEGINS: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_BMP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})
"""The lengths that the second header of a BMP can have."""

_NO_PHOTOS: Final = frozenset({".thm", ".part", ".crdownload", ".download", ".tmp", ".bak"})
"""Endings of files that may begin like an image and are none: small pictures that cameras make for
films, downloads that are not complete, and copies."""

_BY_PILLOW: Final = {
    name.upper().replace(" ", ""): endings[0] for name, endings in FORMATS.items()
} | {"MPO": FORMATS["JPEG"][0]}
"""The usual endings by Pillow's names of formats."""


def has_image_ending(name: str | os.PathLike[str]) -> bool:
    """Whether a file name has an ending of an image, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def usual_ending(pillow_format: str | None) -> str | None:
    """The file ending of a format, such as ".jpg" for "JPEG"; None if it is not in `FORMATS`.

    Args:
        pillow_format: Pillow's name of the format: the attribute `format` of an opened image.
    """
    return _BY_PILLOW.get(pillow_format or "")


def is_heif(start: bytes) -> bool:
    """Whether a file is HEIF and not AVIF, by its first `HEAD_BYTES` bytes."""
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS and b"avif" not in start


def begins_like_image(name: str | os.PathLike[str], start: bytes) -> bool:
    """Whether a file without the ending of an image is one, by its first `HEAD_BYTES` bytes.

    A file that begins like a TIFF counts only if its name has no ending: the raw files of cameras
    begin like a TIFF, too, and only a small preview could be read of them. A PPM has no beginning
    that tells it from text, so it does not count.

    Args:
        name: The name of the file.
        start: Its first bytes.
    """
    ending = os.path.splitext(name)[1].lower()
    if ending in _NO_PHOTOS:
        return False
    return (
        start.startswith(_BEGINS)
        or (start.startswith(b"RIFF") and start[8:12] == b"WEBP")
        or _begins_like_bmp(start)
        or (start[4:8] == b"ftyp" and start[8:12] in {b"avif", b"avis"})
        or is_heif(start)
        or (not ending and start.startswith(_TIFF_BEGINS))
    )


def _begins_like_bmp(start: bytes) -> bool:
    header = int.from_bytes(start[14:18], "little")
    return start.startswith(b"BM") and start[6:10] == bytes(4) and header in _BMP_HEADERS
