"""Sheets: panels in rows, with a heading above and the meaning of the colours below."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from manylabel.explain.pictures.drawing import Drawing, Group, Part, Raster, Rect, Text
from manylabel.explain.pictures.fonts import one_line, shortened, shortened_in_front, wrapped
from manylabel.explain.pictures.overlay import colour_bar
from manylabel.explain.pictures.panels import (
    CAPTION,
    Frame,
    Look,
    describe,
    image_panel,
    label_panel,
    size_within,
)
from manylabel.explain.pictures.shown import About, ImageShown
from manylabel.explain.pictures.themes import BOX, CASING

LARGEST: Final = 560
"""The longest side of an image in a sheet."""
SMALL: Final = 240
"""The longer side of an image in a contact sheet."""

_MARGIN: Final = 28
_GAP: Final = 22
_AREA: Final = 256 * 256
_NARROWEST: Final = 240
_ROOM: Final = 1390
_HEADING: Final = 62
_BAR: Final = 180
_LINE: Final = 19
_SMALL_TEXT, _TITLE = 12.5, 20.0

Row = Sequence[tuple[ImageShown, int | None]]
"""The panels of a row: an image, and the position of its label; None for the image itself."""


def draw_sheet(shown: ImageShown, about: About, look: Look) -> Drawing:
    """One image and all its labels: the image itself first, then a panel for each label."""
    width, height = _panel_size(shown.size)
    panels = [(shown, position) for position in (None, *range(len(shown.labels)))]
    columns = max(1, min(len(panels), (_ROOM + _GAP) // (width + _GAP)))
    columns = math.ceil(len(panels) / math.ceil(len(panels) / columns))  # rows of equal length
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    says = ". ".join(describe(label) for label in shown.labels)
    heading = (shown.name, shown.summary, f"{shown.summary} {says}.")
    return _sheet(heading, rows, (width, height), about, look)


def draw_label(shown: ImageShown, position: int, about: About, look: Look) -> Drawing:
    """One image under the map of one of its labels, in a large panel."""
    width, height = _panel_size(shown.size, area=4 * _AREA, widest=2 * LARGEST)
    says = describe(shown.labels[position])
    heading = (shown.name, shown.summary, f"{says}.")
    return _sheet(heading, [[(shown, position)]], (width, height), about, look)


def draw_contact_sheet(
    title: str, images: Sequence[ImageShown], about: About, look: Look
) -> Drawing:
    """Several images: each has a row with the image itself and then its labels."""
    assert images, "nothing to draw"
    rows = [[(each, at) for at in (None, *range(len(each.labels)))] for each in images]
    subtitle = "Each row is one image. Its labels follow by their scores."
    says = " ".join(f"{each.name}: {each.summary}" for each in images)
    return _sheet((title, subtitle, says), rows, (SMALL, SMALL), about, look)


def _panel_size(
    size: tuple[int, int], *, area: float = _AREA, widest: float = LARGEST
) -> tuple[int, int]:
    """Width and height of the place of an image: equal areas for all shapes, within limits."""
    ratio = size[0] / size[1]
    width = min(max(math.sqrt(area * ratio), _NARROWEST), widest)
    tallest = 1.6 * math.sqrt(area)
    fitted = size_within(size, width, tallest)
    return round(width), min(round(tallest), fitted[1])


def _sheet(
    heading: tuple[str, str, str],
    rows: Sequence[Row],
    size: tuple[int, int],
    about: About,
    look: Look,
) -> Drawing:
    """Rows of panels between heading and footer.

    Args:
        heading: The title, the line below it, and the description for people who hear it.
        rows: The panels.
        size: Width and height of the place of each image.
        about: What holds for all maps.
        look: How it looks.
    """
    columns = max(len(row) for row in rows)
    inner = max(columns * (size[0] + _GAP) - _GAP, 2 * _NARROWEST)
    parts: list[Part] = [_heading(heading, inner, look)]
    y = _MARGIN + _HEADING
    for row in rows:
        height = max(size_within(shown.size, *size)[1] for shown, _ in row)
        for column, panel in enumerate(row):
            frame = Frame(_MARGIN + column * (size[0] + _GAP), y, size[0], height)
            parts.append(_panel(panel, frame, look, named=_differ(rows)))
        y += height + CAPTION + _GAP
    footer = list(_footer(about, rows, y, inner, look))
    bottom = max(part.y for part in footer if isinstance(part, Text))
    return Drawing(
        width=inner + 2 * _MARGIN,
        height=bottom + _MARGIN,
        paper=look.colours.paper,
        parts=[*parts, Group("The meaning of the colours", footer)],
        title=one_line(f"Evidence in {heading[0]}"),
        says=one_line(heading[2]),
    )


def _differ(rows: Sequence[Row]) -> bool:
    """Whether the rows show different images."""
    return rows[0][0][0] is not rows[-1][0][0]


def _panel(panel: tuple[ImageShown, int | None], frame: Frame, look: Look, *, named: bool) -> Group:
    shown, position = panel
    if position is None:
        return image_panel(shown, frame, look, named=named)
    return label_panel(shown, position, frame, look)


def _heading(heading: tuple[str, str, str], inner: float, look: Look) -> Group:
    title, subtitle = one_line(heading[0]), one_line(heading[1])
    theme = look.colours
    cut = shortened_in_front(title, inner, _TITLE, bold=True)
    below = shortened(subtitle, inner, _SMALL_TEXT)
    parts = [
        Text(
            x=_MARGIN,
            y=_MARGIN + 16,
            text=cut,
            size=_TITLE,
            colour=theme.ink,
            bold=True,
            whole=title,
        ),
        Text(
            x=_MARGIN,
            y=_MARGIN + 39,
            text=below,
            size=_SMALL_TEXT,
            colour=theme.soft,
            whole=subtitle,
        ),
    ]
    return Group(title, parts)


def _footer(
    about: About, rows: Sequence[Row], y: float, inner: float, look: Look
) -> Iterator[Text | Rect | Raster]:
    """The colours from none to strong, and what they mean."""
    theme = look.colours
    yield Rect(x=_MARGIN, y=y, width=inner, height=1, fill=theme.track)
    pixels = (round(_BAR * look.scale), round(10 * look.scale))
    yield Raster(x=_MARGIN, y=y + 20, width=_BAR, height=10, image=colour_bar(pixels))
    for x, text, at_end in ((_MARGIN, "no evidence", False), (_MARGIN + _BAR, "maximum", True)):
        yield Text(x=x, y=y + 47, text=text, size=12, colour=theme.soft, at_end=at_end)
    left = _MARGIN + _BAR + 28
    sentences = " ".join(_sentences(about, look))
    lines = wrapped(one_line(sentences), inner - _BAR - 28, _SMALL_TEXT)
    for number, line in enumerate(lines):
        yield Text(
            x=left, y=y + 29 + number * _LINE, text=line, size=_SMALL_TEXT, colour=theme.soft
        )
    if any(shown.boxes for row in rows for shown, _ in row):
        yield from _box_key(left, y + 33 + len(lines) * _LINE, look)


def _sentences(about: About, look: Look) -> Iterator[str]:
    height, width = about.grid
    title = about.kind.title
    yield f"{title[:1].upper()}{title[1:]} (method {about.method}), {height} x {width} cells."
    yield (
        "Each map has its own scale, from no evidence to its own maximum: compare places within a "
        "map, not two maps."
    )
    if look.style == "smooth":
        yield "White line: half of the maximum."
    if about.limited:
        yield "The model limits the number of labels, besides the thresholds."
    yield from about.notes


def _box_key(x: float, y: float, look: Look) -> Iterator[Text | Rect]:
    for colour, line in ((CASING, 3.5), (BOX, 1.5)):
        yield Rect(x=x + 2, y=y - 10, width=16, height=10, stroke=colour, line=line)
    words = "an object of the label, by the data set"
    yield Text(x=x + 28, y=y, text=words, size=_SMALL_TEXT, colour=look.colours.soft)
