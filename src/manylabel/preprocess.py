"""From an image file to the pixels that a model takes: one deterministic path for every command.

An `InputSpec` is data: it travels with a bundle, so training, evaluation, prediction and whatever
a bundle is exported to prepare an image alike.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from pydantic import Field, FiniteFloat
from torch import Tensor

from manylabel.config import Config
from manylabel.errors import ImageError

ImageSource = str | Path | bytes | Image.Image

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

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class InputSpec(Config):
    """What a model's input looks like."""

    height: int = Field(default=224, ge=16)
    """Pixels. The whole image is squashed to height x width; its aspect ratio is not kept."""
    width: int = Field(default=224, ge=16)
    """Pixels."""
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.485, 0.456, 0.406)
    """Subtracted from each channel after scaling by `value_scale`, in `colour_order`."""
    std: tuple[_Positive, _Positive, _Positive] = (0.229, 0.224, 0.225)
    """Each channel is divided by it, in `colour_order`."""
    colour_order: Literal["rgb", "bgr"] = "rgb"
    """The order of the three channels; the authors' Caffe models take bgr."""
    value_scale: _Positive = 1 / 255
    """Pixels 0..255 are multiplied by it first: 1/255 gives 0..1, 1 leaves 0..255 (Caffe)."""
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    """Interpolation of the squash, antialiased."""


def open_image(source: ImageSource) -> Image.Image:
    """An image in RGB, 8 bits a channel, upright.

    EXIF rotation is applied; transparency is laid over white; 16-bit greys are scaled to 8 bits;
    CMYK and palettes are converted; of an animation the first frame is taken.

    Args:
        source: A path, the bytes of a file, or an image that Pillow has opened.

    Raises:
        ImageError: The image is missing, empty, truncated, no image, smaller than `MIN_SIDE`
            or larger than `MAX_PIXELS`.
    """
    where = _name(source)
    try:
        image = source if isinstance(source, Image.Image) else _open(_read(source, where))
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


def _read(source: str | Path | bytes, where: str) -> bytes:
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
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


def _open(data: bytes) -> Image.Image:
    with _OPENING, warnings.catch_warnings():
        # Pillow warns at half the limit below; the limit itself is checked here, once.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data))
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


def to_pixels(image: Image.Image, spec: InputSpec) -> Tensor:
    """The whole image squashed to the model's size: uint8 [3, height, width], RGB, 0..255."""
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    squashed = image.resize((spec.width, spec.height), resample[spec.resize])
    return torch.from_numpy(np.array(squashed, dtype=np.uint8)).permute(2, 0, 1)


def normalise(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Pixels as the model takes them.

    Args:
        pixels: [N, 3, H, W], RGB, 0..255, uint8 or float. Keep them uint8 until they are on the
            device: a quarter of the bytes to move.
        spec: The model's input.

    Returns:
        Float [N, 3, H, W] in the spec's colour order, scaled and standardised.
    """
    if spec.colour_order == "bgr":
        pixels = pixels.flip(1)
    scaled = pixels.float() * spec.value_scale
    mean = torch.tensor(spec.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(spec.std, device=pixels.device).view(3, 1, 1)
    return (scaled - mean) / std


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
    turned = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
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
