"""Panels: an image, perhaps under a map, and below it a caption."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

from PIL import Image

from manylabel.data.records import Box
from manylabel.explain.pictures.drawing import Group, Point, Raster, Rect, Shape, Text
from manylabel.explain.pictures.fonts import one_line, shortened, shortened_in_front, width_of
from manylabel.explain.pictures.overlay import Style, blend
from manylabel.explain.pictures.shown import ImageShown, LabelShown
from manylabel.explain.pictures.themes import BOX, CASING, THEMES, Theme, ThemeName
from manylabel.text import counted

CAPTION: Final = 62
"""The height of a caption."""

_SHORTEST: Final = 20
"""An image is drawn at least so wide and high, even if it has only one row of pixels."""
_NAME, _SMALL, _TAG = 15.0, 12.0, 11.0
_TAGGED: Final = 12
"""If an image has more boxes than this, their labels would cover it."""
_TAGGED_FROM: Final = 64
"""The same holds if it is lower or narrower than this."""

Simple = Text | Rect | Shape | Raster


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How pictures look.

    Args:
        theme: light or dark.
        style: How maps are enlarged.
        scale: The number of pixels of an image for each unit of the drawing.
    """

    theme: ThemeName = "light"
    style: Style = "smooth"
    scale: float = 2

    @property
    def colours(self) -> Theme:
        """The colours of the theme."""
        return THEMES[self.theme]


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """Where a panel stands: its top left corner, and width and height of the place of the image."""

    x: float
    y: float
    width: float
    height: float


def size_within(size: tuple[int, int], width: float, height: float) -> tuple[int, int]:
    """The size at which an image fits into a place. It keeps its shape unless that is a line."""
    scale = min(width / size[0], height / size[1])
    wide, high = (max(_SHORTEST, round(side * scale)) for side in size)
    return wide, high


def shrunk(image: Image.Image, width: float, height: float, look: Look) -> Image.Image:
    """The image with the pixels that a place of this size needs."""
    wide, high = size_within(image.size, width, height)
    size = (round(wide * look.scale), round(high * look.scale))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def image_panel(shown: ImageShown, frame: Frame, look: Look, *, named: bool) -> Group:
    """The image itself, with all its boxes.

    Args:
        shown: The image.
        frame: The place of the panel.
        look: How it looks.
        named: Whether the caption has the name and the summary of the image: in a sheet of one
            image, they are in the heading.
    """
    picture = _picture(shown, shown.image, frame, look)
    boxes = list(_boxes(shown.boxes, picture))
    room = min(picture.width, picture.height) >= _TAGGED_FROM
    tags = list(_tags(shown.boxes, picture)) if room and len(shown.boxes) <= _TAGGED else []
    caption = _image_caption(shown, frame, look.colours, named=named)
    says = f"The image {one_line(shown.name)}. {shown.summary}"
    return Group(one_line(says), [*_mat(picture, frame, look), picture, *boxes, *tags, *caption])


def label_panel(shown: ImageShown, position: int, frame: Frame, look: Look) -> Group:
    """The image under the map of one of its labels, with the label's boxes."""
    label = shown.labels[position]
    small = shrunk(shown.image, frame.width, frame.height, look)
    picture = _picture(shown, blend(small, shown.strengths[position], look.style), frame, look)
    parts = [*_mat(picture, frame, look), picture, *_boxes(label.boxes, picture)]
    if not shown.strengths[position].any():
        parts += _tag("no evidence", picture.x + 6, picture.y + 6, picture)
    return Group(describe(label), [*parts, *_label_caption(label, frame, look.colours)])


def describe(label: LabelShown) -> str:
    """A label's name, score, threshold and verdict in one sentence."""
    return (
        f"{one_line(label.name)}: score {label.score:.2f}, threshold {label.threshold:.2f}, "
        f"{label.said}"
    )


