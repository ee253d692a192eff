"""Small pictures of images, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Final, final

from PIL import Image

from manylabel.data.places import Places
from manylabel.errors import ImageError
from manylabel.images import open_image

SIDE: Final = 176
"""Pixels of a picture's longer side."""

BUDGET: Final = 1_500_000
"""Bytes of all pictures of a page, as text."""

_QUALITY: Final = 72

Overlay = Callable[[Image.Image, int], Image.Image]
"""Gives an image with the evidence for a label (a column of the data set) drawn over it."""


@final
class Pictures:
    """Draws pictures until the budget is spent, and counts what it left out.

    Args:
        images: Where the images lie, by row.
        overlay: Draws evidence beside each; None: the image alone is shown.
        budget: Bytes of all pictures, as text.
    """

    def __init__(
        self, images: Places, overlay: Overlay | None = None, *, budget: int = BUDGET
    ) -> None:
        self._images, self._overlay, self._left = images, overlay, budget
        self.unreadable = 0
        self.over_budget = 0

    def draw(self, image: int, label: int) -> str | None:
        """A JPEG as text in base 64; None where the image cannot be read or the budget is spent."""
        if self._left <= 0:
            self.over_budget += 1
            return None
        try:
            photo = open_image(self._images[image])
        except ImageError:
            self.unreadable += 1
            return None
        text = _jpeg(self._composed(photo, label))
        if len(text) > self._left:
            self._left = 0
            self.over_budget += 1
            return None
        self._left -= len(text)
        return text

    def _composed(self, photo: Image.Image, label: int) -> Image.Image:
        """The image, and beside it the same under the evidence for the label."""
        small = _fit(photo)
        if self._overlay is None:
            return small
        both = Image.new("RGB", (2 * small.width + 2, small.height), "white")
        both.paste(small, (0, 0))
        both.paste(self._overlay(photo, label).resize(small.size), (small.width + 2, 0))
        return both


def _fit(photo: Image.Image) -> Image.Image:
    scale = SIDE / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.resize(size, Image.Resampling.LANCZOS)


def _jpeg(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
