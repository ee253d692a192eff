"""Finds the image files that a file of labels names, where names and folders fit loosely."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, final
from urllib.parse import unquote, urlsplit

from manylabel.data.formats.lists import FIRST_IMAGES
from manylabel.errors import DataError
from manylabel.images import has_image_ending

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/+[^/\\]")
"""How an address of the web begins. A drive of Windows has one letter."""


@final
@dataclass(frozen=True)
class Found:
    """Where N images are.

    Args:
        folder: The folder that holds them.
        names: The path of each image within that folder. It may not exist.
        notes: How names were matched with files, if not as they are given.
    """

    folder: Path
    names: Sequence[str]
    notes: tuple[str, ...] = ()


def is_address(name: str) -> bool:
    """Whether the name of an image is an address of the web.

    Example:
        >>> is_address("https://example.org/a.jpg"), is_address("C:/a.jpg"), is_address("b/a.jpg")
        (True, False, False)
    """
    return _ADDRESS.match(name) is not None


def key_of(name: str) -> str:
    r"""The name of an image as a key: with forward slashes; an address as its host and path.

    Example:
        >>> key_of("./b\\a.jpg"), key_of("https://example.org/b/a.jpg?w=9")
        ('b/a.jpg', 'example.org/b/a.jpg')
    """
    if is_address(name):
        try:
            address = urlsplit(name)
        except ValueError:  # the host is not valid
            return name
        return f"{address.netloc}{unquote(address.path)}"
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def find_images(folders: Sequence[Path], names: Sequence[str], file: Path) -> Found:
    """The folder that has most of the first images, and their paths in it.

    Names are taken as they are. If no image is found so, they are taken without their folders (or
    without the host and the query, if they are addresses of the web); and then, if they have no
    ending, with the ending that the files have.

    Args:
        folders: Folders that may hold the images. The earlier one is taken if two have as many.
        names: The paths of the images, as the file gives them.
        file: The file that names them, for messages.

    Raises:
        DataError: No image is found.
    """
    for found in _ways(folders, names):
        if found is not None:
            return found
    raise _not_found(folders, names, file)


def _ways(folders: Sequence[Path], names: Sequence[str]) -> Iterator[Found | None]:
    """The images by each way to match names with files; None if a way finds no image."""
    yield _in_one(folders, names)
    bare = [PurePosixPath(key_of(name)).name for name in names]
    if len(set(bare)) == len(set(names)):  # otherwise two images would be one file
        note = "Images are found by their file names, without the folders that the labels give"
        yield _in_one(folders, bare, note)
    if not any(map(has_image_ending, bare)):
        yield _by_stem(folders, bare)


def _in_one(folders: Sequence[Path], names: Sequence[str], *notes: str) -> Found | None:
    first = names[:FIRST_IMAGES]
    hits = [sum(os.path.isfile(folder / name) for name in first) for folder in folders]
    if not any(hits):
        return None
    return Found(folders[hits.index(max(hits))], names, notes)


def _by_stem(folders: Sequence[Path], names: Sequence[str]) -> Found | None:
    """The images by their names without endings, where one file has that name."""
    for folder in dict.fromkeys(folders):
        if not folder.is_dir():
            continue
        files = [file.name for file in folder.iterdir() if has_image_ending(file)]
        alike = Counter(PurePosixPath(name).stem for name in files)
        known = {stem: name for name in files if alike[stem := PurePosixPath(name).stem] == 1}
        if any(name in known for name in names[:FIRST_IMAGES]):
            note = "Images are found by their names, to which the endings of the files are added"
            return Found(folder, [known.get(name, name) for name in names], (note,))
    return None


def _not_found(folders: Sequence[Path], names: Sequence[str], file: Path) -> DataError:
    tried = ", ".join(dict.fromkeys(map(str, folders)))
    fix = f"Give their folder with --images. Tried: {tried}."
    if is_address(names[0]):
        fix = (
            "The images are named by addresses of the web, which manylabel does not open. Download "
            f"them into one folder, and give that folder with --images. Tried: {tried}."
        )
    return DataError(
        f"None of the first {len(names[:FIRST_IMAGES])} images was found; the first is "
        f"{names[0]!r}.",
        where=str(file),
        fix=fix,
    )