def _picture(shown: ImageShown, image: Image.Image, frame: Frame, look: Look) -> Raster:
    width, height = size_within(shown.image.size, frame.width, frame.height)
    x = frame.x + (frame.width - width) / 2
    y = frame.y + (frame.height - height) / 2
    if image is shown.image:
        image = shrunk(image, frame.width, frame.height, look)
    return Raster(x=round(x), y=round(y), width=width, height=height, image=image)


def _mat(picture: Raster, frame: Frame, look: Look) -> Iterator[Rect]:
    """What fills the place beside an image that is narrower or lower than its place."""
    if (picture.width, picture.height) != (frame.width, frame.height):
        yield Rect(
            x=frame.x, y=frame.y, width=frame.width, height=frame.height, fill=look.colours.mat
        )


def _image_caption(
    shown: ImageShown, frame: Frame, theme: Theme, *, named: bool
) -> Iterator[Simple]:
    width, height = shown.size
    top = frame.y + frame.height
    first, second = "image", f"{width:,} x {height:,} pixels"
    third = counted(len(shown.boxes), "box", "boxes") if shown.boxes else ""
    if named:
        first = one_line(shown.name)
        second = _truth_words(shown) or second
        third = "no label is predicted" if not shown.predicted else ""
    cut = shortened_in_front(first, frame.width, _NAME, bold=True)
    yield Text(
        x=frame.x, y=top + 21, text=cut, size=_NAME, colour=theme.ink, bold=True, whole=first
    )
    for y, text in ((39, second), (55, third)):
        if text:
            yield _small(text, frame, top + y, theme.soft)


def _truth_words(shown: ImageShown) -> str:
    return one_line(shown.truth_in_words).removesuffix(".")


def _small(text: str, frame: Frame, y: float, colour: str) -> Text:
    cut = shortened(text, frame.width, _SMALL)
    return Text(x=frame.x, y=y, text=cut, size=_SMALL, colour=colour, whole=text)


def _label_caption(label: LabelShown, frame: Frame, theme: Theme) -> Iterator[Simple]:
    top, right = frame.y + frame.height, frame.x + frame.width
    score, name = f"{label.score:.2f}", one_line(label.name)
    room = frame.width - width_of(score, _NAME, bold=True) - 12
    cut = shortened(name, room, _NAME, bold=label.predicted)
    colour = theme.ink
    bold = label.predicted
    yield Text(x=frame.x, y=top + 21, text=cut, size=_NAME, colour=colour, bold=bold, whole=name)
    yield Text(x=right, y=top + 21, text=score, size=_NAME, colour=colour, bold=bold, at_end=True)
    yield from _score_bar(label, frame, theme)
    yield from _verdict(label, frame, theme)


def _score_bar(label: LabelShown, frame: Frame, theme: Theme) -> Iterator[Rect]:
    """The score on a line from 0 to 1, with a tick at the threshold."""
    y = frame.y + frame.height + 31
    fill = theme.ink if label.predicted else theme.soft
    yield Rect(x=frame.x, y=y, width=frame.width, height=4, fill=theme.track)
    yield Rect(x=frame.x, y=y, width=frame.width * label.score, height=4, fill=fill)
    tick = frame.x + (frame.width - 2) * label.threshold
    yield Rect(x=tick - 1, y=y - 4, width=4, height=12, fill=theme.paper)
    yield Rect(x=tick, y=y - 4, width=2, height=12, fill=theme.ink)


def _verdict(label: LabelShown, frame: Frame, theme: Theme) -> Iterator[Simple]:
    """Whether the label is predicted, and whether that is right, by a sign and in words."""
    y, right = frame.y + frame.height + 56, frame.x + frame.width
    colour = _verdict_colour(label, theme)
    yield from _sign(label, (frame.x + 6.5, y - 4.5), colour, theme.paper)
    yield Text(x=frame.x + 18, y=y, text=label.said, size=_SMALL, colour=colour)
    free = frame.width - 18 - width_of(label.said, _SMALL) - 10
    for words in (f"threshold {label.threshold:.2f}", f"at {label.threshold:.2f}"):
        if width_of(words, _SMALL) <= free:
            yield Text(x=right, y=y, text=words, size=_SMALL, colour=theme.soft, at_end=True)
            return


