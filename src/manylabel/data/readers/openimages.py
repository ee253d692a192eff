"""Open Images V4 to V7: image-level labels that people verified, with one label in each row.

    open-images/
        oidv6-train-annotations-human-imagelabels.csv      ImageID,Source,LabelName,Confidence
        validation-annotations-human-imagelabels.csv
        test-annotations-human-imagelabels.csv
        oidv6-class-descriptions.csv                       LabelName,DisplayName; optional
        oidv6-classes-trainable.txt                        one LabelName per line; optional
        train/000002b66c9c498e.jpg  validation/  test/     or in 'images'

The CSV files may also be in a folder 'annotations' or 'labels'.

Source: the description of the formats on the download pages of Open Images V6 and V7; Kuznetsova
et al., The Open Images Dataset V4, IJCV 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.lists import choose_folder, note, require_distinct
from manylabel.data.places import Places
from manylabel.data.readers.openimages_csv import (
    Part,
    files_in,
    find_verified,
    is_verified,
    name_labels,
    read_trainable,
    read_verified,
    verified_files,
)
from manylabel.data.records import Records, split_code
from manylabel.errors import DataError
from manylabel.labels import UNKNOWN, LabelSpace

MAX_BYTES: Final = 4_000_000_000
"""The largest size of all targets together, one byte each. More would fill most memories."""

_IMAGE_FOLDERS: Final = {"val": "validation"}
"""V7 calls the split "val" in the name of the CSV file and "validation" in the folder of images."""


def find_openimages(path: Path) -> Path | None:
    """`path`, if it is a CSV file of verified labels or a folder that has one; else None."""
    if path.is_dir():
        return path if verified_files(path) else None
    return path if is_verified(path) else None


def read_openimages(path: Path, *, images: Path | None = None) -> Records:
    """The images of Open Images that have verified labels, in the order of their first rows.

    A label that people verified is present (confidence 1) or absent (0). Every other label is
    unknown. A label that was verified both as present and as absent is unknown too. Labels that a
    machine proposed are not read. The name of the file gives the split.

    If there is a file `*classes-trainable*.txt`, the labels are those in it, in its order. Images
    that have no verified label among these are then left out. Without such a file, the labels are
    all that occur, ordered by LabelName. The names of the labels are those in
    `*class-descriptions*.csv`. If several labels have the same name, the LabelName is added to it.
    Without that file, the names are the LabelNames.

    Args:
        path: The folder, or one CSV file of verified labels.
        images: The folder of the images, or the folder that has a folder for each split.

    Raises:
        DataError: A file is malformed or incomplete; a split has several files, or an image several
            splits; no image is found; the targets need more than `MAX_BYTES`.
    """
    root, files = find_verified(path)
    trainable = read_trainable(root)
    mids: dict[str, int] = {}
    parts = [read_verified(file, mids) for file in files]
    require_distinct((name, part.file) for part in parts for name in part.ids)
    wanted = sorted(mids) if trainable is None else trainable
    columns = _columns(mids, wanted)
    kept = [part.images_with(columns) for part in parts]
    _require_fits(sum(map(len, kept)), len(wanted), path)
    names, undescribed = name_labels(root, wanted)
    targets, contradicted = _fill_targets(parts, kept, columns, len(wanted))
    keys = [
        tuple(f"{part.ids[i]}.jpg" for i in rows.tolist())
        for part, rows in zip(parts, kept, strict=True)
    ]
    left_out = sum(len(part.ids) for part in parts) - len(targets)
    machine = files_in(root, "*annotations-machine-imagelabels*.csv")
    notes = (
        "Labels that people verified are known, all other labels are unknown",
        f"Labels are {'all that occur' if trainable is None else 'the trainable ones'}",
        *note("Labels without a name, named by their LabelName", undescribed),
        *note("Targets verified both as present and as absent, unknown", contradicted),
        *note("Images without a verified label among these, left out", left_out),
        *note("Files of labels from a machine, not read", len(machine)),
    )
    return Records(
        labels=LabelSpace(names, where=str(path)),
        keys=tuple(chain.from_iterable(keys)),
        images=Places.joined(
            [_places(part, own, root, images) for part, own in zip(parts, keys, strict=True)]
        ),
        targets=targets,
        splits=np.repeat(
            np.array([split_code(part.split) for part in parts], dtype=np.int8),
            [len(own) for own in keys],
        ),
        source=str(path),
        notes=notes,
    )


def _columns(mids: Mapping[str, int], wanted: Sequence[str]) -> NDArray[np.int64]:
    """For the number of each LabelName, its column in the targets; -1 if it is not wanted."""
    columns = np.full(len(mids), -1, dtype=np.int64)
    for column, mid in enumerate(wanted):
        if mid in mids:
            columns[mids[mid]] = column
    return columns


def _require_fits(images: int, labels: int, path: Path) -> None:
    if not images:
        raise DataError(
            "No image has a verified label among the trainable ones.",
            where=str(path),
            fix="Give the *classes-trainable*.txt of the same data set, or move it to another "
            "folder.",
        )
    if images * labels > MAX_BYTES:
        raise DataError(
            f"The targets of {images:,} images with {labels:,} labels would need "
            f"{images * labels / 1e9:,.0f} GB of memory.",
            where=str(path),
            fix="Write the labels that you need into a file classes-trainable.txt, one LabelName "
            "per line, or use the rows of fewer images.",
        )


def _fill_targets(
    parts: Sequence[Part],
    kept: Sequence[NDArray[np.int32]],
    columns: NDArray[np.int64],
    num_labels: int,
) -> tuple[NDArray[np.int8], int]:
    """The targets [N, C] of the kept images, and how many were verified as present and absent."""
    targets = np.full((sum(map(len, kept)), num_labels), UNKNOWN, dtype=np.int8)
    contradicted, first = 0, 0
    for part, rows in zip(parts, kept, strict=True):
        contradicted += part.fill(targets[first : first + len(rows)], rows, columns)
        first += len(rows)
    return targets, contradicted


def _places(part: Part, keys: tuple[str, ...], root: Path, images: Path | None) -> Places:
    if not keys:
        return Places((), ())
    words = dict.fromkeys(word for word in (part.word, _IMAGE_FOLDERS.get(part.word)) if word)
    bases = [root / "images", root] if images is None else [images]
    places = [base / word for base in bases for word in words] + bases
    return Places.below(choose_folder(places, keys, part.file), keys)
