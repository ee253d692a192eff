"""How grey values become 8 bits: whole numbers of 16 bits, and values without a defined white.

Whole numbers of 16 bits are divided by 257, so that 65,535 is white. Those of a TIFF that says that
it has 12 bits are divided by 4,095 / 255. Values of 32 bits and signed numbers of 16 bits have no
defined white, so each image is scaled from its own range: the lowest finite value becomes black,
the highest white.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from manylabel.images.errors import refused

Values = NDArray[np.float64]

LEAST_FINITE: Final = 0.5
"""Images with a smaller share of values that are finite are refused."""

_STRIP: Final = 1 << 20
"""Pixels are converted in strips of about this many."""

_SAMPLE: Final = 1_000_000
"""The range of an image is computed from about so many of its values, evenly spread."""

_MIDDLE: Final = (1, 99)
"""The percentiles between which the middle of the values lies."""

_FLAT: Final = 3 / 255
"""If the middle of the values takes a smaller share of the whole range, the range of the middle is
used. A few other values would make the image flat."""

_BITS_TAG: Final = 258
_NO_DATA_TAG: Final = 42113
"""Tags of a TIFF: the bits of a sample, and GDAL's value that means "nothing was measured"."""


@final
class _Range(NamedTuple):
    """The values that become black and white, and the one that stands for what is no number."""

    low: float
    high: float
    typical: float


def grey_conversion(image: Image.Image) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """What makes a strip of a grey image uint8 [h, W, 1].

    Args:
        image: A decoded image whose mode is `I`, one of `I;16`, or `F`.

    Raises:
        ImageError: Most of its values are not finite.
    """
    if image.mode.startswith("I;16"):
        white = 4095 if _tag(image, _BITS_TAG) == (12,) else 65_535
        return lambda strip: _to_8_bits(_values(strip) * (255 / white))
    if image.mode == "I" and not isinstance(image, TiffImageFile) and _is_16_bits(image):
        return lambda strip: _to_8_bits(_values(strip) / 257)
    missing = _no_data(image)
    found = _range(image, missing)
    scale = 255 / (found.high - found.low) if found.high > found.low else 0

    def convert(strip: Image.Image) -> NDArray[np.uint8]:
        values = _measured(strip, missing)
        values = np.where(np.isnan(values), found.typical, values)
        return _to_8_bits((values.clip(found.low, found.high) - found.low) * scale)

    return convert


def _range(image: Image.Image, missing: float | None) -> _Range:
    """The range of an image from which it is scaled."""
    values = _sample(image, missing)
    finite = values[np.isfinite(values)]
    if len(finite) < LEAST_FINITE * len(values):
        raise refused(
            f"{1 - len(finite) / len(values):.0%} of the image's values are not finite, or mean "
            "that nothing was measured.",
            fix="Fill the gaps, or remove the image.",
        )
    low, high = _finite_extremes(image, missing)
    first, typical, last = np.percentile(finite, [_MIDDLE[0], 50, _MIDDLE[1]]).tolist()
    if 0 < last - first < _FLAT * (high - low):
        low, high = first, last
    return _Range(low, high, typical)


def _sample(image: Image.Image, missing: float | None) -> Values:
    """Values of an image, evenly spread: all of them, if there are not more than `_SAMPLE`."""
    step = max(1, round((image.width * image.height / _SAMPLE) ** 0.5))
    chosen = (
        image
        if step == 1
        else image.resize(
            (max(1, image.width // step), max(1, image.height // step)), Image.Resampling.NEAREST
        )
    )
    return _measured(chosen, missing).ravel()


def _finite_extremes(image: Image.Image, missing: float | None) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for _, strip in strips(image):
        values = _measured(strip, missing)
        finite = values[np.isfinite(values)]
        low = min(low, finite.min(initial=np.inf))
        high = max(high, finite.max(initial=-np.inf))
    return float(low), float(high)


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The strips of an image, each with its first row, so that a conversion takes little memory."""
    rows = max(1, _STRIP // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _is_16_bits(image: Image.Image) -> bool:
    low, high = _finite_extremes(image, None)
    return low >= 0 and high <= 65_535


def _no_data(image: Image.Image) -> float | None:
    """The value that a TIFF uses where nothing was measured."""
    try:
        value = float(str(_tag(image, _NO_DATA_TAG)).strip("\0 "))
    except ValueError:
        return None
    return float(np.float32(value)) if image.mode == "F" else value


def _tag(image: Image.Image, number: int) -> object:
    return image.tag_v2.get(number) if isinstance(image, TiffImageFile) else None


def _measured(strip: Image.Image, missing: float | None) -> Values:
    """Values [h, W, 1]; where nothing was measured, they are NaN."""
    values = _values(strip)
    return values if missing is None else np.where(values == missing, np.nan, values)


def _values(strip: Image.Image) -> Values:
    return np.asarray(strip, dtype=np.float64)[..., None]


def _to_8_bits(values: Values) -> NDArray[np.uint8]:
    """Rounds values to 0..255."""
    return values.clip(0, 255).round().astype(np.uint8)
