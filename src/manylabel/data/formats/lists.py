"""What readers of lists share: images a line, numbers a line, and where the images lie."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Record, Split
from manylabel.errors import DataError
from manylabel.files import read_bytes, read_lines
from manylabel.labels import LabelSpace

FIRST_IMAGES = 20
"""Images that are looked for in each folder that could be the images'."""


def choose_folder(places: Sequence[Path], keys: Sequence[str], file: Path) -> Path:
    """The folder of `places` that has the most of the first images, the earlier one of two.

    Args:
        places: Folders that the images may lie in.
        keys: The images' paths within that folder.
        file: What lists them, for messages.

    Raises:
        DataError: None of the folders has any.
    """
    first = keys[:FIRST_IMAGES]
    hits = [sum(os.path.isfile(place / key) for key in first) for place in places]
    if not any(hits):
        tried = ", ".join(dict.fromkeys(map(str, places)))
        raise DataError(
            f"None of the first {len(first)} images is found, {first[0]!r} among them.",
            where=str(file),
            fix=f"Say with `images` which folder they lie in. Looked in: {tried}.",
        )
    return places[hits.index(max(hits))]


@final
@dataclass(frozen=True)
class Listing:
    """The images that a text file lists.

    Args:
        file: The file.
        lines: Each image's line in it, from 1.
        keys: Each image's path as the file gives it.
        images: Each image's file.
        splits: Each image's split.
        targets: int8 [N, C]: 1 present, 0 absent, -1 unknown.
    """

    file: Path
    lines: Sequence[int]
    keys: Sequence[str]
    images: Sequence[Path]
    splits: Sequence[Split | None]
    targets: NDArray[np.int8]

    def at(self, i: int) -> str:
        """Where the image stands, for messages."""
        return f"{self.file}, line {self.lines[i]}"


def join(
    listings: Sequence[Listing], group: Callable[[str], str | None] = lambda key: None
) -> Iterator[Record]:
    """The records of all listings; a line that only repeats an earlier one gives none.

    Args:
        listings: Of equal labels.
        group: What a record belongs to, by its key.

    Raises:
        DataError: An image is listed twice, in two splits or with other labels.
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
        fix="Remove it from one, with its labels.",
    )


def as_key(path: str) -> str:
    """A path of a list as a key: slashes of either kind, none at its beginning."""
    return PurePosixPath(path.replace("\\", "/").lstrip("/")).as_posix()


def name_labels(count: int, file: Path | None, *, start: int) -> LabelSpace:
    """The labels by the names in a text file, a line each; without one, numbers from `start`.

    Raises:
        DataError: The file cannot be read, or names another number of labels than `count`.
    """
    if file is None:
        return LabelSpace(map(str, range(start, start + count)))
    names = [name for _, name in read_lines(file)]
    if len(names) != count:
        raise DataError(
            f"The file names {len(names)} labels, and the data set has {count}.",
            where=str(file),
            fix="Give a name a line, in the order of the data set's labels.",
        )
    return LabelSpace(names, where=str(file))


def read_integers(file: Path) -> NDArray[np.int8]:
    """The numbers 0, 1 and -1 of a text file, int8 [N, C]: blanks between them, a row a line.

    Empty lines are passed over. The bytes are looked at all at once: a file of 160,000 rows of 81
    takes a fraction of a second.

    Raises:
        DataError: It cannot be read, holds nothing or something else, or its rows differ in length.
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
        raise DataError("The file is empty.", where=str(file), fix="Fetch it again.")
    newlines = np.flatnonzero(text == ord("\n")) + 1
    lengths = np.add.reduceat(digit, np.append(0, newlines[newlines < text.size]), dtype=np.int64)
    width = int(lengths[lengths > 0][0])
    uneven = np.flatnonzero((lengths != width) & (lengths > 0))
    if uneven.size:
        raise DataError(
            f"The line has {lengths[uneven[0]]} numbers, and the first one {width}.",
            where=f"{file}, line {uneven[0] + 1}",
            fix="Fetch the file again; it may have been cut short.",
        )
    values = (text[digit] == ord("1")).astype(np.int8)
    values[signed[digit]] = -1
    return values.reshape(-1, width)


def _no_integer(file: Path, data: bytes, at: int) -> DataError:
    """The error that names the word at the byte `at`, which is not 0, 1 or -1."""
    line_start = data.rfind(b"\n", 0, at) + 1
    words = re.finditer(rb"[^ \t\r\n]+", data[line_start:])
    word = next(word[0] for word in words if word.end() > at - line_start)
    number = data.count(b"\n", 0, at) + 1
    return DataError(
        f"The file holds {shorten(word.decode(errors='replace'))}, not 0, 1 or -1.",
        where=f"{file}, line {number}",
        fix="Fetch the file again: each line is of 0, 1 and -1, with blanks between.",
    )


def require_equal_counts(counts: dict[Path, int]) -> None:
    """Files that speak of the same images speak of equally many.

    Raises:
        DataError: They do not.
    """
    if len(set(counts.values())) > 1:
        raise DataError(
            f"The files do not agree: they have {' and '.join(f'{n:,}' for n in counts.values())} "
            "images.",
            where=" and ".join(map(str, counts)),
            fix="Fetch them again: one is cut short, or they do not belong together.",
        )


def shorten(value: object) -> str:
    """A value as Python writes it, cut to what a message can hold."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def note(what: str, count: int) -> list[str]:
    """A note on `what`, if there is any."""
    return [f"{what}: {count:,}"] if count else []
