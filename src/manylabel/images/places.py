"""Where images can be stored: in files, in parts of files, or in parts of images."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, final

from PIL import Image

from manylabel.errors import ImageError, reason
from manylabel.files import open_regular
from manylabel.images.errors import refused
from manylabel.images.limits import MAX_FILE, MIN_SIDE


class Stored(ABC):
    """An image that is not a file of its own, but stored inside something larger.

    Its `str()` says where it is, for messages.
    """

    @abstractmethod
    def read(self) -> bytes:
        """The bytes of the image file.

        Raises:
            ImageError: They are more than `MAX_FILE`.
            OSError: They cannot be read.
        """

    @abstractmethod
    def identity(self) -> str:
        """A text that changes when the bytes may have changed.

        Raises:
            OSError: The file that contains it cannot be accessed.
        """


@final
@dataclass(frozen=True, slots=True)
class FilePart(Stored):
    """A part of a file, such as a member of a tar archive.

    Args:
        path: The file.
        offset: The start of the part in bytes.
        size: The length of the part in bytes.
        name: The name of the part in the file, for messages.
    """

    path: Path
    offset: int
    size: int
    name: str

    def read(self) -> bytes:
        """The bytes of the part.

        Raises:
            ImageError: They are more than `MAX_FILE`.
            OSError: The file cannot be read, or is not a regular file.
        """
        return read_file(self.path, self.offset, self.size)

    def identity(self) -> str:
        """The identity of the file, with the part's offset and size."""
        return f"{_file_identity(self.path)} {self.offset} {self.size}"

    def __str__(self) -> str:
        return f"{self.path}, {self.name}"


@final
@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangular part of an image, such as one person in a street scene.

    `left`, `top`, `right` and `bottom` are pixels of the upright image. Parts outside the image are
    ignored.
    """

    image: Path | Stored
    left: float
    top: float
    right: float
    bottom: float

    def bounds(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in whole pixels, for an upright image of this size.

        Raises:
            ImageError: The box is outside the image, or smaller than `MIN_SIDE`.
        """
        left, top = max(0, int(self.left)), max(0, int(self.top))
        right = min(width, -int(-self.right // 1))
        bottom = min(height, -int(-self.bottom // 1))
        if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
            raise ImageError(
                f"Only {max(0, right - left)}x{max(0, bottom - top)} pixels of the box are inside "
                f"the image of {width}x{height} pixels.",
                where=str(self),
                fix="Correct its box, or remove it.",
            )
        return left, top, right, bottom

    def __str__(self) -> str:
        box = " ".join(f"{side:g}" for side in (self.left, self.top, self.right, self.bottom))
        return f"{self.image}, box {box}"


Place = Path | Stored | Crop
"""Where an image of a data set is stored."""

ImageSource = str | bytes | Image.Image | Place
"""Everything from which an image can be opened."""


def identity(place: Place) -> str:
    """A text that changes when the image may have changed: name, size and time of its file.

    Raises:
        OSError: There is no such file.
    """
    if isinstance(place, Crop):
        box = (place.left, place.top, place.right, place.bottom)
        return f"{identity(place.image)} {box}"
    return place.identity() if isinstance(place, Stored) else _file_identity(place)


def _file_identity(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


def name_of(source: ImageSource) -> str:
    """The place of an image, for messages."""
    if isinstance(source, bytes):
        return f"an image of {len(source):,} bytes"
    if isinstance(source, Image.Image):
        return getattr(source, "filename", "") or "an image in memory"
    return str(source)


def file_size(source: str | bytes | Place) -> int:
    """The bytes that reading the file of an image takes; 0 if that is not known before.

    Raises:
        ImageError: There is no such file.
    """
    if isinstance(source, Crop):
        return file_size(source.image)
    if isinstance(source, FilePart):
        return source.size
    try:
        return os.stat(source).st_size if isinstance(source, str | Path) else 0
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None


def file_bytes(source: str | bytes | Place) -> bytes:
    """The bytes of the file that an image is in.

    Raises:
        ImageError: They cannot be read, are more than `MAX_FILE`, or there are none.
    """
    place = source.image if isinstance(source, Crop) else source
    try:
        if isinstance(place, bytes):
            data = place
        else:
            data = place.read() if isinstance(place, Stored) else read_file(place)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    _require_file_size(len(data))
    if not data:
        raise refused("The image file is empty (0 bytes).", fix="Download or export it again.")
    return data


def read_file(path: str | Path, offset: int = 0, size: int | None = None) -> bytes:
    """The bytes of a regular file, or of a part of it.

    Args:
        path: The file.
        offset: The start of the part in bytes.
        size: The length of the part in bytes; the whole rest if not given.

    Raises:
        ImageError: They are more than `MAX_FILE`.
        OSError: The file cannot be read, or is not a regular file.
    """
    with open_regular(Path(path)) as file:
        length = os.fstat(file.fileno()).st_size - offset if size is None else size
        _require_file_size(length)
        file.seek(offset)
        return file.read(max(0, length))


@contextmanager
def open_file(path: str | Path) -> Iterator[BinaryIO]:
    """A regular file, opened to be read.

    Raises:
        ImageError: The file cannot be opened, is not a regular file, or is larger than `MAX_FILE`.
    """
    try:
        file = open_regular(Path(path))
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    with file:
        _require_file_size(os.fstat(file.fileno()).st_size)
        yield file


def _unreadable(error: Exception) -> ImageError:
    return refused(f"The image cannot be read: {reason(error)}.", fix="Check the path.")


def _require_file_size(size: int) -> None:
    if size > MAX_FILE:
        raise refused(
            f"The image file has {size / 1e6:,.0f} MB, and {MAX_FILE / 1e6:,.0f} MB are allowed.",
            fix="Make the image smaller first.",
        )
