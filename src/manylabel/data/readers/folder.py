"""A folder of folders. The label of an image is the name of the folder that it is in.

cats-and-dogs/            or, with splits:     cats-and-dogs/
    cat/  1.jpg 2.jpg                              train/  cat/ dog/
    dog/  1.jpg                                    test/   cat/ dog/
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from manylabel.data.formats.lists import note
from manylabel.data.records import Record, Records, Split, split_of
from manylabel.errors import DataError, os_errors_as
from manylabel.images import ENDINGS, has_image_ending, image_errors
from manylabel.images.places import read_file
from manylabel.labels import PRESENT, LabelSpace

_NOT_LABELS: Final = frozenset({"images", "labels", "annotations", "masks", "data"})
"""Folders with these names hold files of a kind, not images of a label."""
_YOLO: Final = frozenset({"data.yaml", "data.yml", "dataset.yaml", "dataset.yml"})
_ANNOTATIONS: Final = frozenset({".xml", ".txt"})


def find_folder(path: Path) -> Path | None:
    """`path`, if it is a folder that contains folders; else None."""
    if not path.is_dir():
        return None
    folders = (entry for entry in path.iterdir() if entry.is_dir())
    return path if any(not entry.name.startswith(".") for entry in folders) else None


def read_folder(path: Path) -> Records:
    """The images of the label folders in `path`. The labels are in alphabetical order.

    Files in several label folders with the same file name and the same bytes are one image. It has
    the labels of all these folders, and its key is its first path. All other labels are absent.
    Hidden files are skipped. A note counts the files that are not images.

    Raises:
        DataError: The folder does not exist; there is no label folder, or only one that is named
            as a folder of images; a label folder contains a folder; there are no images; or one
            image is in two splits.
    """
    parents = _parents(path)
    _refuse_exports(path, parents)
    folders: list[tuple[Split | None, Path]] = [
        (split, folder) for split, parent in parents for folder in _folders(parent)
    ]
    names = sorted({folder.name for _, folder in folders})
    if len(names) < 2 and set(names) <= _NOT_LABELS:
        raise DataError(
            f"A folder is needed for each label. Found: {', '.join(names) or 'none'}.",
            where=str(path),
            fix="Put the images of each label into a folder with the name of the label, for "
            "example cat/1.jpg.",
        )
    files = [_File(file, label.name, split) for split, label in folders for file in _files(label)]
    images = [file for file in files if has_image_ending(file.path)]
    if not images:
        raise DataError(
            "The label folders contain no images.",
            where=str(path),
            fix=f"Images are files with one of these endings: {', '.join(ENDINGS)}.",
        )
    labels = LabelSpace(names, where=str(path))
    items = (_record(copies, labels, path) for copies in _same_images(images))
    records = Records.of(labels, items, str(path))
    several = int(((records.targets == PRESENT).sum(axis=1) > 1).sum())
    around = {path, *(parent for _, parent in parents)}
    outside = [file for folder in around for file in _files_beside_folders(folder)]
    notes = (
        "Labels are the names of the folders; all other labels of an image are absent",
        *(["There is one label, and all images have it"] if len(names) == 1 else []),
        *note("Images with several labels", several),
        *note("Files in label folders that are not images, left out", len(files) - len(images)),
        *note("Files outside the label folders, left out", len(outside)),
    )
    return replace(records, absent_if_unnamed=True).with_notes(*notes)


def _refuse_exports(path: Path, parents: Sequence[tuple[Split | None, Path]]) -> None:
    """Refuse what programs export for detectors, whose folders are not those of labels."""
    folders = [folder for _, parent in parents for folder in _folders(parent)]
    plain = {folder.name.lower() for folder in folders}
    beside = {
        file.suffix.lower() for _, parent in parents for file in _files_beside_folders(parent)
    }
    here = {file.name.lower() for file in _files_beside_folders(path)}
    if "images" in plain and len(plain) > 1 and plain <= _NOT_LABELS:
        kind = "folders of images and of files about them, as YOLO's"
    elif here & _YOLO:
        kind = f"a data set of YOLO: it has a {min(here & _YOLO)}"
    elif not folders and beside & _ANNOTATIONS:
        kind = "images with files of annotations beside them"
    else:
        return
    raise DataError(
        f"These are not folders of labels, but {kind}.",
        where=str(path),
        fix="Export the data set as COCO JSON, which is read: Roboflow, CVAT, FiftyOne and Label "
        "Studio offer it. If the folders are labels, rename them.",
    )


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    label: str
    split: Split | None


def _parents(path: Path) -> list[tuple[Split | None, Path]]:
    """The folders that contain the label folders: one per split, or only `path` itself."""
    splits: list[tuple[Split | None, Path]] = [
        (split_of(folder.name), folder) for folder in _folders(path)
    ]
    # "train" can also be a label (the vehicle). So the folders are splits only if all have such
    # names.
    if splits and all(split is not None for split, _ in splits):
        return splits
    return [(None, path)]


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _files_beside_folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if not entry.is_dir()]


def _files(folder: Path) -> list[Path]:
    """The files of a label folder, which may not contain folders."""
    entries = _entries(folder)
    for entry in entries:
        if entry.is_dir():
            raise DataError(
                f"The folder of the label {folder.name!r} contains a folder, {entry.name!r}.",
                where=str(entry),
                fix="Put images directly into the folder of their label. Above the label folders, "
                "only folders named train, val and test are possible.",
            )
    return entries


def _entries(folder: Path) -> list[Path]:
    """The files and folders in `folder` that are not hidden, sorted by name."""
    fix = "Check the path. It must be a folder with a folder for each label."
    with os_errors_as(DataError, "The folder cannot be read", where=folder, fix=fix):
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _same_images(files: Sequence[_File]) -> list[list[_File]]:
    """For each image, the list of its copies. Images are in the order of their first files."""
    sizes = [(file.path.name, _size(file.path)) for file in files]
    alike = Counter(sizes)
    images: dict[tuple[str, int, bytes], list[_File]] = defaultdict(list)
    for file, (name, size) in zip(files, sizes, strict=True):
        # Files are read only if another file has the same name and size.
        digest = _digest(file.path) if alike[name, size] > 1 else b""
        images[name, size, digest].append(file)
    return list(images.values())


def _size(path: Path) -> int:
    with _read_errors(path):
        return path.stat().st_size


def _digest(path: Path) -> bytes:
    with image_errors(str(path)), _read_errors(path):
        return hashlib.sha256(read_file(path)).digest()


def _read_errors(path: Path) -> AbstractContextManager[None]:
    fix = "Check its permissions, or remove it if it is a broken link."
    return os_errors_as(DataError, "The image cannot be read", where=path, fix=fix)


def _record(copies: Sequence[_File], labels: LabelSpace, root: Path) -> Record:
    first = copies[0]
    for copy in copies:
        if copy.split != first.split:
            raise DataError(
                f"One image is in two splits, {first.split} and {copy.split}.",
                where=f"{first.path} and {copy.path}",
                fix="Remove it from one split: a result on training images means nothing.",
            )
    targets = labels.encode(copy.label for copy in copies)
    return Record(first.path.relative_to(root).as_posix(), first.path, targets, first.split)
