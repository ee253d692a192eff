"""A folder of folders: the name of the folder that an image lies in is its label.

cats-and-dogs/            or, with splits:     cats-and-dogs/
    cat/  1.jpg 2.jpg                              train/  cat/ dog/
    dog/  1.jpg                                    test/   cat/ dog/
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from manylabel.data.records import Record, Records, Split, split_of
from manylabel.errors import DataError, os_errors_as
from manylabel.images import ENDINGS, has_image_ending
from manylabel.labels import PRESENT, LabelSpace


def find_folder(path: Path) -> Path | None:
    """`path`, if it is a folder that holds folders; else None."""
    if not path.is_dir():
        return None
    folders = (entry for entry in path.iterdir() if entry.is_dir())
    return path if any(not entry.name.startswith(".") for entry in folders) else None


def read_folder(path: Path) -> Records:
    """The images of the label folders in `path`; labels in alphabetical order.

    An image that lies in several label folders, with the same file name and the same bytes, is
    one image with all of these labels; its key is its first path. Every label that is not an
    image's own counts as absent. Hidden files are skipped; what is no image is counted in a note.

    Raises:
        DataError: No folder, fewer than two labels, a folder within a label's folder, no images,
            or one image in two splits.
    """
    tops = _tops(path)
    folders: list[tuple[Split | None, Path]] = [
        (split, folder) for split, top in tops for folder in _folders(top)
    ]
    names = sorted({folder.name for _, folder in folders})
    if len(names) < 2:
        raise DataError(
            f"Two or more labels are needed, a folder each; found: {', '.join(names) or 'none'}.",
            where=str(path),
            fix="Put the images of each label into a folder of the label's name: cat/1.jpg.",
        )
    files = [_File(file, label.name, split) for split, label in folders for file in _files(label)]
    images = [file for file in files if has_image_ending(file.path)]
    if not images:
        raise DataError(
            "The label folders hold no images.",
            where=str(path),
            fix=f"Images are files that end in {', '.join(ENDINGS)}.",
        )
    labels = LabelSpace(names, where=str(path))
    items = (_record(copies, labels, path) for copies in _same_images(images))
    records = Records.of(labels, items, str(path))
    several = int(((records.targets == PRESENT).sum(axis=1) > 1).sum())
    loose = [entry for top in {path, *(top for _, top in tops)} for entry in _loose_files(top)]
    notes = (
        "Labels are the names of the folders; each image lacks the labels it does not lie in",
        *_note("Images with several labels", several),
        *_note("Files in label folders that are no images, left out", len(files) - len(images)),
        *_note("Files outside of the label folders, left out", len(loose)),
    )
    return records.with_notes(*notes)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    label: str
    split: Split | None


def _tops(path: Path) -> list[tuple[Split | None, Path]]:
    """The folders that hold label folders: one a split, or `path` itself."""
    splits: list[tuple[Split | None, Path]] = [
        (split_of(folder.name), folder) for folder in _folders(path)
    ]
    # "train" is also a thing on rails: only if every folder is named so are these splits.
    if splits and all(split is not None for split, _ in splits):
        return splits
    return [(None, path)]


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _loose_files(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if not entry.is_dir()]


def _files(folder: Path) -> list[Path]:
    """The files of a label's folder."""
    entries = _entries(folder)
    for entry in entries:
        if entry.is_dir():
            raise DataError(
                f"The folder of the label {folder.name!r} holds a folder, {entry.name!r}.",
                where=str(entry),
                fix="Put images straight into their label's folder; above the labels' folders "
                "there can only be train, val and test.",
            )
    return entries


def _entries(folder: Path) -> list[Path]:
    """What lies in `folder`, hidden files aside, by name."""
    fix = "Check the path: a folder that holds a folder for each label is needed."
    with os_errors_as(DataError, "The folder cannot be read", where=folder, fix=fix):
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _same_images(files: Sequence[_File]) -> list[list[_File]]:
    """The files, copies of one image together, in the order of each image's first file."""
    sizes = [(file.path.name, _size(file.path)) for file in files]
    alike = Counter(sizes)
    images: dict[tuple[str, int, bytes], list[_File]] = defaultdict(list)
    for file, (name, size) in zip(files, sizes, strict=True):
        # Only files of one name and one size are worth the reading.
        digest = _digest(file.path) if alike[name, size] > 1 else b""
        images[name, size, digest].append(file)
    return list(images.values())


def _size(path: Path) -> int:
    with _read_errors(path):
        return path.stat().st_size


def _digest(path: Path) -> bytes:
    with _read_errors(path):
        return hashlib.sha256(path.read_bytes()).digest()


def _read_errors(path: Path) -> AbstractContextManager[None]:
    fix = "Check its permissions, or remove it if it is a broken link."
    return os_errors_as(DataError, "The image cannot be read", where=path, fix=fix)


def _record(copies: Sequence[_File], labels: LabelSpace, root: Path) -> Record:
    first = copies[0]
    for copy in copies:
        if copy.split != first.split:
            raise DataError(
                f"One image lies in two splits, {first.split} and {copy.split}.",
                where=f"{first.path} and {copy.path}",
                fix="Remove it from one: a result on images that were trained on means nothing.",
            )
    targets = labels.encode(copy.label for copy in copies)
    return Record(first.path.relative_to(root).as_posix(), first.path, targets, first.split)


def _note(what: str, count: int) -> list[str]:
    return [f"{what}: {count:,}"] if count else []
