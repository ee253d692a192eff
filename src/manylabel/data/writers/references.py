"""Where a written data set lies, and how it names its images."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from PIL import ExifTags, Image

from manylabel.data.records import Records
from manylabel.errors import DataError, ImageError, os_errors_as
from manylabel.images import (
    Crop,
    Place,
    Stored,
    has_image_ending,
    open_image,
    usual_ending,
)

_LYING: Final = range(5, 9)
"""EXIF orientations of images that are stored on their side."""


@final
@dataclass(frozen=True)
class Target:
    """A data set that is being written: built at one place, then moved to another as a whole.

    Args:
        home: The folder that its paths are relative to, once it has been moved.
        built: The folder that stands for `home` meanwhile.
        name: Its file's name in that folder; that of the folder itself where it is several files.
        images: The folder in `home` for images that are no files of their own.
        on_progress: Called with the number of images that are done.
    """

    home: Path
    built: Path
    name: str
    images: str
    on_progress: Callable[[int], None]


def extracted(place: Place) -> bool:
    """Whether an image is no file of its own, so that only a copy of it can be named by a path."""
    return isinstance(place, Stored | Crop)


def references(records: Records, target: Target) -> list[str]:
    """The path [N] of each image for the written file; what is no file is written as one first.

    Raises:
        ImageError: An image cannot be read.
        OSError: A copy cannot be written.
    """
    texts = []
    for number, place in enumerate(records.images):
        if extracted(place):
            content, ending = image_file(place)
            name = f"{target.images}/{number:08d}{ending}"
            (target.built / target.images).mkdir(parents=True, exist_ok=True)
            (target.built / name).write_bytes(content)
            texts.append(name)
        else:
            assert isinstance(place, Path)
            texts.append(reference(place, target.home))
        target.on_progress(number + 1)
    return texts


def reference(path: Path, home: Path) -> str:
    """A file's path: relative to `home` where it lies below, so that both can be moved together."""
    whole = Path(os.path.abspath(path))
    base = Path(os.path.abspath(home))
    return (whole.relative_to(base) if whole.is_relative_to(base) else whole).as_posix()


def mask_references(records: Records, target: Target) -> list[str | None]:
    """The path [N] of each mask for the written file; empty where the data set has no masks."""
    return [mask and reference(mask, target.home) for mask in records.masks or ()]


def unpadded(text: str, records: Records) -> str:
    """The text as it is, for a format whose readers strip it.

    Raises:
        DataError: It would be read back changed.
    """
    if text != text.strip():
        raise DataError(
            f"The name {text!r} begins or ends with a blank, which the format does not keep.",
            where=records.source,
            fix="Rename it, or convert to Parquet.",
        )
    return text


def image_file(place: Place) -> tuple[bytes, str]:
    """An image's file as it is stored, with its ending; a crop as a PNG file of its pixels.

    Raises:
        ImageError: It cannot be read, or is no image.
    """
    if isinstance(place, Crop):
        png = io.BytesIO()
        open_image(place).save(png, "PNG")
        return png.getvalue(), ".png"
    with os_errors_as(ImageError, "The image cannot be read", where=place, fix="Check the path."):
        content = place.read() if isinstance(place, Stored) else place.read_bytes()
    if isinstance(place, Path) and has_image_ending(place):
        return content, place.suffix.lower()
    return content, _ending(content, place)


def _ending(content: bytes, place: Place) -> str:
    try:
        with _quiet(), Image.open(io.BytesIO(content)) as image:
            ending = usual_ending(image.format)
    except Exception:  # whatever a decoder raises
        ending = None
    if ending is None:
        raise ImageError(
            "What kind of image this is cannot be told.",
            where=str(place),
            fix="Fetch or export it again; manylabel data check finds all such images.",
        )
    return ending


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of an image that is set upright, from its header.

    Raises:
        ImageError: It cannot be read.
    """
    try:
        with _quiet(), Image.open(path) as image:
            width, height = image.size
            lying = image.getexif().get(ExifTags.Base.Orientation) in _LYING
    except Exception:  # whatever a decoder raises: the careful way says what is wrong
        return open_image(path).size
    return (height, width) if lying else (width, height)


def _quiet() -> warnings.catch_warnings[None]:
    return warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
