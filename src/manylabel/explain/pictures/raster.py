"""Writes a drawing as a PNG or JPEG file."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final, Literal

from PIL import Image, ImageDraw

from manylabel.explain.pictures.drawing import Drawing, Group, Part, Raster, Rect, Shape, Text
from manylabel.explain.pictures.fonts import runs

_FINER: Final = 4
"""Shapes are drawn so many times larger, and then made smaller, so that their edges are smooth."""

_EFFORT: Final = 4
"""zlib's level of compression: a third of the time of the usual 6, for 3 % more bytes."""
_QUALITY: Final = 80
"""The quality of JPEG; text and thin lines stay clear."""


def to_pixels(drawing: Drawing, form: Literal["png", "jpg"], scale: float = 2) -> bytes:
    """The bytes of a PNG or JPEG file.

    Args:
        drawing: The picture.
        form: The format.
        scale: The number of pixels for each unit of the drawing.
    """
    image, buffer = rendered(drawing, scale), io.BytesIO()
    if form == "png":
        image.save(buffer, format="PNG", compress_level=_EFFORT)
    else:
        image.save(buffer, format="JPEG", quality=_QUALITY, subsampling=0, optimize=True)
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
            _text(part, canvas, scale)
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


def _text(part: Text, canvas: Image.Image, scale: float) -> None:
    draw, x = ImageDraw.Draw(canvas), part.x * scale
    pieces = runs(part.text, part.size * scale, bold=part.bold)
    if part.at_end:
        x -= sum(font.getlength(run) for run, font in pieces)
    for run, font in pieces:
        draw.text((x, part.y * scale), run, part.colour, font, anchor="ls")
        x += font.getlength(run)


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
