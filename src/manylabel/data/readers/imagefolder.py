"""Hugging Face's ImageFolder: images, and a `metadata.jsonl` with a JSON object for each.

    photos/                             or, with splits:     photos/
        metadata.jsonl                                           train/  metadata.jsonl  1.jpg
        1.jpg  2.jpg                                             test/   metadata.jsonl  7.jpg

    {"file_name": "1.jpg", "labels": ["gull", "kelp"]}

Source: "Create an image dataset" in the guide of Hugging Face's datasets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.finding import find_images, key_of
from manylabel.data.formats.lists import note, require_distinct, shorten
from manylabel.data.formats.parsing import JsonEntry, listed_entries
from manylabel.data.formats.room import matrix
from manylabel.data.formats.split_folders import SplitFile, describe_splits, split_files
from manylabel.data.formats.tabular import LABEL_NAMES
from manylabel.data.records import Record, Records
from manylabel.errors import DataError
from manylabel.files import read_lines
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace

NAME: Final = "metadata.jsonl"
_FILE: Final = "file_name"
_OBJECTS: Final = "objects"
_CATEGORIES: Final = ("categories", "category")


def find_imagefolder(path: Path) -> Path | None:
    """`path`, if it is a .jsonl file or a folder with metadata.jsonl, else None.

    The file may also be in folders that are named as splits.
    """
    return path if split_files(path, NAME, _fits) else None


def read_imagefolder(
    path: Path, *, images: Path | None = None, label_column: str | None = None
) -> Records:
    """The images that the lines of `metadata.jsonl` name.

    The labels of an image are under `labels`, `label`, `tags` or `tag`: a list of names or of
    numbers of classes, or one of them. All other labels are absent. null or -1 means that all are
    unknown. The classes of `objects` are read if there is no such key. Without both, each key whose
    values are true, false, 1, 0, -1 or null is a label; -1 and null mean unknown.

    Args:
        path: The file, its folder, or a folder with a folder for each split.
        images: The folder of the images, if they are not beside the file.
        label_column: The key of the labels.

    Raises:
        DataError: A line is not a JSON object or names no image; no label is found; no image is
            found; an image is there twice.
    """
    parts = split_files(path, NAME, _fits)
    read = [_read_lines(part, images) for part in parts]
    rows = [row for lines, _ in read for row in lines]
    if not rows:
        raise DataError(
            "There is no line in metadata.jsonl.",
            where=str(path),
            fix='Write a line for each image: {"file_name": "1.jpg", "labels": ["gull"]}.',
        )
    labels = _labels(rows, label_column, path)
    require_distinct((row.key, f"{row.entry.file}, {row.entry.place}") for row in rows)
    items = (
        Record(row.key, row.image, targets, row.part.split)
        for row, targets in zip(rows, labels.targets, strict=True)
    )
    found = dict.fromkeys(line for _, notes in read for line in notes)
    records = Records.of(labels.space, items, str(path), (*describe_splits(parts), *found))
    return replace(records, absent_if_unnamed=labels.named).with_notes(*labels.notes)


def _fits(file: Path) -> bool:
    return file.is_file() and file.suffix.lower() == ".jsonl"


@dataclass(frozen=True)
class _Row:
    """One line, and the file of its image."""

    entry: JsonEntry
    part: SplitFile
    key: str
    image: Path


@dataclass(frozen=True)
class _Labels:
    """The labels; `named` says whether the lines name those that are present."""

    space: LabelSpace
    targets: NDArray[np.int8]
    named: bool
    notes: list[str]


def _read_lines(part: SplitFile, images: Path | None) -> tuple[list[_Row], tuple[str, ...]]:
    objects = [_object(line, part.file, number) for number, line in read_lines(part.file)]
    listed = [
        replace(entry, place=place)
        for (place, values) in objects
        for entry in listed_entries([values], place, part.file)
    ]
    names = [entry.text(_FILE) for entry in listed]
    if not names:
        return [], ()
    home = part.file.parent
    bases = [home, home / "images"] if images is None else [images, images / part.below]
    found = find_images(bases, [name.replace("\\", "/") for name in names], part.file)
    rows = [
        _Row(entry, part, (Path(part.below) / key_of(name)).as_posix(), found.folder / file)
        for entry, name, file in zip(listed, names, found.names, strict=True)
    ]
    return rows, found.notes


def _object(line: str, file: Path, number: int) -> tuple[str, Any]:
    try:
        return f"line {number}", json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The line is not valid JSON: {error}.",
            where=f"{file}, line {number}",
            fix="Write one JSON object in each line.",
        ) from None


def _labels(rows: Sequence[_Row], wanted: str | None, path: Path) -> _Labels:
    keys = dict.fromkeys(key for row in rows for key in row.entry.values)
    if wanted is not None and wanted not in keys:
        raise _no_labels(f"No line has the key {wanted!r}", keys, path)
    key = wanted or next((key for key in LABEL_NAMES if key in keys), None)
    if key is not None:
        return _from_names([_names(row.entry, key) for row in rows], f"Labels are under {key!r}")
    if _OBJECTS in keys:
        named = [_of_objects(row.entry) for row in rows]
        return _from_names(named, "Labels are the classes of 'objects', read without their boxes")
    return _from_columns(rows, list(keys), path)


def _from_names(named: Sequence[list[str] | None], what: str) -> _Labels:
    """Labels from the names of each image; None: nothing is known of it."""
    space = LabelSpace(sorted({name for names in named for name in names or ()}), where="labels")
    targets = matrix(len(named), len(space), ABSENT, "labels")
    for row, names in enumerate(named):
        targets[row] = UNKNOWN if names is None else space.encode(names)
    unknown = note("Images whose labels are not given, all unknown", named.count(None))
    return _Labels(space, targets, True, [what, *unknown])


def _names(entry: JsonEntry, key: str) -> list[str] | None:
    """The names under a key; None if it says that nothing is known."""
    value = entry.values.get(key)
    if value is None or value == -1:
        return None
    listed = value if isinstance(value, list) else [value]
    return [_name(entry, key, each) for each in listed]


def _name(entry: JsonEntry, key: str, value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    raise entry.unfit(key, "a name, the number of a class, or a list of them")


def _of_objects(entry: JsonEntry) -> list[str]:
    if entry.values.get(_OBJECTS) is None:
        return []
    inner = entry.inner(_OBJECTS)
    key = next((key for key in _CATEGORIES if key in inner.values), _CATEGORIES[0])
    return _names(inner, key) or []


def _from_columns(rows: Sequence[_Row], keys: list[str], path: Path) -> _Labels:
    """Labels that have a key each."""
    chosen = [
        key for key in keys if all(_target(row.entry.values.get(key)) is not None for row in rows)
    ]
    chosen = [
        key for key in chosen if any(_target(row.entry.values.get(key)) != UNKNOWN for row in rows)
    ]
    if not chosen:
        raise _no_labels("No labels were found", keys, path)
    space = LabelSpace(chosen, where=str(path))
    targets = matrix(len(rows), len(chosen), UNKNOWN, str(path))
    for i, row in enumerate(rows):
        targets[i] = [_target(row.entry.values.get(key)) for key in chosen]
    ignored = [key for key in keys if key not in chosen and key != _FILE]
    notes = [f"Each of {len(chosen)} keys is a label: true or 1 present, false or 0 absent"]
    if ignored:
        notes.append(f"Ignored keys: {', '.join(ignored)}")
    return _Labels(space, targets, False, notes)


def _target(value: object) -> int | None:
    """The target that a value is; None if it is none."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool | int) and value in (ABSENT, PRESENT, UNKNOWN):
        return int(value)
    return None


def _no_labels(what: str, keys: Sequence[str] | dict[str, None], path: Path) -> DataError:
    return DataError(
        f"{what}. The keys are {', '.join(map(shorten, keys))}.",
        where=str(path),
        fix='Write the labels of an image as a list under "labels", or name their key with '
        "--label-column.",
    )
