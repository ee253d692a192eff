"""Where the boxes of two labels lie, one beside the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Box, Records
from manylabel.explain.relations.significance import benjamini_hochberg, sign_test

WHERE: Final = ("above", "below", "left", "right", "inside", "around")
"""Where one box lies, as seen from another."""

INSIDE: Final = 0.9
"""A box is inside another one if that one covers at least this share of its area."""

FEW: Final = 0.25
"""Boxes that share less than this part of the rows of the smaller one lie one above the other."""


@final
@dataclass(frozen=True, eq=False)
class PlacesInData:
    """Where the objects of each two labels lie in the images that have boxes of both.

    Args:
        counts: int64 [C, C, 6]: in how many images the label of the row lies `WHERE` as seen from
            the label of the column. An image counts once, by the two boxes whose centres are
            nearest.
        p: [C, C]: p-values of "above as often as below", corrected for the number of pairs by
            Benjamini and Hochberg; NaN where neither was seen.
    """

    counts: NDArray[np.int64]
    p: NDArray[np.float64]

    def words(self, row: int, column: int) -> str:
        """The most frequent place, such as "above (9 of 10)"; empty if there is none."""
        counts = self.counts[row, column]
        total = int(counts.sum())
        return f"{WHERE[int(counts.argmax())]} ({counts.max()} of {total})" if total else ""


def places_in_data(records: Records) -> PlacesInData | None:
    """Where the objects of each two labels lie; None if no image has boxes of two labels."""
    if records.boxes is None:
        return None
    size = len(records.labels)
    counts = np.zeros((size, size, len(WHERE)), dtype=np.int64)
    for boxes in records.boxes:
        _count(counts, boxes, records)
    return PlacesInData(counts, _tested(counts)) if counts.any() else None


def where(box: Box, other: Box) -> str:
    """Where a box lies as seen from another one, a word of `WHERE`.

    It is inside or around if one covers nearly all of the other. It is above or below if the two
    share few rows, and left or right if they share few columns but many rows. If they share many of
    both, the larger one of the distances of their centres decides, across or down. Distances are
    shares of the image's width and height.
    """
    shared = _shared(box, other)
    if shared >= INSIDE * _area(box) and _area(box) <= _area(other):
        return "inside"
    if shared >= INSIDE * _area(other):
        return "around"
    right, down = _centre(box) - _centre(other)
    rows = _part(box.top, box.bottom, other.top, other.bottom)
    columns = _part(box.left, box.right, other.left, other.right)
    if rows < FEW or (columns >= FEW and abs(down) >= abs(right)):
        return "below" if down > 0 else "above"
    return "right" if right > 0 else "left"


def _part(start: float, end: float, other_start: float, other_end: float) -> float:
    """The share of the shorter one of two lines that both cover; 0 if they do not meet."""
    shorter = min(end - start, other_end - other_start)
    shared = min(end, other_end) - max(start, other_start)
    return shared / shorter if shorter > 0 and shared > 0 else 0.0


def _count(counts: NDArray[np.int64], boxes: Sequence[Box], records: Records) -> None:
    by_label: dict[int, list[Box]] = {}
    for box in boxes:
        if box.label in records.labels:
            by_label.setdefault(records.labels.index(box.label), []).append(box)
    for row, own in by_label.items():
        for column, others in by_label.items():
            if row != column:
                counts[row, column, WHERE.index(where(*_nearest(own, others)))] += 1


def _nearest(own: Sequence[Box], others: Sequence[Box]) -> tuple[Box, Box]:
    ours, theirs = (np.array([_centre(box) for box in boxes]) for boxes in (own, others))
    distances = np.square(ours[:, None] - theirs).sum(-1)
    i, j = divmod(int(distances.argmin()), len(others))
    return own[i], others[j]


def _tested(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    vertical = counts[..., :2]
    rows, columns = np.nonzero(np.triu(vertical.any(-1), k=1))
    raw = [sign_test(*map(int, vertical[i, j])) for i, j in zip(rows, columns, strict=True)]
    p = np.full(counts.shape[:2], np.nan)
    p[rows, columns] = p[columns, rows] = benjamini_hochberg(np.array(raw, dtype=np.float64))
    return p


def _centre(box: Box) -> NDArray[np.float64]:
    return np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])


def _area(box: Box) -> float:
    return max(0.0, box.right - box.left) * max(0.0, box.bottom - box.top)


def _shared(box: Box, other: Box) -> float:
    width = min(box.right, other.right) - max(box.left, other.left)
    height = min(box.bottom, other.bottom) - max(box.top, other.top)
    return max(0.0, width) * max(0.0, height)
