"""The fast way to the pixels of ordinary JPEGs, and reduced decoding of very large ones."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

REDUCED_ABOVE: Final = 64_000_000
"""JPEGs with more pixels are decoded at a half, a quarter or an eighth of their size, if they are
resized anyway."""

MARGIN: Final = 8
"""A JPEG that is decoded at a reduced size stays at least this many times as large as the size that
it is then resized to. So the result of a photograph differs by one level of 255 from that of all
pixels; docs/input.md has the figures."""


def is_ordinary(image: Image.Image) -> bool:
    """Whether simplejpeg can decode the opened image: a JPEG of 8 bits, grey or three colours."""
    return isinstance(image, JpegImageFile) and image.mode in {"L", "RGB"}


def reduction(image: Image.Image, size: tuple[int, int] | None, *, turned: bool) -> int:
    """How many times smaller a JPEG may be decoded: 1, 2, 4 or 8.

    Args:
        image: The opened image.
        size: Height and width of the upright image that it is resized to; None: it is not.
        turned: Whether the image lies on its side.
    """
    if size is None or image.width * image.height <= REDUCED_ABOVE:
        return 1
    height, width = reversed(size) if turned else size
    spare = min(image.height / height, image.width / width) / MARGIN
    return next((factor for factor in (8, 4, 2) if factor <= spare), 1)


def reduced_size(image: Image.Image, factor: int) -> tuple[int, int]:
    """Height and width of a JPEG that is decoded so many times smaller."""
    return -(-image.height // factor), -(-image.width // factor)


def decode_jpeg(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """The pixels of an ordinary JPEG, as Pillow decodes them; None if Pillow must decide.

    Args:
        data: The file.
        size: Its height and width, as `reduced_size` gives them.
    """
    import simplejpeg

    height, width = size
    try:
        return simplejpeg.decode_jpeg(data, colorspace="RGB", min_height=height, min_width=width)
    except ValueError:  # raised for every fault of the file, even if Pillow can decode it
        return None
