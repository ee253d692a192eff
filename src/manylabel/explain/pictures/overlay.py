"""Lays an evidence map over an image, so that the image can still be read.

Where a map is 0, the image is left nearly as it is. The stronger the evidence, the more of the
map's colour covers it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Style = Literal["smooth", "grid"]
"""How a map is enlarged: `smooth` by bicubic interpolation, `grid` with the model's own cells."""

OPACITY: Final = 0.8
"""How much of the map's colour covers the image where the map is 1."""
SATURATION: Final = 0.65
"""How much of the colours of the image stays below a map."""
BRIGHTNESS: Final = 0.94
"""How much of the brightness of the image stays below a map."""
LINE_AT: Final = 0.5
"""The contour is drawn around the places where the map is at least this."""

_DARKEST: Final = 0.12
"""Where the colours start in matplotlib's `plasma`: what is darker looks like a shadow."""
_LEVELS: Final = 256
_LINE_OPACITY: Final = np.float32(0.85)


def blend(image: Image.Image, strength: NDArray[Any], style: Style = "smooth") -> Image.Image:
    """The image under the colours of one map.

    Args:
        image: RGB. The result has its size.
        strength: [H, W], 0..1, over the whole image.
        style: How the map is enlarged.
    """
    large = enlarged(strength, image.size, style)
    below = _muted(np.asarray(image.convert("RGB"), dtype=np.float32))
    above = _colours()[np.round(large * (_LEVELS - 1)).astype(np.intp)]
    opacity = np.float32(OPACITY) * large[..., None]
    mixed = np.asarray(below + (above - below) * opacity, dtype=np.float32)
    if style == "smooth":
        mixed = _outlined(mixed, large, max(1, round(math.sqrt(image.width * image.height) / 256)))
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def enlarged(strength: NDArray[Any], size: tuple[int, int], style: Style) -> NDArray[np.float32]:
    """A map [H, W] at the size (width, height) of an image: [height, width], 0..1."""
    how = Image.Resampling.BICUBIC if style == "smooth" else Image.Resampling.NEAREST
    small = Image.fromarray(np.asarray(strength, dtype=np.float32))
    # The interpolation goes a little beyond the largest and the smallest value.
    return np.clip(np.asarray(small.resize(size, how), dtype=np.float32), 0, 1)


def colour_of(strength: float) -> tuple[int, int, int]:
    """The colour of a strength, 0..1, as red, green and blue, 0..255."""
    red, green, blue = np.round(_colours()[round(strength * (_LEVELS - 1))]).astype(int).tolist()
    return red, green, blue


def colour_bar(size: tuple[int, int]) -> Image.Image:
    """All colours of a map from 0 at the left to 1 at the right, over a grey image."""
    ramp = np.linspace(0, 1, size[0], dtype=np.float32)[None].repeat(size[1], axis=0)
    return blend(Image.new("RGB", size, (150, 150, 150)), ramp, "grid")


@cache
def _colours() -> NDArray[np.float32]:
    """The colours of the strengths from 0 to 1, [256, 3], 0..255.

    They are matplotlib's `plasma`: equal steps of strength look like equal steps of lightness, also
    to people with colour blindness and in grey print.
    """
    from matplotlib import colormaps

    levels = np.linspace(_DARKEST, 1, _LEVELS)
    return np.asarray(colormaps["plasma"](levels)[:, :3] * 255, dtype=np.float32)


def _muted(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels [H, W, 3] with a little less colour and brightness, so that the map's are seen."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    grey = (pixels @ weights)[..., None]
    return np.asarray((grey + (pixels - grey) * SATURATION) * BRIGHTNESS, dtype=np.float32)


def _outlined(
    pixels: NDArray[np.float32], large: NDArray[np.float32], line: int
) -> NDArray[np.float32]:
    """Pixels with a white contour around the places with at least `LINE_AT`."""
    inside = large >= LINE_AT
    edge = inside & ~_shrunk(inside, line)
    return np.where(edge[..., None], pixels + (255 - pixels) * _LINE_OPACITY, pixels)


def _shrunk(inside: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """The places that are inside, and all of whose neighbours are, `by` times."""
    for _ in range(by):
        padded = np.pad(inside, 1, mode="edge")
        inside = (
            padded[1:-1, 1:-1]
            & padded[:-2, 1:-1]
            & padded[2:, 1:-1]
            & padded[1:-1, :-2]
            & padded[1:-1, 2:]
        )
    return inside
