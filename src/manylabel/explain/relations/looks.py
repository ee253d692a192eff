"""Pictures of units: the images that fire a unit most, with the maps that it follows."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manylabel.errors import ImageError
from manylabel.explain.relations.measure import Relations
from manylabel.explain.relations.stream import relation_probe
from manylabel.images import open_image, rgb_pixels
from manylabel.predict import Predictor

SHOWN: Final = 5
"""The largest number of units of a kind that are shown."""
SIDE: Final = 168
"""The width and height of one image of a unit in pixels."""

FIRST: Final = (230, 126, 20)
SECOND: Final = (36, 86, 201)
"""The colours of the first label's map, orange, and the second label's, blue. People who do not see
red and green apart see these apart."""

_GAP: Final = 4
_QUALITY: Final = 80


@final
@dataclass(frozen=True, slots=True)
class UnitLook:
    """A unit with its pictures.

    Args:
        unit: The unit.
        strip: A JPEG of the images that fire it most, as base64 text; empty if none can be opened.
        keys: The keys of these images.
        kernel: A PNG of its kernel, one pixel for each weight, as base64 text.
        others: PNGs of the kernels of the other units of its group, at most 7.
        without_first: The share of its activation that is left in these images without the evidence
            of the first label; NaN if there are no images.
        without_second: The same without the evidence of the second label.
    """

    unit: int
    strip: str
    keys: tuple[str, ...]
    kernel: str
    others: tuple[str, ...]
    without_first: float
    without_second: float


def look_at(predictor: Predictor, found: Relations, units: Sequence[int]) -> list[UnitLook]:
    """The pictures of some units. Their images are opened again."""
    return [_look(predictor, found, unit) for unit in units]


def kernel_picture(kernel: NDArray[Any]) -> Image.Image:
    """A kernel [h, w] as a picture of h x w pixels: orange adds, blue takes away, white is 0."""
    peak = np.abs(kernel).max()
    strength = np.abs(kernel)[..., None] / (peak if peak > 0 else 1)
    colour = np.where(kernel[..., None] > 0, FIRST, SECOND)
    return Image.fromarray(np.rint(255 + strength * (colour - 255)).astype(np.uint8))


def two_maps(image: Image.Image, first: NDArray[Any], second: NDArray[Any] | None) -> Image.Image:
    """A square picture of the image with one map in orange and one in blue.

    The image loses its colours, so that the two colours stand out. The strength of a colour is the
    root of the map's value, so that weak places are seen, too.

    Args:
        image: RGB, of any size; it is squeezed into a square.
        first: [H, W], 0..1.
        second: The same; None: one map is shown.
    """
    photo = np.asarray(image.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32)
    grey = photo.mean(axis=2, keepdims=True)
    shown = np.repeat(0.8 * grey + 0.2 * 255, 3, axis=2)
    for one, colour in ((first, FIRST), (second, SECOND)):
        if one is not None:
            alpha = 0.85 * np.sqrt(_enlarged(one))[..., None]
            shown = shown * (1 - alpha) + np.array(colour, dtype=np.float32) * alpha
    return Image.fromarray(np.rint(shown).clip(0, 255).astype(np.uint8))


def _look(predictor: Predictor, found: Relations, unit: int) -> UnitLook:
    rows = found.observed.top[unit]
    records = found.observed.records
    images = _opened(found, rows[rows >= 0].tolist())
    strip, left = "", (float("nan"), float("nan"))
    if images:
        maps = _maps(predictor, list(images.values()))
        strip = _strip(found, unit, list(images.values()), maps)
        left = _left(predictor, found, unit, maps)
    own = found.weights.groups == found.weights.groups[unit]
    others = [int(each) for each in np.flatnonzero(own) if each != unit][:7]
    return UnitLook(
        unit=unit,
        strip=strip,
        keys=tuple(records.keys[row] for row in images),
        kernel=_png(kernel_picture(found.weights.kernels[unit])),
        others=tuple(_png(kernel_picture(found.weights.kernels[each])) for each in others),
        without_first=left[0],
        without_second=left[1],
    )


def _opened(found: Relations, rows: Sequence[int]) -> dict[int, Image.Image]:
    """The images that can be opened, by row."""
    images: dict[int, Image.Image] = {}
    for row in rows:
        try:
            images[row] = open_image(found.observed.records.images[row])
        except ImageError:
            continue
    return images


def _maps(predictor: Predictor, images: Sequence[Image.Image]) -> NDArray[np.float32]:
    pixels = np.stack([predictor.engine.prepare(rgb_pixels(image)) for image in images])
    return relation_probe(predictor).maps(pixels).maps


def _strip(
    found: Relations, unit: int, images: Sequence[Image.Image], maps: NDArray[np.float32]
) -> str:
    """The images side by side, with the maps of the labels that the unit follows."""
    follows = found.follows
    labels = [int(follows.first[unit])]
    if follows.kind[unit] in ("layout", "several"):
        labels.append(int(follows.second[unit]))
    # The maps of a label are divided by their maximum over these images: an absent label stays dim.
    scaled = [maps[:, label] / max(float(maps[:, label].max()), 1e-12) for label in labels]
    width = len(images) * (SIDE + _GAP) - _GAP
    sheet = Image.new("RGB", (width, SIDE), "white")
    for i, image in enumerate(images):
        second = scaled[1][i] if len(scaled) > 1 else None
        sheet.paste(two_maps(image, scaled[0][i], second), (i * (SIDE + _GAP), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _left(
    predictor: Predictor, found: Relations, unit: int, maps: NDArray[np.float32]
) -> tuple[float, float]:
    """The shares of the unit's activation that are left without the first and second label."""
    probe = relation_probe(predictor)
    before = float(probe.compute(maps)[1][:, unit].sum())
    shares: list[float] = []
    for label in (int(found.follows.first[unit]), int(found.follows.second[unit])):
        changed = maps.copy()
        changed[:, label] = 0
        after = float(probe.compute(changed)[1][:, unit].sum())
        shares.append(after / before if before > 0 else float("nan"))
    return shares[0], shares[1]


def _enlarged(one: NDArray[Any]) -> NDArray[np.float32]:
    small = Image.fromarray(np.asarray(one, dtype=np.float32))
    large = small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(large, dtype=np.float32).clip(0, 1)


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
