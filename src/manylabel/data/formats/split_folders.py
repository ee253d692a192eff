"""Data sets in which each split has a folder of its own, with a file of labels and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from manylabel.data.records import SPLITS, Split, split_of


@final
@dataclass(frozen=True)
class SplitFile:
    """One file of labels.

    Args:
        file: The file.
        split: The split that its folder names; None: it is not in such a folder.
        below: The name of that folder, else empty. Keys begin with it.
    """

    file: Path
    split: Split | None = None
    below: str = ""


def split_files(path: Path, name: str, fits: Callable[[Path], bool]) -> list[SplitFile]:
    """The files of labels at or below a path, in the order train, val, test.

    Args:
        path: One such file; a folder that holds one; or a folder with folders for splits.
        name: The name of these files in a folder.
        fits: Whether a file is of this kind.
    """
    if not path.is_dir():
        return [SplitFile(path)] if fits(path) else []
    if fits(path / name):
        return [SplitFile(path / name)]
    found = [
        SplitFile(folder / name, split_of(folder.name), folder.name)
        for folder in sorted(path.iterdir())
        if split_of(folder.name) and fits(folder / name)
    ]
    return sorted(found, key=lambda each: SPLITS.index(each.split or "test"))


def describe_splits(parts: Sequence[SplitFile]) -> list[str]:
    """A note that says which folder is which split; none if there is a single file."""
    named = [f"{part.split} from {part.below}/" for part in parts if part.split]
    return [f"Splits: {', '.join(named)}"] if named else []
