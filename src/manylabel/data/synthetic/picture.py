"""Draws a scene, and finds the box of the visible part of each object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from manylabel.data.records import Box
from manylabel.data.synthetic.layout import sample_scene
from manylabel.data.synthetic.scene import SIDE, Scene
from manylabel.data.synthetic.shapes import INKS, draw_item, random_colour

_OVERSAMPLE: Final = 3
"""A scene is drawn this many times larger, and then reduced."""


@final
@dataclass(frozen=True)
class Drawing:
    """A drawn scene: the image, and the box of the visible part of every object, in fractions."""

    image: Image.Image
    boxes: tuple[Box, ...]


def render_scene(scene: Scene, size: int = 128) -> Drawing:
    """Draws the scene as an RGB image of `size` x `size` pixels, with its boxes.

    A box encloses the visible part of its object. Parts that other objects hide are left out.
    """
    rng = np.random.default_rng(scene.seed)
    background = _background(rng, size)
    ink = INKS[int(np.asarray(background).mean() < 118)]
    side = size * _OVERSAMPLE
    canvas = background.resize((side, side), Image.Resampling.NEAREST)
    _add_blots(canvas, rng)
    owner = np.full((side, side), -1, dtype=np.int16)
    for number, item in enumerate(scene.items):
        tile = draw_item(item, side / SIDE, ink)
        corner = (round(item.left * side / SIDE), round(item.top * side / SIDE))
        canvas.paste(tile, corner, tile)
        _mark_owner(owner, tile, corner, number)
    image = _with_grain(canvas.reduce(_OVERSAMPLE), rng)
    boxes = tuple(
        _visible_box(owner == number, item.label)
        for number, item in enumerate(scene.items)
        if item.label is not None
    )
    return Drawing(image, boxes)


def _background(rng: Generator, size: int) -> Image.Image:
    """A gradient between two dull colours, with noise of three wavelengths."""
    light = rng.uniform(70, 185)
    ends = light + rng.uniform(-30, 30, size=(2, 1)) + rng.uniform(-22, 22, size=(2, 3))
    angle = rng.uniform(0, 2 * math.pi)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None] + 0.5
    pixels = ends[0] + slope[:, :, None] * (ends[1] - ends[0])
    for cells, strength in ((3, 26), (8, 20), (26, 15)):
        pixels = pixels + strength * _smooth_noise(rng, cells, size)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _smooth_noise(rng: Generator, cells: int, size: int) -> NDArray[np.float32]:
    """Noise [size, size, 3] in -1..1, mostly grey, with a wavelength of size/cells pixels."""
    grey = rng.uniform(-0.7, 0.7, size=(cells, cells, 1))
    noise = grey + rng.uniform(-0.3, 0.3, size=(cells, cells, 3))
    coarse = Image.fromarray(np.round(127.5 + 127.5 * noise).astype(np.uint8))
    smooth = coarse.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) / 127.5 - 1


def _add_blots(canvas: Image.Image, rng: Generator) -> None:
    """Translucent ellipses in the objects' colours."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(rng.integers(3, 8)):
        x, y = rng.uniform(0, canvas.width, size=2).tolist()
        half_x, half_y = rng.uniform(0.04, 0.22, size=2) * canvas.width
        fill = (*random_colour(rng), int(rng.integers(30, 90)))
        draw.ellipse((x - half_x, y - half_y, x + half_x, y + half_y), fill=fill)


def _with_grain(image: Image.Image, rng: Generator) -> Image.Image:
    """Adds fine noise to objects and background."""
    grain = rng.standard_normal((image.height, image.width, 1), dtype=np.float32)
    pixels = np.asarray(image, dtype=np.float32) + rng.uniform(3, 7) * grain
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def _mark_owner(
    owner: NDArray[np.int16], tile: Image.Image, corner: tuple[int, int], number: int
) -> None:
    """Write the item's number to the pixels that its tile covers."""
    left, top = max(0, corner[0]), max(0, corner[1])
    seen = np.asarray(tile.getchannel("A"))[top - corner[1] :, left - corner[0] :] > 127
    region = owner[top : top + seen.shape[0], left : left + seen.shape[1]]
    region[seen[: region.shape[0], : region.shape[1]]] = number


def _visible_box(seen: NDArray[np.bool_], label: str) -> Box:
    """The box around the pixels that are True."""
    rows = np.flatnonzero(seen.any(axis=1)).tolist()
    columns = np.flatnonzero(seen.any(axis=0)).tolist()
    assert rows, f"{label} is not visible: the layout must not allow that"
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return Box(label, *(edge / len(seen) for edge in edges))


def contact_sheet(
    columns: int = 8, rows: int = 4, *, seed: int = 0, size: int = 128
) -> Image.Image:
    """A grid of the first scenes of the training split, with the labels below each scene."""
    cell, strip = size + 8, 36
    sheet = Image.new("RGB", (columns * cell, rows * (cell + strip)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for index in range(columns * rows):
        scene = sample_scene(seed, "train", index)
        left, top = index % columns * cell + 4, index // columns * (cell + strip) + 4
        sheet.paste(render_scene(scene, size).image, (left, top))
        caption = _wrapped(scene.labels or ("(no label)",), size, font)
        draw.multiline_text((left, top + size + 2), caption, fill="black", font=font, spacing=1)
    return sheet


def _wrapped(
    words: Sequence[str], width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """The words, separated by commas, with line breaks where a line would be too wide."""
    lines = [words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]}, {word}"
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
