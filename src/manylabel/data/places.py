"""The places of the images of a data set. Two strings for a file need less memory than a `Path`."""

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
    """The places of N images. A file becomes a `Path` when it is asked for.

    Args:
        folders: The first part of the path of each file. Files of one folder share one string.
            It is empty for an image that is not a file of its own.
        names: The rest of the path of each file, which is usually the key of the record; or the
            place of an image that is not a file of its own.
    """

    folders: tuple[str, ...]
    names: tuple[str | Stored | Crop, ...]

    @classmethod
    def below(cls, folder: Path, keys: tuple[str, ...]) -> Places:
        """Files in one folder: the path of each is `folder / key`."""
        base = os.path.join(folder, "")
        return cls(tuple("" if os.path.isabs(key) else base for key in keys), keys)

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Places:
        """The places of all parts, one part after another."""
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
        """The places at some positions, in the order of the positions."""
        return Places(
            tuple(self.folders[i] for i in positions), tuple(self.names[i] for i in positions)
        )


def divide(place: Place, key: str) -> tuple[str, str | Stored | Crop]:
    """The two parts that `Places` keeps of a place: the first part of a path, and its rest.

    For an image that is not a file of its own, the second part is the place itself.

    Args:
        place: The place of the image.
        key: The key of the record. If the path ends with it, this string is kept as the rest.
    """
    if not isinstance(place, Path):
        return "", place
    path = str(place)
    if path.endswith(key):
        return path[: len(path) - len(key)], key
    name = os.path.basename(path)
    return path[: len(path) - len(name)], name
