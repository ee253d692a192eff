"""WIDER Attribute: people in photographs of scenes, each person with attributes, as JSON.

    WIDER/
        wider_attribute_trainval.json       also found in Anno or Annotations
        wider_attribute_test.json
        Image/train/0--Parade/0_Parade_marchingband_1_1004.jpg
        Image/val/...  Image/test/...

Source: Y. Li, C. Huang, C. C. Loy, X. Tang, "Human Attribute Recognition by Deep Hierarchical
Contexts", ECCV 2016, and the description in the release of the annotations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from manylabel.data.formats.lists import (
    as_key,
    choose_folder,
    note,
    require_distinct,
    require_same_labels,
)
from manylabel.data.formats.parsing import JsonEntry, entries, listed_entries, load_object
from manylabel.data.records import Record, Records, Split, split_of
from manylabel.errors import DataError
from manylabel.images import Crop
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace

_NAMES: Final = ("wider_attribute_trainval.json", "wider_attribute_test.json")
_FOLDERS: Final = ("", "Anno", "Annotations", "annotations", "wider_attribute_annotation")
_WANTED: Final = "a file with attribute_id_map and the list images"
_TARGETS: Final[Mapping[float, int]] = {1: PRESENT, -1: ABSENT, 0: UNKNOWN}


def find_wider_attribute(path: Path) -> Path | None:
    """`path`, if it is one of the two JSON files or a folder that has one; else None."""
    if not path.is_dir():
        return path if path.name in _NAMES else None
    return path if _files_in(path) else None


def read_wider_attribute(path: Path, *, images: Path | None = None) -> Records:
    """The people of WIDER Attribute. Each person is a record, cropped from the image by its box.

    An attribute is present (1), absent (-1) or unspecified (0), which is read as unknown. Labels
    are ordered by attribute id. The split is the first folder in the path of the image: train, val
    or test. The people of one image are a group. Scenes are not read.

    Args:
        path: The folder of the JSON files, or one of them.
        images: The folder that contains train, val and test, if it is not the folder `Image`
            beside the JSON or in the folder above it.

    Raises:
        DataError: A file does not exist or is malformed; the files have different attributes; an
            image has no split or is listed twice; none of the images is found.
    """
    counts: Counter[str] = Counter()
    parts = [_read_file(file, counts) for file in _find_files(path)]
    labels = parts[0].labels
    require_same_labels([(part.file, part.labels) for part in parts])
    require_distinct(
        (name, f"{part.file}, {place}") for part in parts for name, place in part.images.items()
    )
    people = [person for part in parts for person in part.people]
    if not people:
        raise DataError(
            "The files contain no people.",
            where=str(path),
            fix="Download them again: each image has the list targets.",
        )
    scenes = list(dict.fromkeys(person.image for person in people))
    folder = _images_folder(parts[0].file, images, scenes)
    # One array for all: 57,000 small arrays would take longer than reading the files.
    targets = np.array([person.targets for person in people], dtype=np.int8)
    items = (
        Record(
            key=person.key,
            image=Crop(folder / person.image, *person.sides),
            targets=targets[i],
            split=person.split,
            group=person.image,
        )
        for i, person in enumerate(people)
    )
    notes = (
        f"Each of {len(people):,} people in {len(scenes):,} images is a record, cropped by its box",
        *(line for what, count in counts.items() for line in note(what, count)),
    )
    return Records.of(labels, items, str(path), notes)


@final
@dataclass(frozen=True, slots=True)
class _Person:
    """One entry of `targets`; `sides` are left, top, right, bottom in pixels."""

    key: str
    image: str
    split: Split
    sides: tuple[float, float, float, float]
    targets: list[int]


@final
@dataclass(frozen=True, slots=True)
class _Part:
    """The content of one file."""

    file: Path
    labels: LabelSpace
    images: dict[str, str]
    """The position of each image in the file, by the path of the image."""
    people: list[_Person]


def _files_in(folder: Path) -> list[Path]:
    """The JSON files in the first of the usual folders that has any."""
    for place in _FOLDERS:
        files = [folder / place / name for name in _NAMES if (folder / place / name).is_file()]
        if files:
            return files
    return []


def _find_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = _files_in(path)
    if not files:
        raise DataError(
            f"The folder has neither {' nor '.join(_NAMES)}.",
            where=str(path),
            fix="Give the folder of these files, or one of the files.",
        )
    return files


def _read_file(file: Path, counts: Counter[str]) -> _Part:
    document = load_object(file, _WANTED)
    labels = _labels(document, file)
    images: dict[str, str] = {}
    people: list[_Person] = []
    for image in entries(document, "images", file):
        name = as_key(image.text("file_name"))
        split = split_of(name.split("/")[0])
        if split is None:
            raise image.unfit("file_name", "a path that begins with train, val or test")
        if name in images:
            raise image.unfit("file_name", f"a unique image: {images[name]} has it too")
        images[name] = image.place
        found = [
            _person(target, f"{name}#{k}", name, split, len(labels))
            for k, target in enumerate(_targets_of(image))
        ]
        counts["Images without people, left out"] += not found
        counts["People who cannot be cropped, because their box has no area"] += sum(
            map(_is_empty, found)
        )
        people += found
    return _Part(file, labels, images, people)


def _labels(document: Mapping[str, Any], file: Path) -> LabelSpace:
    """The names of the attributes in the order of their ids, which are 0, 1, 2, ..."""
    where = f"{file}, attribute_id_map"
    names = document.get("attribute_id_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError(
            "The key 'attribute_id_map' is not an object of names.",
            where=where,
            fix=f"Give the original file of the data set: {_WANTED}.",
        )
    wanted = [str(i) for i in range(len(names))]
    if set(names) != set(wanted):
        raise DataError(
            f"The ids of the {len(names)} attributes are not 0 to {len(names) - 1}.",
            where=where,
            fix="Number them from 0. The lists 'attribute' must be in this order.",
        )
    return LabelSpace((names[i] for i in wanted), where=where)


def _targets_of(image: JsonEntry) -> Iterator[JsonEntry]:
    listed = image.values.get("targets")
    if not isinstance(listed, list):
        raise DataError(
            "The key 'targets' is missing or not a list.",
            where=f"{image.file}, {image.place}",
            fix="Give each image a list of its people. Without people, the list is empty.",
        )
    return listed_entries(listed, f"{image.place}.targets", image.file)


def _person(target: JsonEntry, key: str, image: str, split: Split, num_labels: int) -> _Person:
    x, y, width, height = target.numbers("bbox", 4)
    stated = target.numbers("attribute", num_labels)
    targets = [_TARGETS.get(value) for value in stated]
    known = [value for value in targets if value is not None]
    if len(known) != num_labels:
        raise target.unfit("attribute", "a list of 1, -1 and 0")
    return _Person(key, image, split, (x, y, x + width, y + height), known)


def _is_empty(person: _Person) -> bool:
    left, top, right, bottom = person.sides
    return right <= left or bottom <= top


def _images_folder(file: Path, images: Path | None, scenes: list[str]) -> Path:
    if images is not None:
        return choose_folder([images], scenes, file)
    homes = (file.parent, file.parent.parent)
    names = ("Image", "images", "", "wider_attribute_image/Image")
    return choose_folder([home / name for home in homes for name in names], scenes, file)
