"""Finds images and masks whose files are not in the folders that the user named.

Somebody else may have made a data set. A path in it may be absolute or go up by `..`, and a file in
its folder may be a link. So a data set can name any file of the computer that reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from manylabel.data.readers.huggingface import ArrowImage
from manylabel.data.records import Records
from manylabel.images import Crop, FilePart, Place


def files_outside(records: Records) -> list[Path]:
    """The files of images and masks that are outside of `records.folders`, each once.

    Links are followed. Nothing is outside if the records do not know their folders.
    """
    homes = tuple(os.path.join(os.path.realpath(folder), "") for folder in records.folders)
    if not homes:
        return []
    real_folder = cache(lambda folder: os.path.realpath(folder))
    files = dict.fromkeys(_files(records))
    return [Path(file) for file in files if not _real(file, real_folder).startswith(homes)]


def note_of_outside(files: list[Path]) -> str:
    """A note that counts files outside, with one example."""
    return f"Files outside the folder of the data set: {len(files):,}, for example {files[0]}"


def _files(records: Records) -> Iterator[str]:
    """The files of all images and masks. Strings take a third of the time of paths."""
    places = records.images
    for folder, name in zip(places.folders, places.names, strict=True):
        file = name if isinstance(name, str) else _container(name)
        if file is not None:
            yield f"{folder}{file}"
    yield from (str(mask) for mask in records.masks or () if mask is not None)


def _container(place: Place) -> Path | None:
    """The file that contains an image; None if it is not known."""
    if isinstance(place, Crop):
        return _container(place.image)
    if isinstance(place, FilePart):
        return place.path
    if isinstance(place, ArrowImage):
        return place.file
    return place if isinstance(place, Path) else None


def _real(file: str, real_folder: Callable[[str], str]) -> str:
    """The path of a file without links. Each folder is looked up once."""
    folder, name = os.path.split(file)
    path = os.path.join(real_folder(folder), name)
    return os.path.realpath(path) if name == ".." or os.path.islink(path) else path
