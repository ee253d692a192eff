"""Finds images and masks whose files are not in the folders that the user named.

Somebody else may have made a data set. A path in it may be absolute or go up by `..`, and a file in
its folder may be a link. So a data set can name any file of the computer that reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from manylabel.data.records import Records
from manylabel.images import Crop, FilePart, Place


def files_outside(records: Records) -> list[Path]:
    """The files of images and masks that are outside of `records.folders`, each once.

    Links are followed. Nothing is outside if the records do not know their folders.
    """
    places = dict.fromkeys(map(file_of, (*records.images, *(records.masks or ()))))
    homes = tuple(os.path.join(os.path.realpath(folder), "") for folder in records.folders)
    folder_of = cache(os.path.realpath)
    return [
        file
        for file in places
        if homes and file is not None and not _real(file, folder_of).startswith(homes)
    ]


def note_of_outside(files: list[Path]) -> str:
    """A note that counts files outside, with one example."""
    return f"Files outside the folder of the data set: {len(files):,}, for example {files[0]}"


def file_of(place: Place | None) -> Path | None:
    """The file that contains an image; None if it is not known."""
    if isinstance(place, Crop):
        return file_of(place.image)
    if isinstance(place, FilePart):
        return place.path
    return place if isinstance(place, Path) else None


def _real(file: Path, folder_of: Callable[[str], str]) -> str:
    """The path of a file without links. Each folder is looked up once."""
    folder, name = os.path.split(file)
    path = os.path.join(folder_of(folder), name)
    return os.path.realpath(path) if name == ".." or os.path.islink(path) else path
