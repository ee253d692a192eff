"""What a picture is made of, before it becomes a PNG or an SVG file.

Lengths are in units of a pixel on an ordinary screen, from the top left corner. A PNG file may have
several pixels for each unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from PIL import Image

Point = tuple[float, float]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One line of text.

    Args:
        x: Its left end, or its right end if `at_end`.
        y: Its base line.
        text: The text, which fits where it stands.
        size: The size of the font.
        colour: `#rrggbb`.
        bold: Whether it is bold.
        at_end: Whether it ends at `x`.
        whole: The whole text, if `text` was shortened.
    """

    x: float
    y: float
    text: str
    size: float
    colour: str
    bold: bool = False
    at_end: bool = False
    whole: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """A rectangle; without a colour, its inside or its edge is not drawn.

    Args:
        x: Its left edge.
        y: Its top edge.
        width: Its width.
        height: Its height.
        fill: The colour of its inside.
        stroke: The colour of its edge.
        line: The width of its edge, whose middle lies on the rectangle.
        radius: The radius of its corners.
    """

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    line: float = 0
    radius: float = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A polygon, or a chain of lines if it is not `closed`."""

    points: Sequence[Point]
    fill: str | None = None
    stroke: str | None = None
    line: float = 0
    closed: bool = True


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """An image that is stretched to a rectangle."""

    x: float
    y: float
    width: float
    height: float
    image: Image.Image


@final
@dataclass(frozen=True, slots=True)
class Group:
    """Parts that belong together, with a sentence that says what they show."""

    says: str
    parts: Sequence[Text | Rect | Shape | Raster]


Part = Text | Rect | Shape | Raster | Group


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A whole picture.

    Args:
        width: Its width.
        height: Its height.
        paper: The colour of its background.
        parts: Its parts; a later one lies over an earlier one.
        title: What it shows, in a few words.
        says: What it shows, in sentences.
    """

    width: float
    height: float
    paper: str
    parts: Sequence[Part]
    title: str
    says: str
