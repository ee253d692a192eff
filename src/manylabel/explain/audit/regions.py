"""Regions of an image: where a label is, another place of the same size, and how they are hidden.

A region is boolean [height, width], in pixels of the model's input. The whole image is resized to
it, so boxes in fractions of the image fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from manylabel.data.records import Box

Fill = Literal["surroundings", "blur"]
FILLS: Final[tuple[Fill, ...]] = ("surroundings", "blur")
"""What a region is filled with: colours that go on from its edges, or the blurred image."""

Region = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
"""uint8 [height, width, 3], RGB."""
Values = NDArray[np.floating[Any]]

MAP_SHARE: Final = 0.5
"""A map's region is where it is at least this share of its highest value."""
_BLUR: Final = 0.08
"""The standard deviation of the blur, as a fraction of the longer side."""
_OUTLINE: Final = np.array((255, 214, 0), dtype=np.uint8)
_OVERLAP: Final = 0.1
"""The largest part of a control region that may lie on what it has to avoid."""


def box_region(boxes: Iterable[Box], size: tuple[int, int]) -> Region:
    """The pixels that some boxes touch: boolean [height, width]."""
    height, width = size
    region = np.zeros(size, dtype=bool)
    for box in boxes:
        top, bottom = _pixels(box.top, box.bottom, height)
        left, right = _pixels(box.left, box.right, width)
        region[top:bottom, left:right] = True
    return region


def map_region(evidence: NDArray[Any], size: tuple[int, int]) -> Region:
    """The pixels where an evidence map [H, W] is at least half as high as at its highest point.

    The map is enlarged to [height, width] by bilinear interpolation. Where no value is above 0,
    there is no evidence, and the region is empty.
    """
    values = Image.fromarray(np.ascontiguousarray(evidence, dtype=np.float32))
    large = np.asarray(values.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    peak = float(large.max())
    return large >= MAP_SHARE * peak if peak > 0 else np.zeros(size, dtype=bool)


def elsewhere(region: Region, avoid: Region, random: np.random.Generator) -> Region | None:
    """The same region at another place, drawn from all places that do not touch `avoid`.

    If there is no such place within the image, the region may also leave it on one side and come in
    on the other, and a tenth of it may lie on `avoid`. If that does not help, there is no region.

    Args:
        region: Boolean [height, width], not empty.
        avoid: Boolean [height, width]: what the new region must not hide.
        random: Draws the place.
    """
    touched = _touched(region, avoid)
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    inside = np.zeros(region.shape, dtype=bool)
    down = np.arange(-rows[0], region.shape[0] - rows[-1])
    right = np.arange(-columns[0], region.shape[1] - columns[-1])
    inside[np.ix_(down, right)] = True  # a shift of -1 is at the last place of the array
    for places in (inside & (touched < 0.5), touched <= _OVERLAP * region.sum()):
        if found := np.flatnonzero(places).tolist():
            shift = np.unravel_index(found[random.integers(len(found))], region.shape)
            return np.roll(region, tuple(map(int, shift)), axis=(0, 1))
    return None


def hidden(pixels: Pixels, region: Region, fill: Fill, *, avoid: Region | None = None) -> Pixels:
    """The image with a region filled.

    Args:
        pixels: uint8 [height, width, 3].
        region: Boolean [height, width].
        fill: "surroundings": the colours around the region go on into it, smoothly. "blur": the
            whole image is blurred there.
        avoid: Boolean [height, width]: objects beside the region, whose colours must not go on
            into it. Otherwise a region beside an object would make that object larger.
    """
    if fill == "blur":
        blurred = ImageFilter.GaussianBlur(_BLUR * max(region.shape))
        filling = np.asarray(Image.fromarray(pixels).filter(blurred))
    else:
        filling = _filling(pixels, region, region if avoid is None else region | avoid)
    return np.where(region[..., None], filling, pixels)


def outlined(pixels: Pixels, region: Region) -> Pixels:
    """A copy of the image with the edge of a region drawn in yellow."""
    around = np.pad(region, 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.where((region & ~inner)[..., None], _OUTLINE, pixels)


def _pixels(start: float, end: float, length: int) -> tuple[int, int]:
    """The first pixel that a span of fractions touches, and the one after its last."""
    first = min(max(0, int(start * length)), length - 1)
    return first, max(first + 1, min(length, int(np.ceil(end * length))))


def _touched(region: Region, avoid: Region) -> NDArray[np.float64]:
    """How many pixels of `avoid` the region covers at each cyclic shift, [height, width]."""
    seen = np.fft.rfft2(avoid) * np.conj(np.fft.rfft2(region))
    return np.fft.irfft2(seen, s=region.shape)


def _filling(pixels: Pixels, region: Region, unknown: Region) -> Pixels:
    """The image with the colours around a region in it. What is far from it is not looked at."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    around = 8 + max(np.ptp(rows), np.ptp(columns)) // 2
    near = tuple(slice(max(0, span[0] - around), span[-1] + around + 1) for span in (rows, columns))
    known = ~unknown[near]
    if not known.any():
        near, known = (slice(None), slice(None)), ~(region if unknown.all() else unknown)
    filled = pixels.copy()
    filled[near] = _spread(pixels[near].astype(np.float32), known).round()
    return filled


def _spread(values: Values, known: Region) -> Values:
    """The values, with those that are not known filled from the known ones around them.

    The image is halved until every block has a known pixel. On the way back, each unknown pixel
    takes the value of its block, and is smoothed with its neighbours.
    """
    if known.all() or not known.any():
        return values
    height, width = known.shape
    rows, columns = -(-height // 2) * 2, -(-width // 2) * 2
    padding = ((0, rows - height), (0, columns - width))
    weights = np.pad(known.astype(np.float32), padding)
    sums = np.pad(values, (*padding, (0, 0))) * weights[..., None]
    blocks, counts = _halved(sums), _halved(weights[..., None])
    coarse = _spread(blocks / np.maximum(counts, 1), counts[..., 0] > 0)
    filling = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    result = np.where(known[..., None], values, filling)
    for _ in range(3):
        result = np.where(known[..., None], values, _smoothed(result))
    return result


def _halved(values: Values) -> Values:
    """The sums of blocks of 2x2: [H, W, D] becomes [H / 2, W / 2, D]."""
    height, width, depth = values.shape
    return values.reshape(height // 2, 2, width // 2, 2, depth).sum(axis=(1, 3))


def _smoothed(values: Values) -> Values:
    """The mean of each pixel and its four neighbours; the edge is repeated."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return (neighbours + values) / 5
