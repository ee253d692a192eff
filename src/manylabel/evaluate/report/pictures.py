"""Makes small JPEG pictures of images, within a budget of bytes."""

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
"""The longer side of a picture in pixels."""

BUDGET: Final = 1_500_000
"""The limit for all pictures of a page, in bytes of text."""

_QUALITY: Final = 72

Overlay = Callable[[Image.Image, int], Image.Image]
"""Returns an image, perhaps smaller, with the evidence for a label (a column of the data set)."""


@final
class Pictures:
    """Makes pictures until the budget is used up, and counts those that it leaves out.

    Args:
        images: The places of the images, by row.
        overlay: Draws the evidence beside each image; None: only the image is shown.
        budget: The limit for all pictures, in bytes of text.
    """

    def __init__(
        self, images: Places, overlay: Overlay | None = None, *, budget: int = BUDGET
    ) -> None:
        self._images, self._overlay, self._left = images, overlay, budget
        self.unreadable = 0
        self.over_budget = 0

    def draw(self, image: int, label: int) -> str | None:
        """A JPEG as base64 text; None if the image cannot be read or the budget is used up."""
        if self._left <= 0:
            self.over_budget += 1
            return None
        try:
            whole = open_image(self._images[image])
        except ImageError:
            self.unreadable += 1
            return None
        text = _jpeg(self._composed(whole, label))
        if len(text) > self._left:
            self._left = 0
            self.over_budget += 1
            return None
        self._left -= len(text)
        return text

    def _composed(self, whole: Image.Image, label: int) -> Image.Image:
        """The image, and beside it the image with the evidence for the label."""
        small = _fit(whole)
        if self._overlay is None:
            return small
        both = Image.new("RGB", (2 * small.width + 2, small.height), "white")
        both.paste(small, (0, 0))
        both.paste(self._overlay(whole, label).resize(small.size), (small.width + 2, 0))
        return both


def _fit(whole: Image.Image) -> Image.Image:
    scale = SIDE / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    return whole.resize(size, Image.Resampling.LANCZOS)


def _jpeg(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
