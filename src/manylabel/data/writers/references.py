"""Where a data set is written, and how its files refer to its images."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from manylabel.data.records import Records
from manylabel.errors import DataError, ImageError
from manylabel.images import (
    FORMATS,
    Crop,
    Place,
    Stored,
    has_image_ending,
    open_image,
    read_header,
    usual_ending,
)
from manylabel.images.decoding import image_errors
from manylabel.images.places import file_bytes


@final
@dataclass(frozen=True)
class Target:
    """A data set that is being written: first in a temporary folder, which is then moved.

    Args:
        home: The final folder. The paths in the data set are relative to it.
        built: The temporary folder that takes the place of `home` while files are written.
        name: The name of the file in that folder. If the format has several files, the name of the
            folder itself.
        images: The folder in `home` for images that are not files of their own.
        on_progress: Called with the number of images done so far.
    """

    home: Path
    built: Path
    name: str
    images: str
    on_progress: Callable[[int], None]


def extracted(place: Place) -> bool:
    """Whether an image is not a file of its own. A path can then refer only to a copy of it."""
    return isinstance(place, Stored | Crop)


def references(records: Records, target: Target) -> list[str]:
    """The path of each image for the written file, [N].

    An image that is not a file of its own is first copied to a file.

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
    """The path of a file: relative if the file is in `home`, so that both can be moved together."""
    whole = Path(os.path.abspath(path))
    base = Path(os.path.abspath(home))
    return (whole.relative_to(base) if whole.is_relative_to(base) else whole).as_posix()


def mask_references(records: Records, target: Target) -> list[str | None]:
    """The path of each mask for the written file, [N]. Empty if the data set has no masks."""
    return [mask and reference(mask, target.home) for mask in records.masks or ()]


def unpadded(text: str, records: Records) -> str:
    """The same text, for a format whose readers strip blanks at both ends.

    Raises:
        DataError: The text begins or ends with a blank, so it would change when it is read back.
    """
    if text != text.strip():
        raise DataError(
            f"The name {text!r} begins or ends with a blank, which the format does not keep.",
            where=records.source,
            fix="Rename it, or convert to Parquet.",
        )
    return text


def image_file(place: Place) -> tuple[bytes, str]:
    """The bytes of an image file as it is stored, and its ending. A crop becomes a PNG file.

    Raises:
        ImageError: The file cannot be read, or is not an image.
    """
    if isinstance(place, Crop):
        png = io.BytesIO()
        open_image(place).save(png, "PNG")
        return png.getvalue(), ".png"
    with image_errors(str(place)):
        content = file_bytes(place)
    ending = _ending(content, place)
    if isinstance(place, Path) and has_image_ending(place):
        return content, place.suffix.lower()
    return content, ending


def _ending(content: bytes, place: Place) -> str:
    """The usual ending of an image's format, by the header. Only known formats are tried."""
    try:
        ending = usual_ending(read_header(content).format)
    except ImageError:
        ending = None
    if ending is None:
        raise ImageError(
            "The file is not an image of a known format, so it is not copied.",
            where=str(place),
            fix=f"Give one of {', '.join(FORMATS)}. manylabel data check finds all such images.",
        )
    return ending


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of the upright image, from the header of its file.

    Raises:
        ImageError: The image cannot be read.
    """
    return read_header(path).size
