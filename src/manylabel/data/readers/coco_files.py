"""Where the files of a COCO data set are: its JSON files, their splits and their images.

annotations/instances_train2014.json     train2014/1.jpg           COCO's own layout
train/_annotations.coco.json             train/1.jpg               Roboflow's
labels.json                              data/1.jpg                FiftyOne's
result.json                              images/1.jpg              Label Studio's, and others
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from manylabel.data.records import SPLITS, Split, split_of
from manylabel.errors import DataError
from manylabel.files import open_regular

_HEAD_BYTES: Final = 1 << 16
"""A COCO file is recognised by this many bytes at its beginning."""
_LISTS: Final = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_TABLES: Final = frozenset({".csv", ".tsv", ".parquet", ".jsonl"})
"""A folder with one of these is a data set of another kind."""
_IMAGES: Final = ("images", "data", "")
"""The folders of images beside a file, in the order in which they are tried."""


@final
@dataclass(frozen=True)
class Instances:
    """One JSON file of a data set.

    Args:
        file: The file.
        split: The split that the name of the file or of its folder gives.
        below: The folder of the file within the data set, if each split has its own; else empty.
    """

    file: Path
    split: Split | None
    below: str = ""

    def image_folders(self, images: Path | None) -> list[Path]:
        """The folders that may hold the images.

        Args:
            images: The folder that the user named; None: none.
        """
        home = self.file.parent
        bases = [home / name for name in _IMAGES] if images is None else [images]
        if images is None and home.name == "annotations":
            bases += [home.parent / name for name in _IMAGES]
        names = [self.below, _subset(self.file), *([self.split] if self.split else [])]
        return [place for base in bases for place in (base, *(base / name for name in names))]


def find_coco(path: Path) -> Path | None:
    """`path`, if it is a JSON file or a folder of COCO files; else None.

    In a folder, a file is known by its name, `instances_*.json`, or by the lists at its beginning.
    """
    if not path.is_dir():
        return path if path.suffix.lower() == ".json" else None
    if _named(path):
        return path
    other = any(file.suffix.lower() in _TABLES for file in path.iterdir())
    return path if not other and (_in_split_folders(path) or _alike(path)) else None


def instances_of(path: Path) -> list[Instances]:
    """The files of a data set, in the order train, val, test, others.

    Raises:
        DataError: The folder has none, or has several of one split.
    """
    if not path.is_dir():
        return [Instances(path, split_in_name(path))]
    found = _in_split_folders(path) if not _named(path) else []
    if not found:
        files = _named(path) or _alike(path)
        found = [Instances(file, split_in_name(file)) for file in files]
        if len(found) > 1 and not any(item.split for item in found):
            raise _several(found[0].file, found[1].file)
    if not found:
        raise DataError(
            "The folder has no files of COCO instances.",
            where=str(path),
            fix="Name them instances_train.json, instances_val.json, ..., and put them into this "
            "folder or its folder 'annotations'.",
        )
    _require_one_per_split(found)
    return sorted(found, key=_rank)


def split_in_name(file: Path) -> Split | None:
    """The split that the name of a file gives: `instances_val2014.json` is val."""
    return split_of(re.sub(r"\d{4}$", "", _subset(file)))


def _subset(file: Path) -> str:
    """COCO's name of the subset and of its folder of images, for example "train2014"."""
    return file.stem.removeprefix("instances_")


def _named(path: Path) -> list[Path]:
    """The files `instances_*.json` of a folder, or else of its folder `annotations`."""
    places = (sorted(folder.glob("instances_*.json")) for folder in (path, path / "annotations"))
    return next(filter(None, places), [])


def _alike(path: Path) -> list[Path]:
    """The files of a folder that begin as COCO does, or else those of its `annotations`."""
    places = (
        [file for file in sorted(folder.glob("*.json")) if _begins_as_coco(file)]
        for folder in (path, path / "annotations")
    )
    return next(filter(None, places), [])


def _in_split_folders(path: Path) -> list[Instances]:
    """The file of each split, if each has a folder of its own, as in Roboflow's exports."""
    found: list[Instances] = []
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        split = split_of(folder.name)
        files = _alike(folder) if split else []
        if len(files) > 1:
            raise _several(files[0], files[1])
        found += [Instances(file, split, folder.name) for file in files]
    return found


def _begins_as_coco(file: Path) -> bool:
    try:
        with open_regular(file) as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:  # The reader of this file raises an error that explains.
        return False
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    return begins and _LISTS.search(head) is not None


def _several(one: Path, two: Path) -> DataError:
    return DataError(
        "The folder has several COCO files, and their names do not give splits.",
        where=f"{one} and {two}",
        fix="Give the path of one file, or name them train.json, val.json and test.json.",
    )


def _rank(item: Instances) -> int:
    return SPLITS.index(item.split) if item.split else len(SPLITS)


def _require_one_per_split(found: Sequence[Instances]) -> None:
    first: dict[Split, Path] = {}
    for item in found:
        if item.split and first.setdefault(item.split, item.file) != item.file:
            raise DataError(
                f"Two files belong to the split {item.split}.",
                where=f"{first[item.split]} and {item.file}",
                fix="Give the path of one file, or move the other files to another folder.",
            )
