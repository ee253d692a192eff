"""Functions for readers of text lists: lists of images, tables of numbers, folders of images."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Record, Split
from manylabel.errors import DataError
from manylabel.files import read_bytes, read_lines
from manylabel.labels import LabelSpace

FIRST_IMAGES: Final = 20
"""The number of images that are searched in each folder."""


def choose_folder(folders: Sequence[Path], keys: Sequence[str], file: Path) -> Path:
    """The folder that has most of the first images; the earlier one if two have equally many.

    Args:
        folders: Folders that may hold the images.
        keys: The paths of the images within that folder.
        file: The file that lists them, for messages.

    Raises:
        DataError: No folder has any of them.
    """
    first = keys[:FIRST_IMAGES]
    hits = [sum(os.path.isfile(folder / key) for key in first) for folder in folders]
    if not any(hits):
        tried = ", ".join(dict.fromkeys(map(str, folders)))
        raise DataError(
            f"None of the first {len(first)} images was found; the first is {first[0]!r}.",
            where=str(file),
            fix=f"Give their folder with --images. Tried: {tried}.",
        )
    return folders[hits.index(max(hits))]


@final
@dataclass(frozen=True)
class Listing:
    """The N images that a text file lists.

    Args:
        file: The text file.
        lines: The line number of each image, from 1.
        keys: The path of each image as the text file gives it.
        images: The file of each image.
        splits: The split of each image.
        targets: int8 [N, C]: 1 present, 0 absent, -1 unknown.
    """

    file: Path
    lines: Sequence[int]
    keys: Sequence[str]
    images: Sequence[Path]
    splits: Sequence[Split | None]
    targets: NDArray[np.int8]

    def at(self, i: int) -> str:
        """The file and line of image `i`, for messages."""
        return f"{self.file}, line {self.lines[i]}"


def join(
    listings: Sequence[Listing], group: Callable[[str], str | None] = lambda key: None
) -> Iterator[Record]:
    """The records of all listings; a line that only repeats an earlier one gives none.

    Args:
        listings: Listings with the same labels.
        group: Gives the group of a record from its key.

    Raises:
        DataError: An image is listed twice, in two splits or with different labels.
    """
    first: dict[str, tuple[Listing, int]] = {}
    for listing in listings:
        for i, (key, image, split, targets) in enumerate(
            zip(listing.keys, listing.images, listing.splits, listing.targets, strict=True)
        ):
            if key in first:
                _require_repeat(first[key], (listing, i))
                continue
            first[key] = (listing, i)
            yield Record(key, image, targets, split, group=group(key))


def count_lines(listings: Iterable[Listing]) -> int:
    """How many lines name an image."""
    return sum(len(listing.keys) for listing in listings)


def _require_repeat(earlier: tuple[Listing, int], later: tuple[Listing, int]) -> None:
    (one, i), (two, j) = earlier, later
    if one.splits[i] != two.splits[j]:
        what = f"is in two splits, {one.splits[i]} and {two.splits[j]}"
    elif not np.array_equal(one.targets[i], two.targets[j]):
        what = "is listed twice, with different labels"
    else:
        return
    raise DataError(
        f"The image {one.keys[i]!r} {what}.",
        where=f"{one.at(i)} and {two.at(j)}",
        fix="Remove it and its labels from one of them.",
    )


def require_distinct(places: Iterable[tuple[str, object]]) -> None:
    """No image stands twice.

    Args:
        places: The key of each image, and the file, line or row that it stands in.

    Raises:
        DataError: One does.
    """
    first: dict[str, object] = {}
    for key, place in places:
        if key in first:
            raise DataError(
                f"The image {key!r} is there twice.",
                where=f"{first[key]} and {place}",
                fix="Remove one of them: a result on images that were trained on means nothing. "
                "Different images need different names.",
            )
        first[key] = place


def require_same_labels(files: Sequence[tuple[Path, LabelSpace]]) -> None:
    """All files have the same labels in the same order.

    Raises:
        DataError: They do not.
    """
    for file, labels in files[1:]:
        if labels != files[0][1]:
            raise DataError(
                "The files have different labels.",
                where=f"{files[0][0]} and {file}",
                fix="Give every file the same list of labels, in the same order.",
            )


def as_key(path: str) -> str:
    """A path from a list as a key: with forward slashes, and no slash at its beginning."""
    return PurePosixPath(path.replace("\\", "/").lstrip("/")).as_posix()


def name_labels(count: int, file: Path | None, *, start: int) -> LabelSpace:
    """The labels named in a text file, one on each line; without a file, numbers from `start`.

    Raises:
        DataError: The file cannot be read, or does not have `count` names.
    """
    if file is None:
        return LabelSpace(map(str, range(start, start + count)))
    names = [name for _, name in read_lines(file)]
    if len(names) != count:
        raise DataError(
            f"The file names {len(names)} labels, but the data set has {count}.",
            where=str(file),
            fix="Give one name on each line, in the order of the data set's labels.",
        )
    return LabelSpace(names, where=str(file))


def read_integers(file: Path) -> NDArray[np.int8]:
    """The numbers 0, 1 and -1 of a text file, int8 [N, C]: one row on each line, with spaces.

    Empty lines are ignored. All bytes are processed at once with NumPy, so a file of 160,000 rows
    with 81 numbers takes a fraction of a second.

    Raises:
        DataError: The file cannot be read, is empty or holds something else, or its rows differ in
            length.
    """
    data = read_bytes(file).removeprefix(codecs.BOM_UTF8)
    text = np.frombuffer(data, dtype=np.uint8)
    blank = np.isin(text, np.frombuffer(b" \t\r\n", dtype=np.uint8))
    one = text == ord("1")
    digit = one | (text == ord("0"))
    minus = text == ord("-")
    starts, ends = np.append(True, blank[:-1]), np.append(blank[1:], True)
    signed, before_one = np.append(False, minus[:-1]), np.append(one[1:], False)
    fine = blank | (digit & ends & (starts | signed)) | (minus & starts & before_one)
    if not fine.all():
        raise _no_integer(file, data, int(np.argmin(fine)))
    if not digit.any():
        raise DataError("The file is empty.", where=str(file), fix="Download it again.")
    newlines = np.flatnonzero(text == ord("\n")) + 1
    lengths = np.add.reduceat(digit, np.append(0, newlines[newlines < text.size]), dtype=np.int64)
    width = int(lengths[lengths > 0][0])
    uneven = np.flatnonzero((lengths != width) & (lengths > 0))
    if uneven.size:
        raise DataError(
            f"The line has {lengths[uneven[0]]} numbers, but the first line has {width}.",
            where=f"{file}, line {uneven[0] + 1}",
            fix="Download the file again; it may be incomplete.",
        )
    values = (text[digit] == ord("1")).astype(np.int8)
    values[signed[digit]] = -1
    return values.reshape(-1, width)


def _no_integer(file: Path, data: bytes, at: int) -> DataError:
    """The error about the word at the byte `at`, which is not 0, 1 or -1."""
    line_start = data.rfind(b"\n", 0, at) + 1
    words = re.finditer(rb"[^ \t\r\n]+", data[line_start:])
    word = next(word[0] for word in words if word.end() > at - line_start)
    number = data.count(b"\n", 0, at) + 1
    return DataError(
        f"The file holds {shorten(word.decode(errors='replace'))}, not 0, 1 or -1.",
        where=f"{file}, line {number}",
        fix="Download the file again: each line must be of 0, 1 and -1, separated by spaces.",
    )


def require_equal_counts(counts: dict[Path, int]) -> None:
    """Checks that files about the same images have the same number of images.

    Args:
        counts: The number of images of each file.

    Raises:
        DataError: The numbers differ.
    """
    if len(set(counts.values())) > 1:
        raise DataError(
            f"The files do not agree: they have {' and '.join(f'{n:,}' for n in counts.values())} "
            "images.",
            where=" and ".join(map(str, counts)),
            fix="Download them again: one is incomplete, or they do not belong together.",
        )


def shorten(value: object) -> str:
    """The `repr` of a value, shortened for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def note(what: str, count: int) -> list[str]:
    """A note with the count of `what`; no note if the count is 0."""
    return [f"{what}: {count:,}"] if count else []
