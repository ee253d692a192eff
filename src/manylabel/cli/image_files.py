"""The image files that arguments of the command line name: files, folders and patterns."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

import click

from manylabel.errors import DataError
from manylabel.text import counted, visible

_NAMED: Final = 3
"""So many names are part of a message."""

_NO_ENDING: Final = "without an ending"


@final
@dataclass
class ImageFiles:
    """The images that arguments name, and what was found beside them.

    Args:
        images: The images, each once, in the order of the arguments.
        nothing: An error for each argument that names no image: a folder or a pattern.
        passed: The files that were passed over, each with its ending.
        folders: The folders that were not entered, each with the reason.
        by_content: The images that are images by their content, and not by their ending.
    """

    images: list[Path] = field(default_factory=list)
    nothing: list[DataError] = field(default_factory=list)
    passed: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    by_content: dict[str, None] = field(default_factory=dict)

    def require_all(self) -> None:
        """Refuse arguments of which one names no image.

        Raises:
            DataError: There is no image in a folder or for a pattern.
        """
        if self.nothing:
            raise self.nothing[0]

    def require_any(self) -> None:
        """Refuse arguments of which none names an image.

        Raises:
            DataError: There is no image at all. What was passed over is part of the error.
        """
        if not self.images and self.nothing:
            first, *others = self.nothing
            details = [f"{error.what} ({error.where})" for error in others]
            raise DataError(
                first.what,
                where=first.where,
                fix=first.fix,
                details=[*details, *self._notes()],
            )

    def tell(self) -> None:
        """Say on stderr what was passed over, and which arguments name no image."""
        for error in self.nothing:
            click.echo(visible(f"Skipped {error.where}: {error.what} {error.fix}"), err=True)
        for line in self._notes():
            click.echo(visible(line), err=True)

    def _notes(self) -> list[str]:
        notes = []
        if count := len(self.passed):
            kinds = Counter(self.passed.values()).items()
            kinds = sorted(kinds, key=lambda kind: (-kind[1], kind[0]))
            listed = ", ".join(f"{number:,} {kind}" for kind, number in kinds)
            notes.append(f"{counted(count, 'file')} {_were(count)} passed over: {listed}.")
        if count := len(self.folders):
            were = f"{counted(count, 'folder')} {_were(count)} passed over"
            notes.append(
                f"{were}: {_some([f'{name} ({why})' for name, why in self.folders.items()])}."
            )
        if count := len(self.by_content):
            notes.append(
                f"{counted(count, 'file')} {_were(count)} taken by the content, not by the ending: "
                f"{_some(list(self.by_content))}."
            )
        return notes


def find_images(paths: Iterable[str]) -> ImageFiles:
    """The images that the arguments name.

    A file that is named is used whatever its ending. In folders and for patterns, a file is used if
    it is not hidden, and has an ending in `images.ENDINGS` or begins like an image. Links to
    folders are not followed, because they may lead in circles.

    Raises:
        DataError: A folder cannot be read.
    """
    found = ImageFiles()
    for path in paths:
        images, fault = _found(path, found)
        found.images += images
        if fault and not images:
            found.nothing.append(_nothing(path, fault))
    found.images = list(dict.fromkeys(found.images))
    return found


def _found(path: str, found: ImageFiles) -> tuple[list[Path], str]:
    """The images of an argument, and what is wrong if there is none."""
    if os.path.isdir(path):
        return _below(path, found), "There is no image in the folder."
    if os.path.exists(path) or not glob.has_magic(path):
        return [Path(path)], ""  # a missing image is reported like a bad one
    images: list[Path] = []
    for match in sorted(glob.glob(path, recursive=True)):
        images += _below(match, found) if os.path.isdir(match) else _taken(Path(match), found)
    return images, "No image matches the pattern."


def _below(folder: str, found: ImageFiles) -> list[Path]:
    """The images in `folder` and its subfolders, sorted."""

    def refuse(error: OSError) -> None:
        raise DataError(
            f"The folder cannot be read: {error.strerror or error}.",
            where=str(error.filename),
            fix="Check its permissions, or name other folders.",
        )

    images: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        found.folders |= {
            os.path.join(parent, name): why
            for name in sorted(folders)
            if (why := _not_entered(parent, name))
        }
        folders[:] = [name for name in folders if not _not_entered(parent, name)]
        for name in sorted(names):
            images += _taken(Path(parent, name), found)
    return sorted(images)


def _not_entered(parent: str, name: str) -> str:
    """Why a folder is not entered; empty if it is."""
    if name.startswith("."):
        return "hidden"
    return "a link" if os.path.islink(os.path.join(parent, name)) else ""


def _taken(path: Path, found: ImageFiles) -> list[Path]:
    """The path if it is one of an image. If not, it is counted."""
    from manylabel.images import has_image_ending

    if path.name.startswith("."):
        found.passed[str(path)] = "hidden"
    elif has_image_ending(path):
        return [path]
    elif _begins_like_image(path):
        found.by_content[str(path)] = None
        return [path]
    else:
        found.passed[str(path)] = path.suffix.lower() or _NO_ENDING
    return []


def _begins_like_image(path: Path) -> bool:
    from manylabel.files import open_regular
    from manylabel.images import HEAD_BYTES, begins_like_image

    try:
        with open_regular(path) as file:
            return begins_like_image(path, file.read(HEAD_BYTES))
    except OSError:  # it is counted as passed over
        return False


def _nothing(path: str, fault: str) -> DataError:
    from manylabel.images import ENDINGS

    fix = f"Give images, such as files that end in {', '.join(ENDINGS)}."
    if other := _other_case(path):
        fix = f"Upper and lower case count in a pattern. There is {other}, for instance."
    return DataError(fault, where=path, fix=fix)


def _other_case(pattern: str) -> str:
    """A file that would match if upper and lower case were the same; empty if there is none."""
    if os.path.exists(pattern) or "[" in pattern:
        return ""
    either = re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", pattern.lower())
    return min(glob.iglob(either, recursive=True), default="")


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
