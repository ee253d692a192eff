"""Images: where they can be stored, and how they become upright RGB with 8 bits per channel."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from manylabel.errors import ImageError, os_errors_as

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused as decompression bombs: twice Pillow's own warning limit."""

MIN_SIDE = 2
"""Images with a shorter side are refused: a 1x1 image is a tracking pixel or a failed download."""

FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm",),
}
"""The image formats, each with its file endings; the usual ending is the first."""

ENDINGS: Final = tuple(sorted(ending for endings in FORMATS.values() for ending in endings))
"""File endings, in lower case, that are read as images in a folder."""

_BY_PILLOW: Final = {name.upper(): endings[0] for name, endings in FORMATS.items()} | {
    "MPO": FORMATS["JPEG"][0]
}
"""The usual endings by Pillow's names of formats. MPO is several JPEGs in one file."""


_OPENING = threading.Lock()
"""Warning filters are global to the process, so only one thread at a time may change them."""


_DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, IndexError, KeyError),
    *(AttributeError, RuntimeError, struct.error),
)
"""Pillow's decoders raise all of these on truncated or mutated files."""

# ImageOps.exif_transpose is not used: it rewrites all EXIF data and fails if any of it is damaged.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that makes an image upright, by its EXIF orientation."""


class Stored(ABC):
    """An image that is not a file of its own, but stored inside something larger.

    Its `str()` says where it is, for messages.
    """

    @abstractmethod
    def read(self) -> bytes:
        """The bytes of the image file.

        Raises:
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
        """The bytes of the part."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

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

    def crop(self, image: Image.Image) -> Image.Image:
        """Crops the opened image, with every pixel that the box touches.

        Raises:
            ImageError: The box is outside the image, or smaller than `MIN_SIDE`.
        """
        return image.crop(self.bounds(image.width, image.height))

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


def has_image_ending(name: str | os.PathLike[str]) -> bool:
    """Whether a file name has an ending of an image, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def usual_ending(pillow_format: str | None) -> str | None:
    """The file ending of a format, such as ".jpg" for "JPEG"; None if it is not in `FORMATS`.

    Args:
        pillow_format: Pillow's name of the format: the attribute `format` of an opened image.
    """
    return _BY_PILLOW.get(pillow_format or "")


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


def open_image(source: ImageSource) -> Image.Image:
    """Opens an image as upright RGB with 8 bits per channel.

    EXIF rotation is applied. Transparent pixels are blended with white. 16-bit grey values are
    scaled to 8 bits. CMYK and palettes are converted. The first frame of an animation is used.

    Args:
        source: A path or another place, the bytes of a file, or an image opened by Pillow.

    Raises:
        ImageError: The file is missing, empty, truncated or not an image, or the image is smaller
            than `MIN_SIDE` or larger than `MAX_PIXELS`.
    """
    if isinstance(source, Crop):
        return _open_crop(source)
    where = _name(source)
    return _upright(source if isinstance(source, Image.Image) else _read(source, where), where)


def load_rgb(source: ImageSource) -> NDArray[np.uint8]:
    """The same pixels as `open_image`, but faster: uint8 [H, W, 3], RGB, 0..255.

    Ordinary JPEGs (8 bits, grey or three colours, no rotation) are decoded by simplejpeg. It uses
    the same libjpeg-turbo as Pillow with less overhead. Pillow opens all other images and gives all
    errors.

    Args:
        source: As for `open_image`.

    Raises:
        ImageError: As for `open_image`, with the same text.
    """
    if isinstance(source, Crop):
        return _load_crop(source)
    if isinstance(source, Image.Image):
        return rgb_pixels(open_image(source))
    where = _name(source)
    data = _read(source, where)
    pixels = _decode_jpeg(data)
    return rgb_pixels(_upright(data, where)) if pixels is None else pixels


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """A copy of an RGB image's pixels: uint8 [H, W, 3], 0..255."""
    assert image.mode == "RGB", image.mode
    return np.array(image, dtype=np.uint8)


