"""Draws maps over photographs, as in the paper's Fig. 3."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PANEL: Final = 256
"""The longer side of a panel in pixels."""

COLUMNS: Final = 4
"""The number of panels in a row of `draw_overlay`, including the photo's own."""

_ALPHA: Final = 0.5
_GAP: Final = 10
_STRIP: Final = 24
_FONT_SIZE: Final = 15
_INK: Final = (24, 24, 27)
_PAPER: Final = (255, 255, 255)


class Panels(NamedTuple):
    """One image and the maps to draw over it.

    `maps` are [K, H, W], on any scale, over the whole image. `titles` has one title for each map.
    The photo's own panel comes first, with the title `heading`.
    """

    image: Image.Image
    maps: NDArray[Any]
    titles: Sequence[str]
    heading: str = "photo"


def draw_overlay(
    image: Image.Image, maps: NDArray[Any], titles: Sequence[str], *, heading: str = "photo"
) -> Image.Image:
    """A grid of titled panels: the photo, and for each map the photo with the map's colours.

    Args:
        image: RGB, upright.
        maps: [K, H, W] over the whole image, on any scale. Each is scaled by its own maximum.
        titles: K titles, one for each map, usually "label score". Long ones are shortened with an
            ellipsis.
        heading: The title of the photo.
    """
    panels = _panels(Panels(image, maps, titles, heading))
    return _sheet([panels[i : i + COLUMNS] for i in range(0, len(panels), COLUMNS)])


def attention_gallery(rows: Sequence[Panels]) -> Image.Image:
    """One picture of several images. Each has a row: the photo, then its maps."""
    return _sheet([_panels(row) for row in rows])


def blend(image: Image.Image, one_map: NDArray[Any]) -> Image.Image:
    """The image mixed half and half with a map [H, W] in jet colours.

    The map is resized to the whole image by nearest neighbour, so that the model's grid is visible.
    It is divided by its own maximum, and values below 0 count as 0.
    """
    colours = Image.fromarray(_jet(one_map)).resize(image.size, Image.Resampling.NEAREST)
    return Image.blend(image.convert("RGB"), colours, _ALPHA)


def choose_labels(
    scores: NDArray[Any], decided: NDArray[np.bool_], *, least: int = 3, most: int = 11
) -> list[int]:
    """The labels to show: the predicted ones, then the best of the others.

    Args:
        scores: [C], 0..1.
        decided: Boolean [C], which labels are predicted.
        least: The smallest number of labels to show, even if fewer are predicted.
        most: The largest number of labels to show; 11 and the photo fill three rows.
    """
    ranked = np.lexsort((-scores, ~decided))
    return ranked[: np.clip(decided.sum(), least, most)].tolist()


def to_png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


class _Panel(NamedTuple):
    picture: Image.Image
    title: str
    tail: str = ""
    """The end of the title, kept when it is cut."""


def _panels(row: Panels) -> list[_Panel]:
    assert len(row.maps) == len(row.titles), (len(row.maps), len(row.titles))
    photo = _fit(row.image.convert("RGB"))
    maps = [
        _Panel(blend(photo, one), *_label_and_score(title))
        for one, title in zip(row.maps, row.titles, strict=True)
    ]
    return [_Panel(photo, row.heading), *maps]


def _label_and_score(title: str) -> tuple[str, str]:
    label, space, score = title.rpartition(" ")
    return (label, space + score) if label else (title, "")


def _fit(image: Image.Image) -> Image.Image:
    """The image resized so that its longer side has `PANEL` pixels; its aspect ratio stays."""
    scale = PANEL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _jet(one_map: NDArray[Any]) -> NDArray[np.uint8]:
    from matplotlib import colormaps

    positive = np.clip(one_map, 0, None)
    peak = positive.max()
    return colormaps["jet"](positive / peak if peak > 0 else positive, bytes=True)[..., :3]


def _elided(panel: _Panel, width: int) -> str:
    """The panel's title on one line of at most `width` pixels."""
    head, font = " ".join(panel.title.split()), _font()
    if font.getlength(head + panel.tail) <= width:
        return head + panel.tail
    while head and font.getlength(f"{head}…{panel.tail}") > width:
        head = head[:-1]
    return f"{head}…{panel.tail}"


@cache
def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans from matplotlib's files, with Latin, Greek, Cyrillic and Arabic letters.

    A missing letter is drawn as an empty box, without a warning.
    """
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, _FONT_SIZE)


def _sheet(rows: Sequence[Sequence[_Panel]]) -> Image.Image:
    """Rows of titled panels on white. All columns are as wide as the widest panel."""
    assert rows, "nothing to draw"
    column = max(PANEL // 2, *(panel.picture.width for row in rows for panel in row))
    heights = [_STRIP + max(panel.picture.height for panel in row) for row in rows]
    width = max(len(row) for row in rows) * (column + _GAP) + _GAP
    sheet = Image.new("RGB", (width, sum(heights) + _GAP * (len(rows) + 1)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for i, panel in enumerate(row):
            left = _GAP + i * (column + _GAP)
            draw.text((left, top + 2), _elided(panel, column), _INK, _font())
            sheet.paste(panel.picture, (left, top + _STRIP))
        top += height + _GAP
    return sheet
