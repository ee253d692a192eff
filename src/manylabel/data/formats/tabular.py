"""Functions for tables of every kind: they find columns and turn rows into records."""

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
"""Headers of a column of images. The first one that exists is used."""

LABEL_NAMES: Final = ("labels", "label", "tags", "tag")
"""Headers of a column that holds all labels of an image."""

KEY_NAME: Final = "image_key"
"""Header of the column of keys, for images whose key is not their path."""


@final
@dataclass(frozen=True)
class Columns:
    """Positions of the columns that are not for a single label; None: there is no such column."""

    image: int
    label: int | None
    split: int | None
    group: int | None
    mask: int | None
    key: int | None

    def taken(self) -> set[int]:
        """All of these positions."""
        columns = (self.image, self.label, self.split, self.group, self.mask, self.key)
        return {column for column in columns if column is not None}

    def describe(self, header: Sequence[str]) -> str:
        """A note that says how each column is used."""
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
    """The columns that the user named, and those that are recognised by their headers.

    If there is no column of images, the first column is used.

    Raises:
        DataError: A named column does not exist, or no column is left for the images.
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
            fix="Call it 'image', or name it with image_column.",
        )
    return columns


def named_column(header: Sequence[str], name: str, where: str) -> int:
    """The position of the column that the user named.

    Raises:
        DataError: There is no column with that name.
    """
    if name in header:
        return header.index(name)
    close = get_close_matches(name, header, n=1)
    fix = f"Did you mean {close[0]!r}?" if close else f"There are {listed(header)}."
    raise DataError(f"There is no column {name!r}.", where=where, fix=fix)


def find_column(header: Sequence[str], names: Iterable[str]) -> int | None:
    """The position of the first of these names that is in the header, in upper or lower case."""
    known = [name.lower() for name in header]
    return next((known.index(name) for name in names if name in known), None)


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted, for messages."""
    return ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")


def guess_delimiter(cells: Sequence[str]) -> str | None:
    """The delimiter between labels; None if each cell seems to be one label."""
    for mark in "|;,":
        if any(mark in cell for cell in cells):
            return mark
    # A space may also be part of a name ("traffic light"). If it separates labels, there are fewer
    # different words than different cells. If it is part of names, there are more.
    wholes = {cell for cell in cells if cell}
    words = {word for cell in wholes for word in cell.split()}
    return " " if len(words) < len(wholes) else None


def split_labels(cell: str, mark: str | None) -> list[str]:
    """The labels of a cell, separated by `mark`; None: the cell is one label."""
    if mark is None:
        return [cell] if cell else []
    parts = cell.split(mark) if mark.strip() else cell.split()
    return [part.strip() for part in parts if part.strip()]


def path_key(path: str) -> str:
    """A path with forward slashes, also if it was written on Windows."""
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def split_or_none(cell: str | None, where: Callable[[], str]) -> Split | None:
    """The split that a cell names; None if the cell is empty.

    Raises:
        DataError: The cell is not the name of a split.
    """
    if not cell:
        return None
    split = split_of(cell)
    if split is None:
        raise DataError(
            f"{cell!r} is not a split.",
            where=where(),
            fix="Write train, val or test, or leave the cell empty.",
        )
    return split


def merge_rows(
    rows: int, record_of: Callable[[int], Record], where: Callable[[int, int], str]
) -> Iterator[Record]:
    """The records of a table without repetitions: one for each key.

    Args:
        rows: The number of rows.
        record_of: Gives the record of a row from its position. It is called again for a row whose
            key is repeated, so that no record has to be kept.
        where: Names two rows in messages, from their positions.

    Raises:
        DataError: Two rows with the same key differ.
    """
    first: dict[str, int] = {}
    for row in range(rows):
        record = record_of(row)
        known = first.setdefault(record.key, row)
        if known == row:
            yield record
        elif differing := _difference(record_of(known), record):
            raise DataError(
                f"The image {record.key!r} is in two rows with different {differing}.",
                where=where(known, row),
                fix="Keep the correct row.",
            )


def _difference(one: Record, other: Record) -> str | None:
    if not np.array_equal(one.targets, other.targets):
        return "labels"
    parts = {"split": "splits", "group": "groups", "mask": "masks", "boxes": "boxes"}
    for name, shown in (parts | {"image": "paths"}).items():
        if getattr(one, name) != getattr(other, name):
            return shown
    return None
