"""Writes a drawing as a PNG file."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

from PIL import Image, ImageDraw

from manylabel.explain.pictures.drawing import Drawing, Group, Part, Raster, Rect, Shape, Text
from manylabel.explain.pictures.fonts import font_of

_FINER: Final = 4
"""Shapes are drawn so many times larger, and then made smaller, so that their edges are smooth."""


def to_png(drawing: Drawing, scale: float = 2) -> bytes:
    """The bytes of a PNG file.

    Args:
        drawing: The picture.
        scale: The number of pixels for each unit of the drawing.
    """
    return png_bytes(rendered(drawing, scale))


def png_bytes(image: Image.Image) -> bytes:
    """The bytes of a PNG file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def rendered(drawing: Drawing, scale: float = 2) -> Image.Image:
    """The drawing as an RGB image with `scale` pixels for each unit."""
    size = (round(drawing.width * scale), round(drawing.height * scale))
    canvas = Image.new("RGB", size, drawing.paper)
    for part in _flat(drawing.parts):
        _draw(part, canvas, scale)
    return canvas


def _flat(parts: Iterable[Part]) -> Iterable[Text | Rect | Shape | Raster]:
    for part in parts:
        if isinstance(part, Group):
            yield from part.parts
        else:
            yield part


def _draw(part: Text | Rect | Shape | Raster, canvas: Image.Image, scale: float) -> None:
    match part:
        case Raster():
            _paste(part, canvas, scale)
        case Text():
            font = font_of(part.text, part.size * scale, bold=part.bold)
            where = (part.x * scale, part.y * scale)
            anchor = "rs" if part.at_end else "ls"
            ImageDraw.Draw(canvas).text(where, part.text, part.colour, font, anchor=anchor)
        case Rect():
            _rectangle(part, canvas, scale)
        case Shape():
            _shape(part, canvas, scale)


def _paste(part: Raster, canvas: Image.Image, scale: float) -> None:
    size = (round(part.width * scale), round(part.height * scale))
    image = part.image.convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    canvas.paste(image, (round(part.x * scale), round(part.y * scale)))


def _rectangle(part: Rect, canvas: Image.Image, scale: float) -> None:
    draw, half = ImageDraw.Draw(canvas), part.line / 2
    left, top = round((part.x - half) * scale), round((part.y - half) * scale)
    right = round((part.x + part.width + half) * scale) - 1
    bottom = round((part.y + part.height + half) * scale) - 1
    if right < left or bottom < top:
        return
    line = max(1, round(part.line * scale)) if part.stroke else 0
    draw.rectangle((left, top, right, bottom), part.fill, part.stroke, line)


def _shape(part: Shape, canvas: Image.Image, scale: float) -> None:
    """Draw a shape on a finer copy of its surroundings, and put that back."""
    xs, ys = [x * scale for x, _ in part.points], [y * scale for _, y in part.points]
    edge = part.line * scale + 2
    left, top = int(min(xs) - edge), int(min(ys) - edge)
    size = (int(max(xs) + edge) - left, int(max(ys) + edge) - top)
    region = canvas.crop((left, top, left + size[0], top + size[1]))
    fine = region.resize((size[0] * _FINER, size[1] * _FINER), Image.Resampling.NEAREST)
    points = [((x - left) * _FINER, (y - top) * _FINER) for x, y in zip(xs, ys, strict=True)]
    draw, line = ImageDraw.Draw(fine), max(1, round(part.line * scale * _FINER))
    if part.closed and part.fill:
        draw.polygon(points, part.fill)
    if part.stroke:
        chain = [*points, *points[:2]] if part.closed else points
        draw.line(chain, part.stroke, line, joint="curve")
    canvas.paste(fine.resize(size, Image.Resampling.BOX), (left, top))
