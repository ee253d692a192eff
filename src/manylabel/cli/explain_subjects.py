"""The images of `manylabel explain`, and the names of the files of their pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from manylabel.cli.explain_options import FROM_DATA
from manylabel.errors import DataError

if TYPE_CHECKING:
    from manylabel.data.records import Record, Records
    from manylabel.images import Place

_LONGEST_NAME: Final = 80


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """One image to explain: its place, the name to show, and its record if the truth is known."""

    name: str
    place: Place
    record: Record | None = None


def subjects_of(
    paths: Sequence[str], records: Records | None, limit: int | None
) -> tuple[list[Subject], int]:
    """The images to draw, and how many there would be without the limit.

    Args:
        paths: Images, folders and patterns; if there are none, the images of the data set.
        records: The data set; None: there is none, and the truth is not known.
        limit: The largest number of images.

    Raises:
        DataError: There is no image in a folder or for a pattern, or none in the data set.
    """
    if paths:
        found = _named_images(paths, records)
        return found[:limit], len(found)
    assert records is not None
    if not len(records):
        raise DataError(
            "The data set has no image.", where=records.source, fix="Give one that has images."
        )
    shown = range(min(len(records), limit or FROM_DATA))
    chosen = [Subject(records.keys[i], records.images[i], records[i]) for i in shown]
    return chosen, len(records)


def _named_images(paths: Sequence[str], records: Records | None) -> list[Subject]:
    from manylabel.cli.image_files import find_images

    found_files = find_images(paths)
    found_files.require_all()
    found_files.tell()
    images = found_files.images
    if records is None:
        return [Subject(_shown_path(image), image) for image in images]
    wanted = {os.path.realpath(image) for image in images}
    known: dict[str, int] = {}
    for position, place in enumerate(records.images):
        if isinstance(place, Path) and (real := os.path.realpath(place)) in wanted:
            known.setdefault(real, position)
    found = [known.get(os.path.realpath(image)) for image in images]
    return [
        Subject(_shown_path(image), image, None if at is None else records[at])
        for image, at in zip(images, found, strict=True)
    ]


def _shown_path(path: Path) -> str:
    """The path as valid text, also if its bytes are not valid UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()


def unique_names(names: Sequence[str]) -> list[str]:
    """A name of a file for each image, without its ending, each one different.

    It is the last part of the image's name. If several images would have the same, all but the
    first get a number. Names that differ in small and large letters only count as the same,
    because they are on some file systems.

    Example:
        >>> unique_names(["a/cat.jpg", "b/cat.png", "dog.jpg"])
        ['cat', 'cat-2', 'dog']
    """
    stems = [file_name(Path(name).stem) for name in names]
    taken = {stem.casefold() for stem in stems}
    seen: set[str] = set()
    unique = []
    for stem in stems:
        name, number = stem, 1
        while name.casefold() in seen or (number > 1 and name.casefold() in taken):
            number += 1
            name = f"{stem}-{number}"
        seen.add(name.casefold())
        unique.append(name)
    return unique


def file_name(text: str) -> str:
    """A text as a part of a file's name: at most 80 characters that every file system takes.

    Example:
        >>> file_name("traffic light/red?"), file_name("雪")
        ('traffic_light_red_', '雪')
    """
    kept = "".join(c if c.isalnum() or c in "-_. " else "_" for c in text).replace(" ", "_")
    while len(kept.encode()) > 2 * _LONGEST_NAME or len(kept) > _LONGEST_NAME:
        kept = kept[:-1]
    return kept.strip(".") or "image"
