"""How images become upright RGB with 8 bits per channel, whatever their files hold."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar, final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from manylabel.errors import ImageError, ManylabelError, reason
from manylabel.images.errors import refused
from manylabel.images.formats import FORMATS
from manylabel.images.greys import grey_conversion, strips
from manylabel.images.headers import require_short_exif
from manylabel.images.jpeg import decode_jpeg, is_ordinary, reduced_size, reduction
from manylabel.images.limits import (
    MAX_PIXELS,
    decoded_bytes,
    require_memory,
    require_size,
)
from manylabel.images.memory import Memory
from manylabel.images.opening import open_header, require_known
from manylabel.images.places import (
    Crop,
    ImageSource,
    Place,
    Stored,
    file_bytes,
    file_size,
    name_of,
    open_file,
)
from manylabel.images.quiet import QUIET

T = TypeVar("T")
Pixels = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB, 0..255."""

_TURNED: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange width and height."""

_UPRIGHT: Final[dict[int, Callable[[Pixels], Pixels]]] = {
    2: lambda lying: lying[:, ::-1],
    3: lambda lying: lying[::-1, ::-1],
    4: lambda lying: lying[::-1],
    5: lambda lying: lying.transpose(1, 0, 2),
    6: lambda lying: lying[::-1].transpose(1, 0, 2),
    7: lambda lying: lying[::-1, ::-1].transpose(1, 0, 2),
    8: lambda lying: lying[:, ::-1].transpose(1, 0, 2),
}
"""What makes an image upright, by its EXIF orientation."""


def open_image(source: ImageSource) -> Image.Image:
    """Opens an image as upright RGB with 8 bits per channel.

    EXIF rotation is applied. Transparent pixels are blended with white. Grey values of more than 8
    bits are scaled as `images.greys` says. CMYK and palettes are converted. The first frame of an
    animation is used.

    Args:
        source: A path or another place, the bytes of a file, or an image opened by Pillow.

    Raises:
        ImageError: The file is missing, empty, truncated, not a regular file or not an image of a
            format in `FORMATS`, or the image is beyond a limit of `images.limits`.
    """
    return prepared(source, Image.fromarray)


def load_rgb(source: ImageSource) -> Pixels:
    """The same pixels as `open_image`: uint8 [H, W, 3], RGB, 0..255.

    Args:
        source: As for `open_image`.

    Raises:
        ImageError: As for `open_image`.
    """
    return prepared(source, lambda pixels: pixels)


def prepared(
    source: ImageSource,
    prepare: Callable[[Pixels], T],
    *,
    size: tuple[int, int] | None = None,
    memory: Memory | None = None,
) -> T:
    """What `prepare` makes of the pixels of an image, such as a resized copy.

    Whatever goes wrong with the image or in `prepare` becomes an `ImageError`, so that one image
    never ends the work on others.

    Ordinary JPEGs (8 bits, grey or three colours) are decoded by simplejpeg. It uses the same
    libjpeg-turbo as Pillow with less overhead. Pillow decodes all other images.

    Args:
        source: As for `open_image`.
        prepare: Called with the pixels, uint8 [H, W, 3].
        size: Height and width, if `prepare` resizes the image to them. A JPEG of more than
            `REDUCED_ABOVE` pixels may then come at a reduced size.
        memory: Waits until there is room for decoding and preparing the image.

    Raises:
        ImageError: As for `open_image`; or `prepare` failed.
    """
    with image_errors(name_of(source)), QUIET:
        if isinstance(source, Image.Image):
            _require_usable(source)
            return _use(_to_rgb(source), _orientation(source), None, prepare)
        crop = source if isinstance(source, Crop) else None
        with reading(source, memory):
            return _prepare_file(file_bytes(source), crop, prepare, size, memory)


@final
@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an image file says.

    Args:
        format: Pillow's name of the format.
        size: Width and height of the upright image in pixels.
    """

    format: str
    size: tuple[int, int]


def read_header(source: str | bytes | Path | Stored) -> Header:
    """The format and size of an image; a file is read no further than its header, except a PNG.

    Raises:
        ImageError: The image cannot be read, is of no format in `FORMATS`, or is too large.
    """
    with image_errors(name_of(source)), QUIET, ExitStack() as opened:
        if isinstance(source, str | Path):
            image = open_header(opened.enter_context(open_file(source)))
        else:
            image = open_header(io.BytesIO(file_bytes(source)))
        width, height = image.size
        require_size(width, height)
        if image.format == "PNG":  # Pillow decodes it to look for an orientation at its end
            require_memory(decoded_bytes(image, b""))
        # Pillow gives the upright size of a TIFF.
        turned = image.format != "TIFF" and _orientation(image) in _TURNED
        return Header(image.format or "", (height, width) if turned else (width, height))


def reading(source: str | bytes | Place, memory: Memory | None) -> AbstractContextManager[object]:
    """With `memory`: hold the right to read the file that an image is in, one large file at a time.

    Raises:
        ImageError: The file does not exist.
    """
    return memory.reading(file_size(source)) if memory else nullcontext()


