"""Writes a drawing as an SVG file: real text, sharp at any size, with the images inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Final
from xml.etree import ElementTree

from manylabel.explain.pictures.drawing import Drawing, Group, Part, Raster, Rect, Shape, Text

_FONTS: Final = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_QUALITY: Final = 90


def to_svg(drawing: Drawing) -> bytes:
    """The bytes of an SVG file in UTF-8. It loads nothing from outside and runs nothing.

    Each panel has a title, which browsers show and screen readers read.
    """
    width, height = f"{drawing.width:g}", f"{drawing.height:g}"
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": width,
            "height": height,
            "viewBox": f"0 0 {width} {height}",
            "font-family": _FONTS,
            "role": "group",
            "aria-labelledby": "title says",
        },
    )
    ElementTree.SubElement(root, "title", {"id": "title"}).text = drawing.title
    ElementTree.SubElement(root, "desc", {"id": "says"}).text = drawing.says
    paper = Rect(x=0, y=0, width=drawing.width, height=drawing.height, fill=drawing.paper)
    _append(root, [paper, *drawing.parts])
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _append(parent: ElementTree.Element, parts: Iterable[Part]) -> None:
    for part in parts:
        match part:
            case Group():
                group = ElementTree.SubElement(parent, "g", {"role": "group"})
                ElementTree.SubElement(group, "title").text = part.says
                _append(group, part.parts)
            case Text():
                _append_text(parent, part)
            case Rect():
                ElementTree.SubElement(parent, "rect", _rectangle(part))
            case Shape():
                ElementTree.SubElement(parent, *_shape(part))
            case Raster():
                ElementTree.SubElement(parent, "image", _raster(part))


def _append_text(parent: ElementTree.Element, part: Text) -> None:
    given = {
        "x": _number(part.x),
        "y": _number(part.y),
        "font-size": _number(part.size),
        "fill": part.colour,
    }
    if part.bold:
        given["font-weight"] = "bold"
    if part.at_end:
        given["text-anchor"] = "end"
    text = ElementTree.SubElement(parent, "text", given)
    if part.whole and part.whole != part.text:
        ElementTree.SubElement(text, "title").text = part.whole
        ElementTree.SubElement(text, "tspan").text = part.text
    else:
        text.text = part.text


def _rectangle(part: Rect) -> dict[str, str]:
    place = {
        "x": _number(part.x),
        "y": _number(part.y),
        "width": _number(part.width),
        "height": _number(part.height),
    }
    return place | _colours(part.fill, part.stroke, part.line)


def _shape(part: Shape) -> tuple[str, dict[str, str]]:
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in part.points)
    colours = _colours(part.fill, part.stroke, part.line) | {"stroke-linejoin": "round"}
    return "polygon" if part.closed else "polyline", {"points": points} | colours


def _colours(fill: str | None, stroke: str | None, line: float) -> dict[str, str]:
    edge = {"stroke": stroke, "stroke-width": _number(line)} if stroke else {}
    return {"fill": fill or "none"} | edge


def _raster(part: Raster) -> dict[str, str]:
    buffer = io.BytesIO()
    part.image.convert("RGB").save(buffer, format="JPEG", quality=_QUALITY, subsampling=0)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {
        "x": _number(part.x),
        "y": _number(part.y),
        "width": _number(part.width),
        "height": _number(part.height),
        "preserveAspectRatio": "none",
        "href": f"data:image/jpeg;base64,{data}",
    }


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
