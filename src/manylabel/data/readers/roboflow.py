"""Roboflow's export of multi-label classification: a `_classes.csv` in the folder of each split.

    export/
        train/  _classes.csv  1.jpg  2.jpg
        valid/  _classes.csv  7.jpg
        test/   _classes.csv  9.jpg

Each file is a table with the column `filename` and a column of 1 and 0 for each label. Its COCO
export is read as COCO, and its export of folders as label folders.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from manylabel.data.formats.lists import require_same_labels
from manylabel.data.formats.split_folders import SplitFile, describe_splits, split_files
from manylabel.data.places import Places
from manylabel.data.readers.table import read_table
from manylabel.data.records import Records, split_code
from manylabel.errors import DataError

NAME: Final = "_classes.csv"


def find_roboflow(path: Path) -> Path | None:
    """`path`, if it is a folder with folders for splits that have a `_classes.csv`; else None."""
    return path if path.is_dir() and split_files(path, NAME, Path.is_file) else None


def read_roboflow(path: Path) -> Records:
    """The images of all splits. Keys begin with the name of the folder of the split.

    Raises:
        DataError: There is no `_classes.csv`; a table has a mistake; the tables have different
            labels.
    """
    parts = split_files(path, NAME, Path.is_file)
    if not parts:
        raise DataError(
            f"There is no {NAME} in the folders train, valid and test.",
            where=str(path),
            fix="Give the folder of Roboflow's export for multi-label classification.",
        )
    read = [_read(part) for part in parts]
    require_same_labels([(part.file, each.labels) for part, each in zip(parts, read, strict=True)])
    notes = dict.fromkeys(note for each in read for note in each.notes)
    return replace(
        read[0],
        keys=tuple(key for each in read for key in each.keys),
        images=Places.joined([each.images for each in read]),
        targets=np.concatenate([each.targets for each in read]),
        splits=np.concatenate([each.splits for each in read]),
        groups=None,
        boxes=None,
        masks=None,
        source=str(path),
        notes=(*describe_splits(parts), *notes),
    )


def _read(part: SplitFile) -> Records:
    """The records of a file, with the split of its folder."""
    records = read_table(part.file)
    splits = np.full(len(records), split_code(part.split), dtype=np.int8)
    keys = tuple(f"{part.below}/{key}" if part.below else key for key in records.keys)
    return replace(records, keys=keys).with_splits(splits)
