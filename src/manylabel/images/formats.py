"""The image formats that are read, with the endings of their files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "JPEG": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm",),
    "AVIF": (".avif",),
    "JPEG 2000": (".jp2", ".j2k"),
    "HEIF": (".heic", ".heif"),
}
"""The image formats, each with its file endings; the usual ending is the first. MPO, which is
several JPEGs in one file, counts as JPEG."""

ENDINGS: Final = tuple(sorted(ending for endings in FORMATS.values() for ending in endings))
"""File endings, in lower case, that are read as images in a folder."""

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
