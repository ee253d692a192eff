"""Visual Genome-500: the 500 most frequent objects of Visual Genome, in the lists of SSGRL.

    VG/
        train_list_500.txt                  2328403.jpg
        test_list_500.txt
        vg_category_500_labels_index.json   {"2328403.jpg": [3, 17, 204], ...}
        VG_100K/2328403.jpg                 and VG_100K_2, the two folders of the download

Source: T. Chen, M. Xu, X. Hui, H. Wu, L. Lin, "Learning Semantic-Specific Graph Representation
for Multi-Label Image Recognition", ICCV 2019, and the lists in its repository HCPLab-SYSU/SSGRL,
which later papers use too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from manylabel.data.formats.lists import (
    Listing,
    as_key,
    choose_folder,
    count_lines,
    join,
    name_labels,
    note,
    shorten,
)
from manylabel.data.formats.parsing import load_object
from manylabel.data.records import Records, Split
from manylabel.errors import DataError
from manylabel.files import read_lines
from manylabel.labels import PRESENT

_NUM_LABELS: Final = 500
_LABELS: Final = "vg_category_500_labels_index.json"
_LISTS: Final[Mapping[Split, str]] = {"train": "train_list_500.txt", "test": "test_list_500.txt"}
_PLACES: Final = ("", "ssgrl_partition", "data/VG", "data/vg")
_IMAGES: Final = ("VG_100K", "VG_100K_2", "images", "")


def find_visual_genome(path: Path) -> Path | None:
    """The folder of the lists, which is `path` or a usual folder in it; else None."""
    folders = (path / place for place in _PLACES)
    return next((folder for folder in folders if (folder / _LABELS).is_file()), None)


def read_visual_genome(
    path: Path, *, images: Path | None = None, label_names: Path | None = None
) -> Records:
    """The images of the lists train and test, in their order.

    A label is present if its index is among the labels of the image, and absent otherwise. No
    target is unknown. The names of the labels are their indices, 0 to 499, unless `label_names` is
    given.

    Args:
        path: The folder with the two lists and the JSON file, or a folder above it.
        images: The folder of the images, or the folder that has VG_100K and VG_100K_2. It is needed
            if these two are neither in the folder of the lists nor in the folder above it.
        label_names: A text file with the name of each index, one per line.

    Raises:
        DataError: A file is missing or malformed; an image in a list has no labels in the JSON
            file; an image is in both lists; none of the images is found.
    """
    path = find_visual_genome(path) or path
    labels = name_labels(_NUM_LABELS, label_names, start=0)
    file = path / _LABELS
    document = load_object(file, "a file with a list of label indices for each image")
    listings = [_read_list(path / name, split, document, file) for split, name in _LISTS.items()]
    keys = [key for listing in listings for key in listing.keys]
    files = _find_images(keys, images, path, listings[0].file)
    listings = [replace(part, images=[files[key] for key in part.keys]) for part in listings]
    records = Records.of(labels, join(listings), str(path))
    empty = int((~(records.targets == PRESENT).any(axis=1)).sum())
    unlisted = len(document) - len(set(keys))
    notes = (
        *(() if label_names else ("Labels are the indices in the JSON file, which has no names",)),
        *note(f"Images of {_LABELS} that are in no list, left out", unlisted),
        *note("Images that are listed again, left out", count_lines(listings) - len(records)),
        *note("Images without a label, kept with all labels absent", empty),
    )
    return records.with_notes(*notes)


def _read_list(file: Path, split: Split, document: Mapping[str, Any], source: Path) -> Listing:
    """The images of one split. The places of their files are not filled in yet."""
    lines = read_lines(file)
    if not lines:
        raise DataError("The list is empty.", where=str(file), fix="Download it again.")
    targets = np.zeros((len(lines), _NUM_LABELS), dtype=np.int8)
    for row, (number, name) in enumerate(lines):
        if name not in document:
            raise DataError(
                f"The image {shorten(name)} has no labels in {source.name}.",
                where=f"{file}, line {number}, and {source}",
                fix="Download both files again: one may be incomplete.",
            )
        targets[row, _indices(document[name], name, source)] = PRESENT
    return Listing(
        file=file,
        lines=[number for number, _ in lines],
        keys=[as_key(name) for _, name in lines],
        images=(),
        splits=[split for _ in lines],
        targets=targets,
    )


def _indices(value: Any, name: str, file: Path) -> list[int]:
    fits = isinstance(value, list) and all(
        type(index) is int and 0 <= index < _NUM_LABELS for index in value
    )
    if not fits:
        raise DataError(
            f"The labels are {shorten(value)}, not a list of numbers from 0 to {_NUM_LABELS - 1}.",
            where=f"{file}, {name!r}",
            fix="Correct the entry, or download the file again.",
        )
    return value


def _find_images(
    keys: Sequence[str], images: Path | None, path: Path, listed: Path
) -> dict[str, Path]:
    """The file of each image. The images may be in two folders, as Visual Genome has two parts."""
    bases = (path, path.parent) if images is None else (images,)
    places = [base / name for base in bases for name in _IMAGES]
    best = choose_folder(places, keys, listed)
    # Each folder is listed once. A check of each image in each folder would take some 800,000
    # system calls.
    folders = [place for place in dict.fromkeys((best, *places)) if place.is_dir()]
    contents = [(folder, frozenset(os.listdir(folder))) for folder in folders]
    return {key: next((f for f, names in contents if key in names), best) / key for key in keys}
