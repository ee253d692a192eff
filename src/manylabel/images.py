"""Images: where one can lie, and how it becomes RGB, upright, 8 bits a channel."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from manylabel.errors import ImageError

MAX_PIXELS = 178_956_970
"""Images of more pixels are refused as decompression bombs: twice Pillow's own warning limit."""

MIN_SIDE = 2
"""Images with a shorter side are refused: a 1x1 image is a tracking pixel or a failed download."""

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"})
"""File endings, in lower case, that are taken for images when a folder is read."""


_OPENING = threading.Lock()
"""Warning filters belong to the process; threads that open images take turns to change them."""


_DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, IndexError, KeyError),
    *(AttributeError, RuntimeError, struct.error),
)
"""Pillow's decoders raise all of these on truncated or mutated files."""

# Not ImageOps.exif_transpose: it writes the whole EXIF anew, and fails where any of it is damaged.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets an image upright, by EXIF's orientation."""


class Stored(ABC):
    """An image whose bytes lie in something larger than a file of its own.

    `str()` of it says where, for messages.
    """

    @abstractmethod
    def read(self) -> bytes:
        """The bytes of the image file.

        Raises:
            OSError: They cannot be had.
        """

    @abstractmethod
    def identity(self) -> str:
        """A text that changes when the bytes may have changed.

        Raises:
            OSError: What it lies in cannot be looked at.
        """


@final
@dataclass(frozen=True, slots=True)
class FilePart(Stored):
    """Some bytes of a file, as those of a tar archive's member are.

    Args:
        path: The file.
        offset: Where the part begins, in bytes.
        size: Its length in bytes.
        name: What the part is called within the file, for messages.
    """

    path: Path
    offset: int
    size: int
    name: str

    def read(self) -> bytes:
        """The part's bytes."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def identity(self) -> str:
        """Of the file and of the part's place in it."""
        return f"{_file_identity(self.path)} {self.offset} {self.size}"

    def __str__(self) -> str:
        return f"{self.path}, {self.name}"


@final
@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an image: a person of a street scene, say.

    `left`, `top`, `right`, `bottom` are pixels of the upright image; what lies outside of it is
    cut away.
    """

    image: Path | Stored
    left: float
    top: float
    right: float
    bottom: float

    def cut(self, image: Image.Image) -> Image.Image:
        """The part of the opened image, every pixel that it touches.

        Raises:
            ImageError: It lies outside of the image, or is smaller than `MIN_SIDE`.
        """
        return image.crop(self.bounds(image.width, image.height))

    def bounds(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in whole pixels of an upright image of this size.

        Raises:
            ImageError: It lies outside of the image, or is smaller than `MIN_SIDE`.
        """
        left, top = max(0, int(self.left)), max(0, int(self.top))
        right = min(width, -int(-self.right // 1))
        bottom = min(height, -int(-self.bottom // 1))
        if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
            raise ImageError(
                f"Of the part there are {max(0, right - left)}x{max(0, bottom - top)} pixels in "
                f"the image of {width}x{height}.",
                where=str(self),
                fix="Correct its box, or remove it.",
            )
        return left, top, right, bottom

    def __str__(self) -> str:
        box = " ".join(f"{side:g}" for side in (self.left, self.top, self.right, self.bottom))
        return f"{self.image}, box {box}"


Place = Path | Stored | Crop
"""Where an image of a data set lies."""

ImageSource = str | bytes | Image.Image | Place
"""Whatever an image can be opened from."""


def identity(place: Place) -> str:
    """A text that changes when the image there may have changed: name, size and time of its file.

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
    """An image in RGB, 8 bits a channel, upright.

    EXIF rotation is applied; transparency is laid over white; 16-bit greys are scaled to 8 bits;
    CMYK and palettes are converted; of an animation the first frame is taken.

    Args:
        source: A path or another place, the bytes of a file, or an image that Pillow has opened.

    Raises:
        ImageError: The image is missing, empty, truncated, no image, smaller than `MIN_SIDE`
            or larger than `MAX_PIXELS`.
    """
    if isinstance(source, Crop):
        return _open_crop(source)
    where = _name(source)
    return _upright(source if isinstance(source, Image.Image) else _read(source, where), where)


def load_rgb(source: ImageSource) -> NDArray[np.uint8]:
    """The pixels of `open_image`, but faster: uint8 [H, W, 3], RGB, 0..255.

    Ordinary JPEGs (8 bits, grey or three colours, not to be turned) are decoded by simplejpeg,
    which spends less around the same libjpeg-turbo; all else, and every refusal, is Pillow's.

    Args:
        source: As for `open_image`.

    Raises:
        ImageError: As `open_image` does, in the same words.
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
    """An opened image or the bytes of one, decoded by Pillow, as `open_image` gives it."""
    try:
        image = source if isinstance(source, Image.Image) else _open(source)
        image.load()
        return _to_rgb(image, where)
    except UnidentifiedImageError:
        raise ImageError(
            "The file is not an image that can be read.",
            where=where,
            fix="Give JPEG, PNG, WebP, TIFF, BMP or GIF.",
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"The image has more than {MAX_PIXELS:,} pixels.",
            where=where,
            fix="Shrink it first: decoding it would fill the memory.",
        ) from None
    except ImageError:
        raise
    except _DAMAGE as error:
        raise ImageError(
            f"The image is damaged: {error}.", where=where, fix="Fetch or export it again."
        ) from None


def _decode_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of an ordinary JPEG; None where Pillow has to decode, or to say what is wrong."""
    if not data.startswith(b"\xff\xd8") or not _is_ordinary(data):
        return None
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError:  # raised for every fault of the file, a mendable one too
        return None


def _is_ordinary(data: bytes) -> bool:
    """Whether a JPEG's header promises that its pixels are RGB as soon as they are decoded."""
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
        return crop.cut(open_image(crop.image))
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
    try:
        data = _bytes_of(source)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(
            f"The image cannot be read: {reason}.", where=where, fix="Check the path."
        ) from None
    if not data:
        raise ImageError(
            "The image file is empty (0 bytes).", where=where, fix="Fetch or export it again."
        )
    return data


def _bytes_of(source: str | Path | bytes | Stored) -> bytes:
    if isinstance(source, bytes):
        return source
    return source.read() if isinstance(source, Stored) else Path(source).read_bytes()


def _open(data: bytes) -> Image.Image:
    with _OPENING, warnings.catch_warnings():
        # Pillow warns at half the limit below; the limit itself is checked here, once.
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
            fix="Remove it: it holds nothing to classify.",
        )
    turned = _UPRIGHT.get(_orientation(image))
    image = image if turned is None else image.transpose(turned)
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_8_bits(image).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit greys divided by 257, 32-bit and float ones stretched over their own range."""
    values = np.asarray(image, dtype=np.float64)
    if image.mode.startswith("I;16") or (image.mode == "I" and values.max() <= 65_535):
        eight = values / 257
    else:
        low, high = float(values.min()), float(values.max())
        eight = (values - low) * (255 / (high - low) if high > low else 0)
    return Image.fromarray(np.clip(eight, 0, 255).round().astype(np.uint8))
