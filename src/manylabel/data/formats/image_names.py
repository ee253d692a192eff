"""From the names of images in a table to their files.

Names may have no ending, other letters in upper case than the file, or accents in another form of
Unicode. Where exactly one file fits, it is taken, and a note says so.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

import numpy as np

from manylabel.data.formats.lists import FIRST_IMAGES, shorten
from manylabel.data.formats.tabular import path_key
from manylabel.errors import DataError
from manylabel.images import has_image_ending

_ADDRESS: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*:/{1,2}|data:image/|www\.)", re.IGNORECASE)
"""How an address begins; not a drive of Windows, which is one letter and a backslash or slash."""


@final
@dataclass(frozen=True)
class ImageNames:
    """The images of a table.

    Args:
        names: The name of the image of each row, with forward slashes.
        files: The names of the files, relative as `names` are, where they differ.
        notes: What was matched, and what looks wrong.
    """

    names: list[str]
    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def file(self, row: int) -> str:
        """The name of the file of a row's image."""
        name = self.names[row]
        return self.files.get(name, name)


def image_names(cells: Sequence[str | None], root: Path, at: Callable[[int], str]) -> ImageNames:
    """The names of the images of all rows, and the files that fit them.

    Files are looked for in their folders only if some of the first images do not exist as named.

    Args:
        cells: The cell of each row.
        root: The folder that names are relative to.
        at: The place of a row's cell, for messages.

    Raises:
        DataError: A row has no image, or an address of the web in place of one.
    """
    names: list[str] = []
    for row, cell in enumerate(cells):
        if cell is None or not cell.strip():
            raise DataError(
                "The row has no image.",
                where=at(row),
                fix="Add the path of the image or remove the row.",
            )
        if ":" in cell or cell.startswith("www."):
            _require_no_address(cell, at(row))
        names.append(path_key(cell))
    files, notes = _find_files(names, root)
    return ImageNames(names, files, [*notes, *_look_alike(names)])


def _require_no_address(cell: str, where: str) -> None:
    found = _ADDRESS.match(cell.strip())
    if found is None or re.match(r"[A-Za-z]:[\\/]", cell.strip()):
        return
    raise DataError(
        f"The image is an address of the web: {shorten(cell)}.",
        where=where,
        fix="Download the images first, for instance with wget or curl, and write the paths of the "
        "files into the column: manylabel opens no addresses.",
    )


def _find_files(names: Sequence[str], root: Path) -> tuple[dict[str, str], list[str]]:
    """The files of images whose names are not those of files, and notes."""
    step = max(1, len(names) // FIRST_IMAGES)
    tried = names[::step][:FIRST_IMAGES]
    if all(os.path.isfile(root / name) for name in tried):
        return {}, []
    folders: dict[str, _Folder] = {}
    files: dict[str, str] = {}
    endings, spelling, several = [], [], []
    for name in dict.fromkeys(names):
        parent, last = os.path.split(name)
        folder = folders.get(parent)
        if folder is None:
            folder = folders.setdefault(parent, _Folder.of(root / parent))
        if not folder.files or last in folder.files:
            continue
        for found, kind in ((folder.spelled(last), spelling), (folder.ended(last), endings)):
            if len(found) == 1:
                files[name] = f"{parent}/{found[0]}" if parent else found[0]
                kind.append(name)
                break
            if found:
                several.append(name)
                break
    return files, [
        *_note("Names without an ending, taken for the only image that fits", endings, files),
        *_note("Names that are spelled otherwise than their files", spelling, files),
        *_note("Names that fit several files, not matched", several, {}),
    ]


def _note(what: str, names: Sequence[str], files: dict[str, str]) -> list[str]:
    if not names:
        return []
    example = repr(names[0]) + (f" is {files[names[0]]!r}" if names[0] in files else "")
    return [f"{what}: {len(names):,}, for example {example}"]


@dataclass(frozen=True)
class _Folder:
    """The files of a folder, by their names and by looser forms of these."""

    files: frozenset[str] = frozenset()
    by_spelling: dict[str, list[str]] = field(default_factory=dict)
    by_stem: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> _Folder:
        try:
            with os.scandir(path) as entries:
                files = [entry.name for entry in entries if has_image_ending(entry.name)]
        except (OSError, ValueError):
            return cls()
        folder = cls(frozenset(files))
        for file in sorted(files):
            folder.by_spelling.setdefault(_loose(file), []).append(file)
            folder.by_stem.setdefault(_loose(os.path.splitext(file)[0]), []).append(file)
        return folder

    def spelled(self, name: str) -> list[str]:
        """The files with this name in another case or another form of Unicode."""
        return self.by_spelling.get(_loose(name), [])

    def ended(self, name: str) -> list[str]:
        """The files with this name and an ending, if the name has none of an image."""
        return [] if has_image_ending(name) else self.by_stem.get(_loose(name), [])


def _loose(name: str) -> str:
    """The name in one form of Unicode and in lower case."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _look_alike(names: Sequence[str]) -> list[str]:
    """A note on names of different images that differ only in case or in their form of Unicode."""
    distinct = list(dict.fromkeys(names))
    hashes = np.fromiter((hash(_loose(name)) for name in distinct), np.int64, len(distinct))
    _, first, back = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = np.flatnonzero(first[back] != np.arange(len(distinct)))
    if not pairs.size:
        return []
    one, other = distinct[first[back[pairs[0]]]], distinct[pairs[0]]
    return [
        "Names of images that differ only in case or in the form of their accents, read as "
        f"different images: {pairs.size:,}, for example {one!r} and {other!r}"
    ]
