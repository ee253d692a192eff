"""Drawings as SVG: valid XML with text and images, and nothing that is run or loaded."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

from PIL import Image

from manylabel.explain.pictures.drawing import Drawing, Group, Raster, Rect, Shape, Text
from manylabel.explain.pictures.svg import to_svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert('1')</script> & \"x\""


def parsed(*parts, title="a title", says="what it shows") -> ElementTree.Element:
    whole = Drawing(width=40.5, height=30, paper="#123456", parts=parts, title=title, says=says)
    return ElementTree.fromstring(to_svg(whole))


def test_title_description_size_and_paper():
    root = parsed()
    assert root.tag == f"{SVG}svg"
    assert root.get("viewBox") == "0 0 40.5 30"
    assert root.findtext(f"{SVG}title") == "a title"
    assert root.findtext(f"{SVG}desc") == "what it shows"
    paper = root.find(f"{SVG}rect")
    assert paper is not None
    assert (paper.get("fill"), paper.get("width")) == ("#123456", "40.5")


def test_text_is_text_whatever_it_holds():
    for words in (HOSTILE, "猫 عربة", "a < b", "]]>"):
        root = parsed(Text(x=1, y=2, text=words, size=12, colour="#000000"), title=words)
        assert [each.text for each in root.iter(f"{SVG}text")] == [words]
        assert root.findtext(f"{SVG}title") == words
        assert {each.tag.removeprefix(SVG) for each in root.iter()} == {
            "svg", "title", "desc", "rect", "text"
        }  # fmt: skip


def test_text_is_where_it_is_in_pixels():
    part = Text(x=1.25, y=2, text="a", size=12.5, colour="#abcdef", bold=True, at_end=True)
    found = parsed(part).find(f"{SVG}text")
    assert found is not None
    assert found.attrib == {
        "x": "1.25",
        "y": "2",
        "font-size": "12.5",
        "fill": "#abcdef",
        "font-weight": "bold",
        "text-anchor": "end",
    }


def test_a_shortened_text_has_the_whole_one_as_its_title():
    root = parsed(Text(x=1, y=2, text="a lo…", size=12, colour="#000000", whole="a long name"))
    text = root.find(f"{SVG}text")
    assert text is not None
    assert text.findtext(f"{SVG}title") == "a long name"
    assert text.findtext(f"{SVG}tspan") == "a lo…"


def test_an_image_is_inside_the_file():
    picture = Image.new("RGB", (7, 5), "red")
    found = parsed(Raster(x=1, y=2, width=14, height=10, image=picture)).find(f"{SVG}image")
    assert found is not None
    kind, _, data = (found.get("href") or "").partition(",")
    assert kind == "data:image/jpeg;base64"
    inside = Image.open(io.BytesIO(base64.b64decode(data)))
    assert inside.size == (7, 5)
    red, green, _ = inside.convert("RGB").getpixel((3, 2))  # pyright: ignore[reportGeneralTypeIssues]
    assert red > 240 > 15 > green
    assert [found.get(name) for name in ("x", "y", "width", "height")] == ["1", "2", "14", "10"]


def test_groups_say_what_they_show():
    root = parsed(Group("cat: found", [Rect(x=0, y=0, width=1, height=1, fill="#000000")]))
    group = root.find(f"{SVG}g")
    assert group is not None
    assert group.findtext(f"{SVG}title") == "cat: found"
    assert group.find(f"{SVG}rect") is not None


def test_shapes_and_lines():
    points = [(0.0, 0.0), (1.5, 2.0)]
    root = parsed(
        Shape(points=points, fill="#ff0000"),
        Shape(points=points, stroke="#00ff00", line=2, closed=False),
    )
    closed, chain = root.find(f"{SVG}polygon"), root.find(f"{SVG}polyline")
    assert closed is not None
    assert chain is not None
    assert (closed.get("points"), closed.get("fill")) == ("0,0 1.5,2", "#ff0000")
    assert (chain.get("fill"), chain.get("stroke-width")) == ("none", "2")
