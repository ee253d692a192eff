"""Where the images of a data set lie, kept small: a file is two texts, not a `Path` each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import final

from manylabel.images import Crop, Place, Stored


@final
@dataclass(frozen=True, slots=True)
class Places:
    """The places of N images; a file becomes a `Path` when it is asked for.

    Args:
        folders: What each file's path begins with, up to its name; the same text object for all
            files of one folder. Empty for an image that is no file of its own.
        names: The rest of each file's path, which most often is the record's key itself; or the
            place of an image that is no file of its own.
    """

    folders: tuple[str, ...]
    names: tuple[str | Stored | Crop, ...]

    @classmethod
    def below(cls, folder: Path, keys: tuple[str, ...]) -> Places:
        """Files in one folder, each by its key: `folder / key`."""
        base = os.path.join(folder, "")
        return cls(tuple("" if os.path.isabs(key) else base for key in keys), keys)

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Places:
        """The places of all parts, one part after the other."""
        return cls(
            tuple(chain.from_iterable(part.folders for part in parts)),
            tuple(chain.from_iterable(part.names for part in parts)),
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> Place:
        """The place of one image."""
        name = self.names[position]
        return Path(self.folders[position] + name) if isinstance(name, str) else name

    def __iter__(self) -> Iterator[Place]:
        return (self[position] for position in range(len(self)))

    def select(self, positions: Sequence[int]) -> Places:
        """The places at some positions, in their order."""
        return Places(
            tuple(self.folders[i] for i in positions), tuple(self.names[i] for i in positions)
        )


def divide(place: Place, key: str) -> tuple[str, str | Stored | Crop]:
    """What `Places` keeps of one place: folder and name of a file, the place itself of others.

    Args:
        place: Where the image lies.
        key: The record's key; its text is used again where the path ends with it.
    """
    if not isinstance(place, Path):
        return "", place
    path = str(place)
    if path.endswith(key):
        return path[: len(path) - len(key)], key
    name = os.path.basename(path)
    return path[: len(path) - len(name)], name