def _upright(source: Image.Image | bytes, where: str) -> Image.Image:
    """Decodes an opened image, or the bytes of one, with Pillow, for `open_image`."""
    try:
        image = source if isinstance(source, Image.Image) else _open(source)
        image.load()
        return _to_rgb(image, where)
    except UnidentifiedImageError:
        raise ImageError(
            "The file is not an image that can be read.",
            where=where,
            fix=f"Give {', '.join([*FORMATS][:-1])} or {[*FORMATS][-1]}.",
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"The image has more than {MAX_PIXELS:,} pixels.",
            where=where,
            fix="Make it smaller first: decoding it would need too much memory.",
        ) from None
    except ImageError:
        raise
    except _DAMAGE as error:
        raise ImageError(
            f"The image is damaged: {error}.", where=where, fix="Download or export it again."
        ) from None


def _decode_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of an ordinary JPEG; None if Pillow must decode it or give the error."""
    if not data.startswith(b"\xff\xd8") or not _is_ordinary(data):
        return None
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError:  # raised for every fault of the file, even if Pillow can decode it
        return None


def _is_ordinary(data: bytes) -> bool:
    """Whether the decoded pixels of a JPEG need no further step, according to its header."""
    try:
        image = _open(data)
        return (
            image.format in {"JPEG", "MPO"}
            and image.mode in {"L", "RGB"}
            and min(image.size) >= MIN_SIDE
            and _orientation(image) not in _UPRIGHT
        )
    except (Image.DecompressionBombError, *_DAMAGE):
        return False


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _open_crop(crop: Crop) -> Image.Image:
    try:
        return crop.crop(open_image(crop.image))
    except ImageError as error:
        raise ImageError(error.what, where=str(crop), fix=error.fix) from None


def _load_crop(crop: Crop) -> NDArray[np.uint8]:
    try:
        pixels = load_rgb(crop.image)
        left, top, right, bottom = crop.bounds(pixels.shape[1], pixels.shape[0])
    except ImageError as error:
        raise ImageError(error.what, where=str(crop), fix=error.fix) from None
    return pixels[top:bottom, left:right]


def _read(source: str | Path | bytes | Stored, where: str) -> bytes:
    with os_errors_as(ImageError, "The image cannot be read", where=where, fix="Check the path."):
        data = _bytes_of(source)
    if not data:
        raise ImageError(
            "The image file is empty (0 bytes).", where=where, fix="Download or export it again."
        )
    return data


def _bytes_of(source: str | Path | bytes | Stored) -> bytes:
    if isinstance(source, bytes):
        return source
    return source.read() if isinstance(source, Stored) else Path(source).read_bytes()


def _open(data: bytes) -> Image.Image:
    with _OPENING, warnings.catch_warnings():
        # Pillow warns at half of MAX_PIXELS; the limit itself is checked below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data))
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


def _name(source: ImageSource) -> str:
    if isinstance(source, bytes):
        return f"an image of {len(source):,} bytes"
    if isinstance(source, Image.Image):
        return getattr(source, "filename", "") or "an image in memory"
    return str(source)


def _to_rgb(image: Image.Image, where: str) -> Image.Image:
    if min(image.size) < MIN_SIDE:
        raise ImageError(
            f"The image is {image.width}x{image.height} pixels.",
            where=where,
            fix="Remove it: it has no content to classify.",
        )
    transpose = _UPRIGHT.get(_orientation(image))
    image = image if transpose is None else image.transpose(transpose)
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_8_bits(image).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scales grey values to 8 bits: 16-bit ones by 1 / 257, others from their own range."""
    values = np.asarray(image, dtype=np.float64)
    if image.mode.startswith("I;16") or (image.mode == "I" and values.max() <= 65_535):
        scaled = values / 257
    else:
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) * (255 / (high - low) if high > low else 0)
    return Image.fromarray(np.clip(scaled, 0, 255).round().astype(np.uint8))