def room(memory: Memory | None, needed: int) -> AbstractContextManager[object]:
    """With `memory`: hold room for so many bytes.

    Raises:
        ImageError: It is more than any image may need.
    """
    require_memory(needed)
    return memory.room(needed) if memory else nullcontext()


@contextmanager
def image_errors(where: str) -> Iterator[None]:
    """Turn every error of the block into an `ImageError` of the image at `where`.

    Raises:
        ImageError: The block raised an error that is not another `ManylabelError`.
    """
    try:
        yield
    except Exception as error:
        raise _of_image(error, where) from None


def rgb_pixels(image: Image.Image) -> Pixels:
    """A copy of an RGB image's pixels: uint8 [H, W, 3], 0..255."""
    assert image.mode == "RGB", image.mode
    return np.array(image, dtype=np.uint8)


def _prepare_file(
    data: bytes,
    crop: Crop | None,
    prepare: Callable[[Pixels], T],
    size: tuple[int, int] | None,
    memory: Memory | None,
) -> T:
    image = open_header(io.BytesIO(data))
    require_size(*image.size)
    if is_ordinary(image):
        orientation = _orientation(image)
        # A box is in pixels of the whole image.
        factor = reduction(image, None if crop else size, turned=orientation in _TURNED)
        reduced = reduced_size(image, factor)
        with room(memory, decoded_bytes(image, data, pixels=reduced[0] * reduced[1])):
            pixels = decode_jpeg(data, reduced)
            if pixels is not None:
                return _use(pixels, orientation, crop, prepare)
    with room(memory, decoded_bytes(image, data)):
        image.load()
        orientation, pixels = _orientation(image), _to_rgb(image)
        del image  # its memory is needed for the next steps
        return _use(pixels, orientation, crop, prepare)


def _use(pixels: Pixels, orientation: int, crop: Crop | None, prepare: Callable[[Pixels], T]) -> T:
    """What `prepare` makes of decoded pixels, which are made upright and cropped first."""
    if orientation in _UPRIGHT:
        pixels = np.ascontiguousarray(_UPRIGHT[orientation](pixels))
    if crop is not None:
        left, top, right, bottom = crop.bounds(pixels.shape[1], pixels.shape[0])
        pixels = pixels[top:bottom, left:right]
    try:
        return prepare(pixels)
    except (ManylabelError, MemoryError):
        raise
    except Exception as error:
        raise refused(
            f"The image of {pixels.shape[1]}x{pixels.shape[0]} pixels cannot be prepared: "
            f"{reason(error)}.",
            fix="Resize it, or remove it.",
        ) from error


def _require_usable(image: Image.Image) -> None:
    """Refuse an image of a caller that must not be decoded, and decode it."""
    require_known(image)
    require_size(*image.size)
    require_memory(decoded_bytes(image, b""))
    image.load()


def _orientation(image: Image.Image) -> int:
    require_short_exif(len(image.info.get("exif") or b""))  # None in a HEIF without any
    # ImageOps.exif_transpose is not used: it rewrites all EXIF data and fails if any is damaged.
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _to_rgb(image: Image.Image) -> Pixels:
    """Converts a decoded image strip by strip."""
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    convert = _conversion(image)
    for top, strip in strips(image):
        pixels[top : top + strip.height] = convert(strip)
    return pixels


def _conversion(image: Image.Image) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """What makes RGB of a strip of the image: uint8 [h, W, 3], or [h, W, 1] for greys."""
    if image.mode.startswith("I") or image.mode == "F":
        return grey_conversion(image)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        return _over_white
    return lambda strip: np.asarray(strip.convert("RGB"))


def _over_white(strip: Image.Image) -> NDArray[np.uint8]:
    white = Image.new("RGBA", strip.size, "white")
    return np.asarray(Image.alpha_composite(white, strip.convert("RGBA")).convert("RGB"))


def _of_image(error: Exception, where: str) -> ManylabelError:
    """The `ImageError` for whatever an image raised; other mistakes of the user stay the same."""
    if isinstance(error, ImageError):
        return ImageError(error.what, where=where, fix=error.fix)
    if isinstance(error, ManylabelError):
        return error
    what, fix = f"The image is damaged: {reason(error)}.", "Download or export it again."
    if isinstance(error, UnidentifiedImageError):
        *names, last = FORMATS
        what = "The file is not an image that can be read."
        fix = f"Give {', '.join(names)} or {last}."
    elif isinstance(error, Image.DecompressionBombError):
        what = f"The image has more than {MAX_PIXELS:,} pixels."
        fix = "Make it smaller first: decoding it would need too much memory."
    elif isinstance(error, MemoryError):
        what = "There is not enough memory to decode the image."
        fix = "Make it smaller first, or free memory."
    return ImageError(what, where=where, fix=fix)
