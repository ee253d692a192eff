"""Functions for tables of every kind: they find columns and turn rows into records."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.missing_words import is_missing_word
from manylabel.data.records import Record, Split, split_of
from manylabel.errors import DataError
from manylabel.images import has_image_ending

IMAGE_NAMES: Final = (
    *("image", "path", "file", "filename", "file_name", "img"),
    *("image_path", "file_path", "filepath", "image_name", "photo"),
)
"""Headers of a column of images. The first one that exists is used."""

LABEL_NAMES: Final = ("labels", "label", "tags", "tag")
"""Headers of a column that holds all labels of an image."""

WEAK_LABEL_NAMES: Final = (
    *("class", "classes", "class_name", "classname", "category", "categories"),
    *("category_name", "label_name", "labelname", "keywords"),
)
"""Headers of a column that names labels, unless other columns may be labels."""

TRUTH_NAMES: Final = frozenset(
    {"value", "target", "present", "presence", "truth", "answer", "confidence", "score"}
)
"""Headers of a column that may say whether the label of its row is present."""

ROWS_LOOKED_AT: Final = 20
"""The number of first rows whose cells say which column holds the images."""

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
        return {column for column in columns if column is not None and column >= 0}

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


@final
@dataclass(frozen=True)
class NamedColumns:
    """The columns that the user named.

    Args:
        image: Header of the column of image paths; None: it is looked for.
        label: The same for the column that holds all labels of an image.
        split: The same for the column of splits.
        ignored: Headers of columns that are not used.
    """

    image: str | None = None
    label: str | None = None
    split: str | None = None
    ignored: Sequence[str] = ()


def choose_columns(
    header: Sequence[str], named: NamedColumns, where: str, first: Sequence[Sequence[str]]
) -> Columns:
    """The columns that the user named, and those that are recognised by their headers.

    The column of images is also recognised by its cells. If nothing tells, it is the first column.

    Args:
        header: The names of all columns.
        named: What the user named.
        where: The file, for messages.
        first: The cells of the first rows.

    Raises:
        DataError: A named column does not exist, or it is unclear which column holds the images.
    """
    for name in named.ignored:
        named_column(header, name, where)
    left = ["" if name in named.ignored else name for name in header]
    columns = Columns(
        image=-1,
        label=named_column(header, named.label, where)
        if named.label
        else find_column(left, LABEL_NAMES),
        split=named_column(header, named.split, where)
        if named.split
        else find_column(left, ("split",)),
        group=find_column(left, ("group",)),
        mask=find_column(left, ("mask",)),
        key=find_column(left, (KEY_NAME,)),
    )
    if named.image:
        image = named_column(header, named.image, where)
    else:
        image = _find_images(left, columns.taken(), where, first)
    columns = replace(columns, image=image)
    if image in replace(columns, image=-1).taken():
        raise _no_images(header, where)
    return columns


def _find_images(
    header: Sequence[str], taken: set[int], where: str, first: Sequence[Sequence[str]]
) -> int:
    """The position of the column of images, by its header and its cells."""
    free = [i for i in range(len(header)) if i not in taken and header[i]]
    known = [name.lower() for name in header]
    called = [known.index(name) for name in IMAGE_NAMES if name in known]
    called = [i for i in called if i in free]
    alike = [i for i in free if _hold_images(i, first)]
    both = [i for i in called if i in alike]
    if both:
        return both[0]
    if called and alike:
        raise DataError(
            f"It is unclear which column holds the images: {header[called[0]]!r} by its name, or "
            f"{header[alike[0]]!r}, whose cells end like names of image files.",
            where=where,
            fix=f"Name it: --image-column {header[alike[0]]}.",
        )
    if called:
        return called[0]
    if len(alike) > 1:
        raise DataError(
            f"Several columns hold names of image files: {listed([header[i] for i in alike])}.",
            where=where,
            fix=f"Name the one of the images: --image-column {header[alike[0]]}.",
        )
    return alike[0] if alike else 0


def _hold_images(column: int, first: Sequence[Sequence[str]]) -> bool:
    """Whether the filled cells of a column end like names of image files."""
    cells = [row[column].strip() for row in first if column < len(row)]
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(map(has_image_ending, filled))


def _no_images(header: Sequence[str], where: str) -> DataError:
    return DataError(
        f"No column of image paths was found among {listed(header)}.",
        where=where,
        fix="Call it 'image', or name it with --image-column.",
    )


def require_no_truth(name: str, cells: Iterable[str | None], what: str, where: str) -> None:
    """Refuse a column of 0 and 1 that is taken for something else by its name.

    Args:
        name: Its header.
        cells: Its texts; None for an empty one.
        what: What columns of this name hold.
        where: The file, for messages.

    Raises:
        DataError: All its cells are 0 or 1, or empty.
    """
    distinct = set(cells) - {None, ""}
    if distinct and distinct <= {"0", "1", "0.0", "1.0", "True", "False"}:
        raise DataError(
            f"The column {name!r} holds only 0 and 1, but a column of this name is read as {what}.",
            where=f"{where}, column {name!r}",
            fix=f"If it is a label, give it another name, such as 'has {name}'. Otherwise leave it "
            f"out: --option 'ignored_columns=[\"{name}\"]'.",
        )


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


def note_of_ignored(header: Sequence[str], used: Container[int]) -> list[str]:
    """A note that names the columns that are not used."""
    ignored = [repr(name) for i, name in enumerate(header) if i not in used and name]
    return [f"Ignored columns: {', '.join(ignored)}"] if ignored else []


def listed(names: Sequence[str]) -> str:
    """The first few names, quoted, for messages."""
    return ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")


def path_key(path: str) -> str:
    """A path with forward slashes, also if it was written on Windows."""
    plain = "\\" not in path and "//" not in path and "./" not in path
    if plain and path and path[0] != "." and path[-1] not in "/.":
        return path
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def split_or_none(cell: str | None, where: Callable[[], str]) -> Split | None:
    """The split that a cell names; None if the cell is empty.

    Raises:
        DataError: The cell is not the name of a split.
    """
    if not cell or is_missing_word(cell):
        return None
    split = split_of(cell)
    if split is None:
        raise DataError(
            f"{cell!r} is not a split.",
            where=where(),
            fix="Write train, val or test, or leave the cell empty. Another column of splits is "
            "named with --split-column.",
        )
    return split


@final
@dataclass(frozen=True)
class TableRows:
    """The rows of a table, of which several may be about one image.

    Args:
        keys: The key of each of N rows.
        targets: int8 [N, C]: the targets of each row.
        single: bool [N], whether a row names one label, so that another row can add a label to its
            image; None if no row does.
        record_of: Gives the record of a row from its position.
        where: Names two rows in messages, from their positions.
    """

    keys: Sequence[str]
    targets: NDArray[np.int8]
    single: NDArray[np.bool_] | None
    record_of: Callable[[int], Record]
    where: Callable[[int, int], str]


def merge_rows(rows: TableRows) -> tuple[Iterator[Record], list[str]]:
    """The records of a table, one for each key, and notes on rows that were merged.

    Rows that say the same are merged. Rows that name one label each are joined: the image has all
    these labels.

    Raises:
        DataError: Two rows with one key differ in something else.
    """
    later = _later_rows(rows.keys)
    added = sum(_join(rows, first, row) for row, first in later.items())
    same = len(later) - added
    notes = [f"Rows that repeat another row, merged with it: {same:,}"] if same else []
    if added:
        notes.append(
            f"Rows that add a label to an image of an earlier row, joined with it: {added:,}"
        )
    return (rows.record_of(i) for i in range(len(rows.keys)) if i not in later), notes


def _later_rows(keys: Sequence[str]) -> dict[int, int]:
    """The rows whose key is that of an earlier row, with the first row of this key."""
    if len(set(keys)) == len(keys):
        return {}
    first: dict[str, int] = {}
    found = ((row, first.setdefault(key, row)) for row, key in enumerate(keys))
    return {row: one for row, one in found if one != row}


def _join(rows: TableRows, first: int, row: int) -> bool:
    """Whether a row adds a label to the targets of the first row of its image.

    Raises:
        DataError: The rows differ in something that cannot be joined.
    """
    one, other = rows.record_of(first), rows.record_of(row)
    parts = {"split": "splits", "group": "groups", "mask": "masks", "boxes": "boxes"}
    joinable = rows.single is not None and bool(rows.single[first] and rows.single[row])
    equal = np.array_equal(one.targets, other.targets)
    if not (equal or joinable):
        raise _differ(rows, first, row, "labels", _JOIN_FIX)
    for name, shown in (parts | {"image": "paths"}).items():
        if getattr(one, name) != getattr(other, name):
            raise _differ(rows, first, row, shown, "Write the same in both rows, or remove one.")
    if equal or (rows.targets[first] >= rows.targets[row]).all():
        return False
    rows.targets[first] = np.maximum(rows.targets[first], rows.targets[row])
    return True


_JOIN_FIX: Final = (
    "If each row adds labels, write one row for the image, with all of its labels. If the rows "
    "contradict each other, correct them."
)


def _differ(rows: TableRows, first: int, row: int, what: str, fix: str) -> DataError:
    return DataError(
        f"The image {rows.keys[row]!r} is in two rows with different {what}.",
        where=rows.where(first, row),
        fix=fix,
    )
