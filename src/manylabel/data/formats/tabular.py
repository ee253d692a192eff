"""What tables of every kind have in common: how columns are found, and rows become records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Final, final

import numpy as np

from manylabel.data.records import Record, Split, split_of
from manylabel.errors import DataError

IMAGE_NAMES: Final = ("image", "path", "file", "filename", "file_name", "img")
"""Headers that a column of images is known by, the first that is there."""

LABEL_NAMES: Final = ("labels", "label", "tags", "tag")
"""Headers that a column which holds all labels of an image is known by."""

KEY_NAME: Final = "image_key"
"""Header of the column of keys, where an image's key is not its path."""


@final
@dataclass(frozen=True)
class Columns:
    """Positions of the columns that are no single label's; None: there is none."""

    image: int
    label: int | None
    split: int | None
    group: int | None
    mask: int | None
    key: int | None

    def taken(self) -> set[int]:
        """All of these positions."""
        every = (self.image, self.label, self.split, self.group, self.mask, self.key)
        return {column for column in every if column is not None}

    def told(self, header: Sequence[str]) -> str:
        """A note on what each column was taken for."""
        roles = {
            "images": self.image,
            "keys": self.key,
            "splits": self.split,
            "groups": self.group,
            "masks": self.mask,
        }
        used = [f"{role} in {header[i]!r}" for role, i in roles.items() if i is not None]
        return f"Columns: {', '.join(used)}"


def choose_columns(
    header: Sequence[str],
    where: str,
    *,
    image: str | None = None,
    label: str | None = None,
    split: str | None = None,
) -> Columns:
    """The columns that the user named, and those that are known by their headers.

    The image's is the first column if none is known.

    Raises:
        DataError: A column that was named is not there, or no column is left for the images.
    """
    columns = Columns(
        image=named_column(header, image, where)
        if image
        else find_column(header, IMAGE_NAMES) or 0,
        label=named_column(header, label, where) if label else find_column(header, LABEL_NAMES),
        split=named_column(header, split, where) if split else find_column(header, ("split",)),
        group=find_column(header, ("group",)),
        mask=find_column(header, ("mask",)),
        key=find_column(header, (KEY_NAME,)),
    )
    others = (columns.label, columns.split, columns.group, columns.mask, columns.key)
    if columns.image in others:
        raise DataError(
            f"No column of image paths was found among {listed(header)}.",
            where=where,
            fix="Call it 'image', or say which it is with image_column.",
        )
    return columns


def named_column(header: Sequence[str], name: str, where: str) -> int:
    """The position of the column that the user asked for.

    Raises:
        DataError: There is none of that name.
    """
    if name in header:
        return header.index(name)
    close = get_close_matches(name, header, n=1)
    fix = f"Did you mean {close[0]!r}?" if close else f"There are {listed(header)}."
    raise DataError(f"There is no column {name!r}.", where=where, fix=fix)


def find_column(header: Sequence[str], names: Iterable[str]) -> int | None:
    """The position of the column with the first of these names that is there, in any case."""
    known = [name.lower() for name in header]
    return next((known.index(name) for name in names if name in known), None)


def listed(names: Sequence[str]) -> str:
    """The first names, quoted, for messages."""
    return ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")


def guess_delimiter(cells: Sequence[str]) -> str | None:
    """The mark between labels, or None if each cell seems to be one label."""
    for mark in "|;,":
        if any(mark in cell for cell in cells):
            return mark
    # A blank may also be part of a name ("traffic light"). Where it separates labels, few labels
    # make many combinations; where it is part of names, splitting makes more words than names.
    wholes = {cell for cell in cells if cell}
    words = {word for cell in wholes for word in cell.split()}
    return " " if len(words) < len(wholes) else None


def split_labels(cell: str, mark: str | None) -> list[str]:
    """The labels of a cell, which `mark` separates; None: the cell is one label."""
    if mark is None:
        return [cell] if cell else []
    parts = cell.split(mark) if mark.strip() else cell.split()
    return [part.strip() for part in parts if part.strip()]


def path_key(path: str) -> str:
    """A path as every machine takes it: one that was written on Windows too."""
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def split_or_none(cell: str | None, where: Callable[[], str]) -> Split | None:
    """The split that a cell names, None where it is empty.

    Raises:
        DataError: It names something else.
    """
    if not cell:
        return None
    split = split_of(cell)
    if split is None:
        raise DataError(
            f"{cell!r} is no split.",
            where=where(),
            fix="Write train, val or test, or leave the cell empty.",
        )
    return split


def merge_rows(
    rows: int, record_of: Callable[[int], Record], where: Callable[[int, int], str]
) -> Iterator[Record]:
    """The records of a table's rows, those of one key only once.

    Args:
        rows: How many rows there are.
        record_of: The record of a row, by its position; asked again where a key comes again, so
            that no record has to be kept.
        where: What two rows at these positions are called in messages.

    Raises:
        DataError: Two rows of one key differ.
    """
    first: dict[str, int] = {}
    for row in range(rows):
        record = record_of(row)
        known = first.setdefault(record.key, row)
        if known == row:
            yield record
        elif differing := _difference(record_of(known), record):
            raise DataError(
                f"The image {record.key!r} stands in two rows with different {differing}.",
                where=where(known, row),
                fix="Keep the row that is right.",
            )


def _difference(one: Record, other: Record) -> str | None:
    if not np.array_equal(one.targets, other.targets):
        return "labels"
    parts = {"split": "splits", "group": "groups", "mask": "masks", "boxes": "boxes"}
    for name, shown in (parts | {"image": "paths"}).items():
        if getattr(one, name) != getattr(other, name):
            return shown
    return None
