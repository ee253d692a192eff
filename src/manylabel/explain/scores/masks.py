"""Masks of classes of a data set: one file an image, and a list of the names of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from manylabel.data.records import Record
from manylabel.errors import DataError
from manylabel.explain.scores.regions import UNLABELLED, MaskRegions
from manylabel.files import read_text
from manylabel.images import Crop, Place, read_header
from manylabel.images.classes import load_classes
from manylabel.labels import LabelSpace, repeated


@final
@dataclass(frozen=True, slots=True)
class MaskClasses:
    """The names of the classes in masks.

    Args:
        names: The name of each class, from class 0.
        source: The file that they were read from.
    """

    names: tuple[str, ...]
    source: str

    @classmethod
    def read(cls, path: Path) -> MaskClasses:
        """The names in a text file, one a line. The first line is class 0.

        Raises:
            DataError: The file cannot be read, is empty, or has an empty or a repeated line.
        """
        names = tuple(line.strip() for line in read_text(path).rstrip().split("\n"))
        if "" in names:
            raise DataError(
                f"Line {names.index('') + 1} is empty, so the numbers of the classes are not sure.",
                where=str(path),
                fix="Give one name of a class a line. The first line is class 0.",
            )
        if twice := repeated(names):
            raise DataError(
                f"Names of classes are given more than once: {', '.join(twice[:5])}.",
                where=str(path),
                fix="Give each class its own name.",
            )
        return cls(names, str(path))

    def of(self, labels: LabelSpace) -> dict[str, int]:
        """The class of each label that has one; names are matched exactly.

        Raises:
            DataError: No label is the name of a class.
        """
        found = {name: i for i, name in enumerate(self.names) if name in labels}
        if not found:
            raise DataError(
                "No label is the name of a class of the masks.",
                where=self.source,
                fix=f"The labels are: {', '.join(labels.names[:10])}. Name the classes as these.",
            )
        return found

    def regions(self, record: Record, labels: Mapping[str, int]) -> MaskRegions:
        """The regions in the mask of a record.

        The mask covers the whole image. It may have another size, such as half of the image's.

        Args:
            record: A record that has a mask.
            labels: The class of each label, from `of`.

        Raises:
            ImageError: The mask or the image cannot be read.
            DataError: The mask has another shape than the image, or a class without a name.
        """
        assert record.mask is not None
        classes = load_classes(record.mask)
        _require_shape(record, classes.shape[1], classes.shape[0])
        unnamed = [n for n in np.unique(classes) if n >= len(self.names) and n != UNLABELLED]
        if unnamed:
            raise DataError(
                f"The mask has class {unnamed[0]}, and the names end at class "
                f"{len(self.names) - 1}.",
                where=str(record.mask),
                fix=f"Complete {self.source}: one name a line, the first line is class 0.",
            )
        return MaskRegions(classes, labels)


def _require_shape(record: Record, width: int, height: int) -> None:
    """Refuse a mask whose shape is not the image's. A pixel more or less is from rounding."""
    across, down = _size(record.image)
    if abs(width * down / across - height) > max(1.0, down / across):
        raise DataError(
            f"The mask has {width}x{height} pixels and its image {across}x{down}, which is another "
            "shape.",
            where=str(record.mask),
            fix="Give the mask of the whole upright image, in its size or scaled.",
        )


def _size(place: Place) -> tuple[int, int]:
    """Width and height of an upright image, pixels."""
    if isinstance(place, Crop):
        left, top, right, bottom = place.bounds(*read_header(place.image).size)
        return right - left, bottom - top
    return read_header(place).size
