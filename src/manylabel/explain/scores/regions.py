"""Where the objects of the labels of one image are: in boxes, or in a mask of classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Box
from manylabel.explain.scores.grids import overlaps

UNLABELLED: Final = 255
"""The class in a mask for "nothing is known here", as in Pascal VOC."""


class Regions(ABC):
    """The regions of the labels of one image. Places are fractions of its width and height."""

    @abstractmethod
    def labels(self) -> frozenset[str]:
        """The labels that have a region in the image."""

    @abstractmethod
    def holds(self, label: str, x: float, y: float) -> bool:
        """Whether a point lies in the region of a label."""

    @abstractmethod
    def cover(self, label: str, cells: int) -> NDArray[np.float64]:
        """How much of each cell of a grid the region of a label covers: [cells, cells], 0..1.

        The values are exact. So their mean is the area of the region.
        """


@final
class BoxRegions(Regions):
    """Regions from boxes: the region of a label is the union of its boxes, edges included.

    Args:
        boxes: The boxes of the objects of one image.
    """

    def __init__(self, boxes: Sequence[Box]) -> None:
        self._boxes: dict[str, list[Box]] = {}
        for box in boxes:
            self._boxes.setdefault(box.label, []).append(box)

    def labels(self) -> frozenset[str]:
        """The labels that have a box."""
        return frozenset(self._boxes)

    def holds(self, label: str, x: float, y: float) -> bool:
        """Whether a point lies in a box of the label."""
        return any(contains(box, x, y) for box in self._boxes[label])

    def cover(self, label: str, cells: int) -> NDArray[np.float64]:
        """How much of each cell the union of the label's boxes covers."""
        return union_cover(self._boxes[label], cells)


@final
class MaskRegions(Regions):
    """Regions from a mask: the region of a label is all pixels of its class.

    Args:
        classes: The class of each pixel, unsigned integers [H, W], for the whole image.
        labels: The class of each label that has one.
    """

    def __init__(self, classes: NDArray[np.unsignedinteger], labels: Mapping[str, int]) -> None:
        self._classes = classes
        present = set(np.unique(classes).tolist())
        self._labels = {name: number for name, number in labels.items() if number in present}

    def labels(self) -> frozenset[str]:
        """The labels whose class is in the mask."""
        return frozenset(self._labels)

    def holds(self, label: str, x: float, y: float) -> bool:
        """Whether the pixel at a point is of the label's class."""
        height, width = self._classes.shape
        row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
        return bool(self._classes[row, column] == self._labels[label])

    def cover(self, label: str, cells: int) -> NDArray[np.float64]:
        """How much of each cell the pixels of the label's class cover."""
        height, width = self._classes.shape
        own = (self._classes == self._labels[label]).astype(np.float32)
        down, across = (overlaps(np.arange(side + 1) / side, cells) for side in (height, width))
        return down @ (own @ across.T.astype(np.float32))


def contains(box: Box, x: float, y: float) -> bool:
    """Whether a point lies in a box, edges included."""
    return box.left <= x <= box.right and box.top <= y <= box.bottom


def union_cover(boxes: Sequence[Box], cells: int) -> NDArray[np.float64]:
    """The exact share of each cell of a grid that the union of boxes covers: [cells, cells]."""
    corners = np.array([(b.left, b.top, b.right, b.bottom) for b in boxes]).reshape(-1, 4)
    left, top, right, bottom = corners.clip(0, 1).T
    # The edges of all boxes make a grid. Each of its cells is covered completely or not at all.
    xs, ys = np.unique([left, right]), np.unique([top, bottom])
    covered = np.zeros((max(len(ys) - 1, 0), max(len(xs) - 1, 0)))
    for x0, y0, x1, y1 in zip(
        np.searchsorted(xs, left),
        np.searchsorted(ys, top),
        np.searchsorted(xs, right),
        np.searchsorted(ys, bottom),
        strict=True,
    ):
        covered[y0:y1, x0:x1] = 1
    return overlaps(ys, cells) @ covered @ overlaps(xs, cells).T


def union_area(boxes: Sequence[Box]) -> float:
    """The exact area of the union of boxes inside the image, 0..1."""
    return float(union_cover(boxes, 1)[0, 0])
