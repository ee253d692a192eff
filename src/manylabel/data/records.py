"""Records: the data set as every reader returns it and all other code takes it."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.room import require_room
from manylabel.data.places import Places, divide
from manylabel.data.vocabulary import named, other_labels
from manylabel.images import Place
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace
from manylabel.text import counted

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")

NO_SPLIT: Final = -1
"""The number in a column of splits for a record without a split."""

_Value = TypeVar("_Value")

_HASHED: Final = 4096
"""The number of records that are hashed at once."""

_WORDS: Final[Mapping[str, Split]] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""The names that data sets use for the splits."""

_NAMES: Final[tuple[Split | None, ...]] = (*SPLITS, None)
"""The names of splits by their numbers. The last one is for `NO_SPLIT`, which is -1."""

UNCHECKED: Final = 1 << 26
"""The bytes of targets up to which the free memory is not looked at."""
_NO_SPLITS: Final = np.array(NO_SPLIT, dtype=np.int8)
"""One number that stands for a whole column without splits."""


def split_of(name: str) -> Split | None:
    """The split that a word means, or None. The word is from a column, a file or a folder.

    Example:
        >>> split_of("Validation"), split_of("holiday")
        ('val', None)
    """
    return _WORDS.get(name.strip().lower())


def split_code(split: Split | None) -> int:
    """The number of a split in a column of splits."""
    return NO_SPLIT if split is None else SPLITS.index(split)


