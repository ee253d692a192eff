"""Records: what every reader yields and everything else takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from manylabel.errors import DataError
from manylabel.images import Place
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")

_SPLIT_NAMES: Final[Mapping[str, Split]] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def split_of(name: str) -> Split | None:
    """The split that a word in a column, a file name or a folder name stands for, if any.

    Example:
        >>> split_of("Validation"), split_of("holiday")
        ('val', None)
    """
    return _SPLIT_NAMES.get(name.strip().lower())


@final
@dataclass(frozen=True, slots=True)
class Box:
    """One object: its label and its place in the upright image.

    `left`, `top`, `right`, `bottom` are fractions of width and height, 0..1, so that they hold
    at any size the image is squashed to.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float


@final
@dataclass(frozen=True, slots=True)
class Record:
    """One image with its truth.

    Args:
        key: Unique in the data set and stable between machines: the path as the data set gives it.
        image: Where it lies: a file, a part of one, or a crop of either.
        targets: int8 [C]: 1 present, 0 absent, -1 unknown.
        split: "train", "val", "test", or None where the data set does not say.
        boxes: Objects, where the data set has them.
        mask: A file of per-pixel classes, where the data set has one.
        group: Records of one group (a person, a scene, a video) belong into one split.
    """

    key: str
    image: Place
    targets: NDArray[np.int8]
    split: Split | None = None
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None
    group: str | None = None


@final
@dataclass(frozen=True)
class Records:
    """A data set: its labels, its records, and what its reader understood.

    Args:
        labels: The label space; every record's targets follow it.
        items: The records, in the data set's order.
        source: Where it was read from, for messages.
        notes: What the reader decided, dropped or noticed, a sentence each; shown to the user.
    """

    labels: LabelSpace
    items: tuple[Record, ...]
    source: str
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.items)

    @property
    def keys(self) -> list[str]:
        """The records' keys, in order."""
        return [record.key for record in self.items]

    def targets(self) -> NDArray[np.int8]:
        """All targets, int8 [N, C]."""
        if not self.items:
            return np.zeros((0, len(self.labels)), dtype=np.int8)
        return np.stack([record.targets for record in self.items])

    def split(self, name: Split) -> Records:
        """The records of one split; an empty data set if there are none."""
        items = tuple(record for record in self.items if record.split == name)
        return Records(self.labels, items, self.source, self.notes)

    def split_names(self) -> list[Split]:
        """The splits that have records, in the order train, val, test."""
        present = {record.split for record in self.items}
        return [name for name in SPLITS if name in present]

    def relabelled(self, labels: LabelSpace) -> Records:
        """The same records in the columns of `labels`, matched by name, never by position.

        Raises:
            DataError: The two label sets differ.
        """
        if labels == self.labels:
            return self
        missing = [name for name in labels if name not in self.labels]
        extra = [name for name in self.labels if name not in labels]
        if missing or extra:
            parts = []
            if missing:
                parts.append(f"{len(missing)} missing ({', '.join(missing[:5])})")
            if extra:
                parts.append(f"{len(extra)} not known to the model ({', '.join(extra[:5])})")
            raise DataError(
                f"The labels of the data set are not the model's: {'; '.join(parts)}.",
                where=self.source,
                fix="Give a data set with the labels that the model was trained on.",
            )
        order = [self.labels.index(name) for name in labels]
        items = tuple(replace(record, targets=record.targets[order]) for record in self.items)
        return Records(labels, items, self.source, self.notes)

    def fingerprint(self) -> str:
        """SHA-256 of label names, keys and targets in order: two equal ones are the same test."""
        digest = hashlib.sha256("\0".join(self.labels).encode())
        for record in self.items:
            digest.update(b"\n" + record.key.encode() + b"\0" + record.targets.tobytes())
        return digest.hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """What was understood, ready for JSON; without the records themselves."""
        targets = self.targets()
        return {
            "source": self.source,
            "images": len(self),
            "labels": list(self.labels),
            "positives": int((targets == PRESENT).sum()),
            "unknown": int((targets == UNKNOWN).sum()),
            "boxes": sum(len(record.boxes) for record in self.items),
            "splits": {name: len(self.split(name)) for name in self.split_names()},
            "notes": list(self.notes),
            "fingerprint": self.fingerprint(),
        }

    def summary(self) -> str:
        """One paragraph: images, labels, positives an image, unknowns, splits, notes."""
        targets = self.targets()
        positives = int((targets == PRESENT).sum())
        unknown = int((targets == UNKNOWN).sum())
        counts = ", ".join(f"{name} {len(self.split(name)):,}" for name in self.split_names())
        parts = [
            f"{self.source}: {len(self):,} images, {len(self.labels):,} labels, "
            f"{positives / max(1, len(self)):.2f} positives an image"
        ]
        if unknown:
            parts.append(f"{unknown / targets.size:.1%} of targets unknown")
        parts.append(f"splits: {counts}" if counts else "no splits given")
        return ". ".join(["; ".join(parts), *(note.rstrip(".") for note in self.notes)]) + "."
