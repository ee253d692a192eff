"""The shapes: how each kind of item is drawn on its own tile."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from manylabel.data.synthetic.scene import Item

Colour = tuple[int, int, int]
INKS: Final[tuple[Colour, Colour]] = ((28, 26, 32), (238, 236, 228))
"""The colour of outlines on a light background, and on a dark one."""
RAGGED: Final = 2.4
"""The largest distance, in units, of a thicket's ragged edge from the edge of its box."""
_HOLE: Final = (0, 0, 0, 0)


@final
@dataclass(frozen=True)
class Pen:
    """Draws on one item's tile in fractions of its width and height, y downwards."""

    draw: ImageDraw.ImageDraw
    width: int
    height: int
    unit: float
    """Pixels per unit."""
    main: Colour
    second: Colour
    accent: Colour
    ink: Colour
    rng: Generator

    @property
    def line(self) -> int:
        """The width of an outline in pixels."""
        return max(1, round(0.75 * self.unit))

    def jitter(self, value: float, by: float) -> float:
        """`value` plus uniform noise in -by..by."""
        return value + self.rng.uniform(-by, by)

    def points(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        """Converts fractions of the tile to pixels."""
        return [(x * (self.width - 1), y * (self.height - 1)) for x, y in points]

    def polygon(self, *points: tuple[float, float], fill: Colour) -> None:
        """A filled polygon with an outline."""
        self.draw.polygon(self.points(*points), fill=fill, outline=self.ink, width=self.line)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """A filled rectangle with an outline."""
        corners = self.points((left, top), (right, bottom))
        self.draw.rectangle(corners, fill=fill, outline=self.ink, width=self.line)

    def oval(self, left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        """A filled ellipse with an outline."""
        corners = self.points((left, top), (right, bottom))
        self.draw.ellipse(corners, fill=fill, outline=self.ink, width=self.line)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """A filled circle with an outline; the radius is a fraction of the shorter side."""
        centre_x, centre_y = self.points((x, y))[0]
        r = radius * min(self.width, self.height)
        corners = (centre_x - r, centre_y - r, centre_x + r, centre_y + r)
        self.draw.ellipse(corners, fill=fill, outline=self.ink, width=self.line)

    def stroke(self, *points: tuple[float, float], fill: Colour, width: float = 1.0) -> None:
        """An open line, `width` units wide."""
        thick = max(1, round(width * self.unit))
        self.draw.line(self.points(*points), fill=fill, width=thick, joint="curve")


@final
@dataclass(frozen=True)
class Shape:
    """How a shape is drawn, its width divided by its height, and its largest tilt in degrees."""

    draw: Callable[[Pen], None]
    aspect: float = 1.0
    tilt: float = 6.0


def _boat(pen: Pen) -> None:
    cabin = pen.jitter(0.34, 0.05)
    pen.box(cabin + 0.3, 0.0, cabin + 0.4, 0.5, pen.accent)
    pen.box(cabin - 0.08, 0.18, cabin + 0.26, 0.56, pen.second)
    pen.polygon((0, 0.5), (1, 0.5), (pen.jitter(0.84, 0.04), 1), (0.14, 1), fill=pen.main)
    pen.stroke((0.1, 0.7), (0.9, 0.7), fill=pen.accent)


def _spindle(pen: Pen) -> None:
    """A body with a forked tail and two wings or fins; it looks the same upside down."""
    notch, root = pen.jitter(0.87, 0.04), pen.jitter(0.36, 0.04)
    pen.polygon((0.6, 0.5), (1, 0.1), (notch, 0.5), (1, 0.9), fill=pen.second)
    pen.polygon((root - 0.12, 0.5), (0.62, 0), (root + 0.16, 0.5), (0.62, 1), fill=pen.accent)
    pen.oval(0, 0.24, pen.jitter(0.78, 0.04), 0.76, pen.main)
    pen.stroke((0.15, 0.34), (0.15, 0.66), fill=pen.ink, width=0.8)


def _bridge(pen: Pen) -> None:
    pen.polygon((0, 0.3), (0.5, 0.0), (1, 0.3), (1, 1), (0, 1), fill=pen.main)
    arches = int(pen.rng.integers(2, 4))
    for i in range(arches):
        left, right = (i + 0.16) / arches, (i + 0.84) / arches
        corners = pen.points((left, 0.5), (right, 1.6))
        pen.draw.ellipse(corners, fill=_HOLE, outline=pen.ink, width=pen.line)
    pen.stroke((0.02, 0.36), (0.5, 0.1), (0.98, 0.36), fill=pen.accent)


def _puff(pen: Pen) -> None:
    """Five lobes side by side inside one outline: a cloud or a pond."""
    half = [0.28, pen.jitter(0.42, 0.06), 0.5, pen.jitter(0.42, 0.06), 0.28]
    lobes = [(0.2 * i, 0.5 - tall, 0.2 * i + 0.2, 0.5 + tall) for i, tall in enumerate(half)]
    wider = [(max(0, a - 0.06), b, min(1, c + 0.06), d) for a, b, c, d in lobes]
    for lobe in wider:
        pen.oval(*lobe, fill=pen.ink)
    line = pen.line
    for left, top, right, bottom in wider:
        (a, b), (c, d) = pen.points((left, top), (right, bottom))
        pen.draw.ellipse((a + line, b + line, c - line, d - line), fill=pen.main)
    pen.stroke((0.2, 0.5), (0.42, 0.5), fill=pen.second)
    pen.stroke((0.54, 0.5), (0.8, 0.5), fill=pen.second)


def _tree(pen: Pen) -> None:
    pen.box(0.42, 0.55, 0.58, 1, pen.second)
    if pen.rng.random() < 0.5:
        pen.polygon((0.5, 0.18), (0.98, 0.76), (0.02, 0.76), fill=pen.main)
        pen.polygon((0.5, 0), (0.86, 0.46), (0.14, 0.46), fill=pen.main)
        return
    pen.oval(0.0, 0.22, 0.6, 0.68, pen.main)
    pen.oval(0.4, 0.2, 1.0, 0.7, pen.main)
    pen.oval(0.14, 0.0, pen.jitter(0.84, 0.06), 0.56, pen.main)


def _house(pen: Pen) -> None:
    if pen.rng.random() < 0.6:
        pen.box(0.7, 0.06, 0.82, 0.5, pen.second)
    pen.box(0.1, 0.44, 0.9, 1, pen.main)
    pen.polygon((0, 0.5), (pen.jitter(0.5, 0.06), 0), (1, 0.5), fill=pen.second)
    door = pen.jitter(0.32, 0.06)
    pen.box(door - 0.1, 0.64, door + 0.1, 1, pen.accent)
    pen.box(0.58, 0.6, 0.78, 0.8, pen.accent)


def _signal(pen: Pen) -> None:
    pen.box(0.4, 0.55, 0.6, 1, pen.second)
    pen.box(0.06, 0, 0.94, 0.66, pen.main)
    lit = pen.rng.integers(3)
    for i in range(3):
        pen.disc(0.5, 0.12 + 0.21 * i, 0.24, pen.accent if i == lit else pen.ink)


def _flower(pen: Pen) -> None:
    pen.stroke((0.5, 0.4), (pen.jitter(0.5, 0.08), 1), fill=pen.ink, width=2.6)
    pen.stroke((0.5, 0.4), (0.5, 0.97), fill=pen.second, width=1.4)
    pen.oval(0.52, 0.72, 0.92, 0.86, pen.second)
    petals = int(pen.rng.integers(5, 8))
    for i in range(petals):
        angle = 2 * math.pi * i / petals
        pen.disc(0.5 + 0.3 * math.cos(angle), 0.32 + 0.2 * math.sin(angle), 0.19, pen.main)
    pen.disc(0.5, 0.32, 0.19, pen.accent)


def _car(pen: Pen) -> None:
    roof = pen.jitter(0.3, 0.04)
    pen.polygon((0.14, 0.48), (roof, 0.02), (0.68, 0.02), (0.86, 0.48), fill=pen.main)
    pen.polygon((0.24, 0.46), (roof + 0.04, 0.12), (0.47, 0.12), (0.47, 0.46), fill=pen.accent)
    pen.polygon((0.53, 0.46), (0.53, 0.12), (0.65, 0.12), (0.76, 0.46), fill=pen.accent)
    pen.polygon((0, 0.46), (0.94, 0.44), (1, 0.82), (0, 0.82), fill=pen.main)
    for x in (0.23, 0.77):
        pen.disc(x, 0.79, 0.2, pen.ink)
        pen.disc(x, 0.79, 0.09, pen.second)


def _bee(pen: Pen) -> None:
    pen.oval(0.22, 0.0, 0.52, 0.5, pen.accent)
    pen.oval(0.46, 0.0, 0.76, 0.5, pen.accent)
    pen.oval(0.0, 0.34, 1, 1, pen.main)
    for x in (0.36, 0.58, 0.78):
        pen.stroke((x, 0.4), (x, 0.94), fill=pen.ink, width=1.1)


def _mushroom(pen: Pen) -> None:
    pen.box(0.34, 0.5, 0.66, 1, pen.second)
    corners = pen.points((0, 0), (1, 1.24))
    pen.draw.pieslice(corners, 180, 360, fill=pen.main, outline=pen.ink, width=pen.line)
    for x, y in ((0.26, 0.42), (0.52, 0.24), (0.76, 0.42)):
        pen.draw.ellipse(pen.points((x - 0.09, y - 0.09), (x + 0.09, y + 0.09)), fill=pen.accent)


def _balloon(pen: Pen) -> None:
    for x, low in ((0.2, 0.4), (0.8, 0.6)):
        pen.stroke((x, 0.55), (low, 0.88), fill=pen.ink)
    pen.oval(0, 0, 1, 0.74, pen.main)
    pen.oval(0.2, 0, 0.8, 0.74, pen.second)
    pen.oval(0.38, 0, 0.62, 0.74, pen.main)
    pen.box(0.36, 0.84, 0.64, 1, pen.accent)


def _windmill(pen: Pen) -> None:
    pen.polygon((0.4, 0.3), (0.6, 0.3), (0.74, 1), (0.26, 1), fill=pen.main)
    pen.box(0.44, 0.78, 0.56, 1, pen.accent)
    turn = pen.rng.uniform(0.2, 1.37)
    for i in range(4):
        a = turn + i * math.pi / 2
        tip = (0.5 + 0.48 * math.cos(a), 0.36 + 0.36 * math.sin(a))
        wide = (0.5 + 0.44 * math.cos(a + 0.42), 0.36 + 0.33 * math.sin(a + 0.42))
        pen.polygon((0.5, 0.36), tip, wide, fill=pen.second)
    pen.disc(0.5, 0.36, 0.07, pen.ink)


def _thicket(pen: Pen) -> None:
    """A ragged patch. Its edge is between the edge of the box and `RAGGED` units inside."""
    deep = (RAGGED * pen.unit / pen.width, RAGGED * pen.unit / pen.height)
    counts = [max(3, round(side / (2.2 * pen.unit))) for side in (pen.width, pen.height)]

    def inward(axis: int) -> float:
        return float(pen.rng.uniform(0, deep[axis]))

    across = np.linspace(0, 1, counts[0], endpoint=False).tolist()
    downward = np.linspace(0, 1, counts[1], endpoint=False).tolist()
    rim = [(x, inward(1)) for x in across] + [(1 - inward(0), y) for y in downward]
    rim += [(1 - x, 1 - inward(1)) for x in across] + [(inward(0), 1 - y) for y in downward]
    pen.polygon(*rim, fill=pen.main)
    for _ in range(round(pen.width * pen.height / (22 * pen.unit**2))):
        x, y = pen.rng.uniform(0.12, 0.88, size=2).tolist()
        lean = pen.rng.uniform(-1.2, 1.2) * pen.unit / pen.width
        tall = 2.4 * pen.unit / pen.height
        leaf = pen.second if pen.rng.random() < 0.6 else pen.ink
        pen.stroke((x, y), (x + lean, y - tall), fill=leaf, width=0.9)


def _plain_disc(pen: Pen) -> None:
    pen.oval(0, 0, 1, 1, pen.main)


def _ring(pen: Pen) -> None:
    pen.oval(0, 0, 1, 1, pen.main)
    corners = pen.points((0.28, 0.28), (0.72, 0.72))
    pen.draw.ellipse(corners, fill=_HOLE, outline=pen.ink, width=pen.line)


def _bar(pen: Pen) -> None:
    pen.box(0, 0.36, 1, 0.64, pen.main)


def _wedge(pen: Pen) -> None:
    pen.polygon((0, 1), (pen.rng.uniform(0, 1), 0), (1, pen.rng.uniform(0.5, 1)), fill=pen.main)


def _cross(pen: Pen) -> None:
    pen.box(0.38, 0, 0.62, 1, pen.main)
    pen.box(0, 0.38, 1, 0.62, pen.main)


def _zigzag(pen: Pen) -> None:
    points = [(i / 5, pen.rng.uniform(0, 1)) for i in range(6)]
    pen.stroke(*points, fill=pen.ink, width=2.4)
    pen.stroke(*points, fill=pen.main, width=1.4)


def _stripes(pen: Pen) -> None:
    for i in range(4):
        pen.box(0.0, i / 4, 1, i / 4 + 0.13, pen.main if i % 2 else pen.second)


SHAPES: Final[Mapping[str, Shape]] = {
    "boat": Shape(_boat, aspect=2.8, tilt=3),
    "spindle": Shape(_spindle, aspect=2.4, tilt=3),
    "bridge": Shape(_bridge, aspect=3.0, tilt=3),
    "puff": Shape(_puff, aspect=2.6, tilt=3),
    "tree": Shape(_tree, aspect=0.75),
    "house": Shape(_house, aspect=1.05),
    "signal": Shape(_signal, aspect=0.4),
    "flower": Shape(_flower, aspect=0.66),
    "car": Shape(_car, aspect=1.9),
    "bee": Shape(_bee, aspect=1.3, tilt=20),
    "mushroom": Shape(_mushroom, aspect=1.05, tilt=10),
    "balloon": Shape(_balloon, aspect=0.72),
    "windmill": Shape(_windmill, aspect=0.8),
    "thicket": Shape(_thicket),
    "disc": Shape(_plain_disc),
    "ring": Shape(_ring),
    "bar": Shape(_bar),
    "wedge": Shape(_wedge),
    "cross": Shape(_cross),
    "zigzag": Shape(_zigzag),
    "stripes": Shape(_stripes),
}
CLUTTER: Final = ("disc", "ring", "bar", "wedge", "cross", "zigzag", "stripes")


def draw_item(item: Item, unit: float, ink: Colour) -> Image.Image:
    """Draws the item alone, as RGBA, with `unit` pixels per unit."""
    width, height = max(3, round(item.width * unit)), max(3, round(item.height * unit))
    tile = Image.new("RGBA", (width, height), _HOLE)
    rng = np.random.default_rng(item.seed)
    main, second, accent = (random_colour(rng) for _ in range(3))
    draw = ImageDraw.Draw(tile)
    SHAPES[item.shape].draw(Pen(draw, width, height, unit, main, second, accent, ink, rng))
    if item.flip:
        tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if item.tilt:
        turned = tile.rotate(item.tilt, Image.Resampling.BILINEAR, expand=True)
        tile = turned.resize((width, height), Image.Resampling.BILINEAR)
    return tile


def random_colour(rng: Generator) -> Colour:
    """A random colour of any hue that is neither grey nor dark."""
    hue, saturation, value = rng.random(), rng.uniform(0.3, 0.95), rng.uniform(0.4, 1.0)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
