"""How an image is refused."""

from __future__ import annotations

from manylabel.errors import ImageError


def refused(what: str, *, fix: str) -> ImageError:
    """The error of an image. Whoever knows the place of the image adds it."""
    return ImageError(what, where="an image", fix=fix)