def _verdict_colour(label: LabelShown, theme: Theme) -> str:
    if label.right is None:
        return theme.ink if label.predicted else theme.soft
    if label.right:
        return theme.found if label.predicted else theme.soft
    return theme.wrong if label.predicted else theme.missed


def _sign(label: LabelShown, centre: Point, colour: str, paper: str) -> Iterator[Shape]:
    """A sign that needs no colour.

    A circle means right and a diamond wrong. It is full if the label is predicted, and empty if
    not. Inside is a check or a cross; if the truth is not known, nothing.
    """
    x, y = centre
    outline = _diamond(x, y) if label.right is False else _circle(x, y)
    full = label.predicted
    yield Shape(points=outline, fill=colour if full else None, stroke=colour, line=1.5)
    inner = paper if full else colour
    if label.right:
        check = ((x - 2.8, y + 0.2), (x - 0.9, y + 2.2), (x + 2.9, y - 2.2))
        yield Shape(points=check, stroke=inner, line=1.6, closed=False)
    elif label.right is False:
        for side in (-1, 1):
            cross = ((x - 1.9 * side, y - 1.9), (x + 1.9 * side, y + 1.9))
            yield Shape(points=cross, stroke=inner, line=1.6, closed=False)


def _circle(x: float, y: float) -> list[Point]:
    turns = [2 * math.pi * step / 48 for step in range(48)]
    return [(x + 5.6 * math.cos(turn), y + 5.6 * math.sin(turn)) for turn in turns]


def _diamond(x: float, y: float) -> list[Point]:
    return [(x, y - 7), (x + 7, y), (x, y + 7), (x - 7, y)]


def _boxes(boxes: Sequence[Box], picture: Raster) -> Iterator[Rect]:
    """Boxes over an image: a light line between two dark ones."""
    for colour, line in ((CASING, 3.5), (BOX, 1.5)):
        for box in boxes:
            left, top = _inside(box.left, box.top, picture)
            right, bottom = _inside(box.right, box.bottom, picture)
            wide, high = max(2, right - left), max(2, bottom - top)
            yield Rect(x=left, y=top, width=wide, height=high, stroke=colour, line=line)


def _inside(x: float, y: float, picture: Raster) -> Point:
    """A point of the image, given as fractions; a line of 2 around it stays on the image."""
    wide, high = picture.width - 2, picture.height - 2
    return (
        picture.x + 1 + min(max(x, 0), 1) * wide,
        picture.y + 1 + min(max(y, 0), 1) * high,
    )


def _tags(boxes: Sequence[Box], picture: Raster) -> Iterator[Simple]:
    """The labels of boxes: each above its box, or below it if another label is there."""
    taken: list[Rect] = []
    for box in boxes:
        x, top = _inside(box.left, box.top, picture)
        bottom = _inside(box.right, box.bottom, picture)[1]
        text = one_line(box.label)
        choices = [_tag(text, x - 2, y, picture) for y in (top - 18, bottom + 2, top + 2)]
        ground, words = next((each for each in choices if _free(each[0], taken)), choices[0])
        taken.append(ground)
        yield from (ground, words)


def _free(ground: Rect, taken: Sequence[Rect]) -> bool:
    return all(
        ground.x >= other.x + other.width
        or other.x >= ground.x + ground.width
        or abs(ground.y - other.y) >= ground.height
        for other in taken
    )


def _tag(text: str, x: float, y: float, picture: Raster) -> tuple[Rect, Text]:
    """A small text on a dark ground, inside the image if there is room."""
    cut = shortened(text, picture.width - 8, _TAG)
    width = width_of(cut, _TAG) + 8
    x = max(picture.x, min(x, picture.x + picture.width - width))
    y = max(picture.y, min(y, picture.y + picture.height - 16))
    words = Text(x=x + 4, y=y + 12, text=cut, size=_TAG, colour=BOX, whole=text)
    return Rect(x=x, y=y, width=width, height=16, fill=CASING), words
