"""The colours of pictures: one theme for light surroundings, and one for dark ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

ThemeName = Literal["light", "dark"]


@final
@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a picture around the images, each as `#rrggbb`.

    Text of every colour here has a contrast of at least 4.5 to `paper` (WCAG 2.1, level AA).

    Args:
        paper: The background.
        mat: What surrounds an image that is smaller than its place.
        track: The empty part of a score bar, and lines between parts.
        ink: Titles, and the bars of predicted labels.
        soft: Text of less weight, and the bars of labels that are not predicted.
        found: A label that is present and predicted.
        missed: A label that is present and not predicted.
        wrong: A label that is absent and predicted.
    """

    paper: str
    mat: str
    track: str
    ink: str
    soft: str
    found: str
    missed: str
    wrong: str


THEMES: Final[dict[ThemeName, Theme]] = {
    "light": Theme(
        paper="#ffffff",
        mat="#f1f1f4",
        track="#dcdce2",
        ink="#18181b",
        soft="#5b5b66",
        found="#0f766e",
        missed="#a84a08",
        wrong="#a8134f",
    ),
    "dark": Theme(
        paper="#16161a",
        mat="#222228",
        track="#3d3d47",
        ink="#f4f4f6",
        soft="#a6a6b2",
        found="#4fd1c0",
        missed="#f6ad55",
        wrong="#ff85b3",
    ),
}
"""The themes by name."""

BOX: Final = "#7ef0ff"
"""The line of the truth's boxes. No colour of the maps comes near it."""
CASING: Final = "#101014"
"""What lies around a line over an image, so that it is seen on every background."""
