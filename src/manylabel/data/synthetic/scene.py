"""A scene as data: the items to draw, with places and sizes, from back to front.

Lengths are in units. The side of an image is 128 units, whatever its size in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, final

from manylabel.data.synthetic.rules import LABELS

SIDE: Final = 128.0
"""The side of a scene in units."""


@final
@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to draw: an object with a label, or clutter without a label."""

    shape: str
    label: str | None = None
    left: float = 0.0
    top: float = 0.0
    width: float
    height: float
    flip: bool = False
    """Mirrored left to right."""
    tilt: float = 0.0
    """Degrees, anticlockwise. The tilted drawing is fitted into the box."""
    hidden: float = 0.0
    """The fraction of its area that the next item of the scene, a thicket, covers."""
    seed: int
    """The seed of its colours and details. Each item has its own, so removing one changes no
    other."""

    @property
    def right(self) -> float:
        """Right edge in units."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge in units."""
        return self.top + self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box, (x, y) in units."""
        return self.left + self.width / 2, self.top + self.height / 2

    def moved(self, right: float, down: float) -> Item:
        """The same item, moved by `right` and `down` units."""
        return replace(self, left=self.left + right, top=self.top + down)


@final
@dataclass(frozen=True)
class Scene:
    """The items of an image from back to front: clutter first, then objects."""

    items: tuple[Item, ...]
    seed: int
    """The seed of the background and the noise."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels present, in the table's order."""
        present = {item.label for item in self.items}
        return tuple(name for name in LABELS if name in present)