@final
@dataclass(frozen=True, slots=True)
class Box:
    """One object: its label and its place in the upright image.

    `left`, `top`, `right`, `bottom` are fractions of width and height, 0..1. So they are right for
    any size to which the image is resized.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float


@final
@dataclass(frozen=True, slots=True)
class Record:
    """One image with its truth: one row of `Records`.

    Args:
        key: Unique in the data set and stable between machines: the path as the data set gives it.
        image: The place of the image: a file, a part of one, or a crop of either.
        targets: int8 [C]: 1 present, 0 absent, -1 unknown.
        split: "train", "val", "test", or None if the data set does not say.
        boxes: Objects, if the data set has them.
        mask: A file of per-pixel classes, if the data set has one.
        group: Records of one group (a person, a scene, a video) belong in one split.
    """

    key: str
    image: Place
    targets: NDArray[np.int8]
    split: Split | None = None
    boxes: tuple[Box, ...] = ()
    mask: Path | None = None
    group: str | None = None


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Records:
    """A data set of N images and C labels, in columns.

    A column without a value is None and needs no memory. Records are never changed: every method
    gives new records, which share the columns that stay the same.

    Args:
        labels: The label space. The columns of `targets` are in its order.
        keys: N keys, in the order of the data set.
        images: The places of the N images.
        targets: int8 [N, C]: 1 present, 0 absent, -1 unknown. The array is read-only.
        splits: int8 [N], read-only: positions in `SPLITS`, or `NO_SPLIT`. A single number is
            taken for all records.
        groups: N groups, or None.
        boxes: The boxes of N images, or None.
        masks: N files of per-pixel classes, or None.
        source: The file or folder that was read, for messages.
        notes: What the reader decided, dropped or noticed, one sentence each. Users see them.
        contents: uint64 [N], hashes of what the images show, as in `images.content`; 0 where it is
            not known. None: no image was looked at.
        folders: The folders that the user named for the data set. Files elsewhere are outside.
        absent_if_unnamed: Whether the images name the labels that they have, and a label that an
            image does not name is absent. Then a label that no image names is absent in all.
    """

    labels: LabelSpace
    keys: tuple[str, ...]
    images: Places
    targets: NDArray[np.int8]
    splits: NDArray[np.int8] = field(default_factory=lambda: _NO_SPLITS)
    groups: tuple[str | None, ...] | None = None
    boxes: tuple[tuple[Box, ...], ...] | None = None
    masks: tuple[Path | None, ...] | None = None
    contents: NDArray[np.uint64] | None = None
    source: str
    notes: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    absent_if_unnamed: bool = False

    def __post_init__(self) -> None:
        assert self.targets.dtype == self.splits.dtype == np.int8
        # `broadcast_to` gives read-only arrays.
        targets = np.broadcast_to(self.targets, (len(self), len(self.labels)))
        splits = self.splits if (self.splits != NO_SPLIT).any() else _NO_SPLITS
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "splits", np.broadcast_to(splits, (len(self),)))
        columns = (self.images, self.groups, self.boxes, self.masks, self.contents)
        assert all(len(column) == len(self) for column in columns if column is not None)
        object.__setattr__(self, "groups", _none_if_empty(self.groups))
        object.__setattr__(self, "boxes", _none_if_empty(self.boxes))
        object.__setattr__(self, "masks", _none_if_empty(self.masks))

    @classmethod
    def of(
        cls, labels: LabelSpace, items: Iterable[Record], source: str, notes: Iterable[str] = ()
    ) -> Records:
        """Records in columns, built from single records. The single records are not kept.

        Args:
            labels: The label space of the targets of `items`.
            items: The records, in the order of the data set.
            source: The file or folder that was read, for messages.
            notes: What the reader decided, dropped or noticed.

        Raises:
            DataError: The targets do not fit into memory.
        """
        keys: list[str] = []
        folders: list[str] = []
        names: list[Any] = []
        targets, splits = bytearray(), array("b")
        room = UNCHECKED
        groups: list[str | None] = []
        boxes: list[tuple[Box, ...]] = []
        masks: list[Path | None] = []
        shared: dict[str, str] = {}
        for item in items:
            folder, name = divide(item.image, item.key)
            keys.append(item.key)
            folders.append(shared.setdefault(folder, folder))
            names.append(name)
            targets += item.targets.tobytes()
            if len(targets) > room:
                require_room(len(targets), "The targets", source)
                room = 2 * len(targets)
            splits.append(split_code(item.split))
            groups.append(item.group)
            boxes.append(item.boxes)
            masks.append(item.mask)
        return cls(
            labels=labels,
            keys=tuple(keys),
            images=Places(tuple(folders), tuple(names)),
            targets=np.frombuffer(targets, dtype=np.int8).reshape(len(keys), len(labels)),
            splits=np.frombuffer(splits, dtype=np.int8),
            groups=tuple(groups),
            boxes=tuple(boxes),
            masks=tuple(masks),
            source=source,
            notes=tuple(notes),
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, position: int) -> Record:
        """One record. It is built at each call."""
        return Record(
            self.keys[position],
            self.images[position],
            self.targets[position],
            _NAMES[int(self.splits[position])],
            () if self.boxes is None else self.boxes[position],
            None if self.masks is None else self.masks[position],
            None if self.groups is None else self.groups[position],
        )

    def __iter__(self) -> Iterator[Record]:
        return (self[position] for position in range(len(self)))

    def select(self, positions: NDArray[Any] | Sequence[int]) -> Records:
        """The records at some positions, in the order of the positions.

        Args:
            positions: Integers from 0; or bool [N], True for the records that are kept.
        """
        # NumPy makes an array of floats from an empty list. Floats cannot be positions.
        wanted = np.asarray(positions) if len(positions) else np.zeros(0, dtype=np.intp)
        chosen = np.arange(len(self))[wanted]
        rows = chosen.tolist()
        return replace(
            self,
            keys=tuple(self.keys[i] for i in rows),
            images=self.images.select(rows),
            targets=self.targets[chosen],
            splits=self.splits[chosen],
            groups=_chosen(self.groups, rows),
            boxes=_chosen(self.boxes, rows),
            masks=_chosen(self.masks, rows),
            contents=None if self.contents is None else self.contents[chosen],
        )

    def select_keys(self, keys: Collection[str]) -> Records:
        """The records whose key is one of `keys`, in the order of the data set."""
        positions = [position for position, key in enumerate(self.keys) if key in keys]
        return self if len(positions) == len(self) else self.select(positions)

    def split(self, name: Split) -> Records:
        """The records of one split; an empty data set if there are none."""
        return self.select(self.splits == SPLITS.index(name))

    def split_counts(self) -> dict[Split, int]:
        """The number of records of each split that has any, in the order train, val, test."""
        counts = np.bincount(self.splits[self.splits >= 0], minlength=len(SPLITS)).tolist()
        return {name: count for name, count in zip(SPLITS, counts, strict=True) if count}

    def split_names(self) -> list[Split]:
        """The splits that have records, in the order train, val, test."""
        return list(self.split_counts())

    def split_of_each(self) -> list[Split | None]:
        """The name of the split of each record; None for a record without a split."""
        return [_NAMES[code] for code in self.splits.tolist()]

    def with_notes(self, *notes: str) -> Records:
        """The same records, with `notes` added to their notes."""
        return self._same_truth(replace(self, notes=(*self.notes, *notes))) if notes else self

    def with_splits(self, splits: NDArray[np.int8]) -> Records:
        """The same records with other splits, int8 [N]: positions in `SPLITS`, or `NO_SPLIT`."""
        return self._same_truth(replace(self, splits=splits))

    def relabelled(self, labels: LabelSpace) -> Records:
        """The same records with the columns in the order of `labels`, matched by name.

        If a label is absent where it is not named, one of `labels` that the records lack is absent
        in all images, except in those of which nothing is known. One of the records' labels that
        is not in `labels` is left out if no image has it. Notes name both. The labels are then
        settled: the result is not matched like this again.

        Raises:
            DataError: The records have other labels, or lack some.
        """
        if labels == self.labels:
            settled = replace(self, absent_if_unnamed=False)
            return self._same_truth(settled) if self.absent_if_unnamed else self
        missing, foreign = self.unmatched(labels)
        if missing or foreign:
            raise other_labels(missing, foreign, labels, where=self.source)
        added = [name for name in labels if name not in self.labels]
        left_out = [name for name in self.labels if name not in labels]
        known = (self.targets != UNKNOWN).any(axis=1)
        unnamed = np.where(known, ABSENT, UNKNOWN).astype(np.int8)
        columns = [
            unnamed if name in added else self.targets[:, self.labels.index(name)]
            for name in labels
        ]
        targets = np.ascontiguousarray(np.stack(columns, axis=1))
        settled = replace(self, labels=labels, targets=targets, absent_if_unnamed=False)
        return settled.with_notes(
            *named(added, "Labels of the model that no image names, taken as absent"),
            *named(left_out, "Labels that no image has and the model does not know, left out"),
        )

    def unmatched(self, labels: LabelSpace) -> tuple[list[str], list[str]]:
        """The names by which `relabelled` refuses `labels`; both lists are empty if it does not.

        Returns:
            The names that the records lack, and those of the records that are not in `labels`.
        """
        missing = [name for name in labels if name not in self.labels]
        foreign = [name for name in self.labels if name not in labels]
        if not self.absent_if_unnamed:
            return missing, foreign
        known = (self.targets != UNKNOWN).any(axis=1)
        columns = [self.labels.index(name) for name in foreign]
        named = (self.targets[:, columns] != ABSENT)[known].any(axis=0).tolist()
        found = [name for name, occurs in zip(foreign, named, strict=True) if occurs]
        return (missing if found else []), found

    def fingerprint(self) -> str:
        """SHA-256 of label names, keys and targets, in order. It is computed once.

        Results on two data sets with the same fingerprint can be compared: it is the same test.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256("\0".join(self.labels).encode())
        width = len(self.labels)
        for start in range(0, len(self), _HASHED):
            targets = self.targets[start : start + _HASHED].tobytes()
            parts = []
            for row, key in enumerate(self.keys[start : start + _HASHED]):
                parts += (b"\n", key.encode(), b"\0", targets[row * width : (row + 1) * width])
            digest.update(b"".join(parts))
        return digest.hexdigest()

    def _same_truth(self, other: Records) -> Records:
        """`other`, which has the same labels, keys and targets, and so the same fingerprint."""
        if "_fingerprint" in vars(self):
            vars(other)["_fingerprint"] = self._fingerprint
        return other

    def as_dict(self) -> dict[str, Any]:
        """A summary of the data set for JSON, without the records themselves."""
        return {
            "source": self.source,
            "images": len(self),
            "labels": list(self.labels),
            "positives": int(np.count_nonzero(self.targets == PRESENT)),
            "unknown": int(np.count_nonzero(self.targets == UNKNOWN)),
            "boxes": 0 if self.boxes is None else sum(map(len, self.boxes)),
            "splits": self.split_counts(),
            "notes": list(self.notes),
            "fingerprint": self.fingerprint(),
        }

    def summary(self) -> str:
        """One paragraph: images, labels, positives per image, unknowns, splits, notes."""
        positives = int(np.count_nonzero(self.targets == PRESENT))
        unknown = int(np.count_nonzero(self.targets == UNKNOWN))
        counts = ", ".join(f"{name} {count:,}" for name, count in self.split_counts().items())
        parts = [
            f"{self.source}: {counted(len(self), 'image')}, {counted(len(self.labels), 'label')}, "
            f"{positives / max(1, len(self)):.2f} positives per image"
        ]
        if unknown:
            parts.append(f"{unknown / self.targets.size:.1%} of targets unknown")
        parts.append(f"splits: {counts}" if counts else "no splits given")
        return ". ".join(["; ".join(parts), *(note.rstrip(".") for note in self.notes)]) + "."


def _none_if_empty(column: tuple[_Value, ...] | None) -> tuple[_Value, ...] | None:
    """None if no record has a value in the column, else the column."""
    if column is None or all(value in (None, ()) for value in column):
        return None
    return column


def _chosen(
    column: tuple[_Value, ...] | None, positions: Sequence[int]
) -> tuple[_Value, ...] | None:
    return None if column is None else tuple(column[i] for i in positions)
