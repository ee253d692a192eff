"""Compares two data sets: the planned one and the one that was read back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from manylabel.data.records import Box, Record, Records

_ROUNDING: Final = 1e-9
"""The tolerance for the sides of boxes, in fractions. Writing as pixels and reading rounds them."""


def first_difference(wanted: Records, found: Records) -> str | None:
    """The first difference in labels, order, truth or place, in words; None if there is none.

    Images that are files must be the same files. Copied images are not compared.
    """
    if wanted.labels != found.labels:
        return "the labels differ"
    if len(wanted) != len(found):
        return f"{len(found):,} images instead of {len(wanted):,}"
    for one, other in zip(wanted, found, strict=True):
        part = _differing_part(one, other)
        if part is not None:
            return f"the {part} of {one.key!r}"
    return None


def _differing_part(one: Record, other: Record) -> str | None:
    if not np.array_equal(one.targets, other.targets):
        return "targets"
    if not _equal_boxes(one.boxes, other.boxes):
        return "boxes"
    parts = {
        "key": (one.key, other.key),
        "split": (one.split, other.split),
        "group": (one.group or None, other.group),
        "mask": (
            one.mask and os.path.abspath(one.mask),
            other.mask and os.path.abspath(other.mask),
        ),
    }
    if isinstance(one.image, Path) and isinstance(other.image, Path):
        parts["path"] = (os.path.abspath(one.image), os.path.abspath(other.image))
    return next((name for name, (left, right) in parts.items() if left != right), None)


def _equal_boxes(one: Sequence[Box], other: Sequence[Box]) -> bool:
    if [box.label for box in one] != [box.label for box in other]:
        return False
    return all(
        abs(left - right) <= _ROUNDING
        for box, found in zip(one, other, strict=True)
        for left, right in zip(_sides(box), _sides(found), strict=True)
    )


def _sides(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom
