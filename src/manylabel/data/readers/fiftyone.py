"""FiftyOne's exports of image classification: a `labels.json`, and the images in `data`.

    export/                             or, with splits:     export/
        labels.json                                              train/  labels.json  data/
        data/a.jpg  data/b.jpg                                   test/   labels.json  data/

    {"classes": ["gull", "kelp"], "labels": {"a": ["gull", "kelp"], "b": 1}}

Its COCO export, which has a labels.json too, is read as COCO.

Source: "FiftyOne Image Classification" in the guide of FiftyOne's export formats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from manylabel.data.formats.finding import Found, find_images, key_of
from manylabel.data.formats.lists import note, shorten
from manylabel.data.formats.parsing import load_object
from manylabel.data.formats.split_folders import SplitFile, describe_splits, split_files
from manylabel.data.records import Record, Records
from manylabel.errors import DataError
from manylabel.files import open_regular
from manylabel.labels import LabelSpace

NAME: Final = "labels.json"
_HEAD_BYTES: Final = 1 << 16
_BEGINS: Final = re.compile(rb'\s*\{\s*"(classes"\s*:\s*(\[|null)|labels"\s*:\s*\{)')
_WANTED: Final = "a file with the keys classes and labels, as FiftyOne writes it"


def find_fiftyone(path: Path) -> Path | None:
    """`path`, if it is such a labels.json or a folder that has one; else None.

    COCO's files end in .json too, so the beginning of the file is checked.
    """
    return path if split_files(path, NAME, _fits) else None


def read_fiftyone(path: Path, *, images: Path | None = None) -> Records:
    """The images of an export. Labels are in the order of `classes`, else alphabetical.

    The labels that are given for an image are present, and all others are absent. An image with
    null has no label that is known.

    Args:
        path: The file, its folder, or a folder with a folder for each split.
        images: The folder of the images, if it is not `data` beside the file.

    Raises:
        DataError: The file is malformed; a label is not among the classes; no image is found.
    """
    parts = [_read(part, images) for part in split_files(path, NAME, _fits) or [SplitFile(path)]]
    names = dict.fromkeys(name for part in parts for name in part.classes)
    given = {name for part in parts for labels in part.labels.values() for name in labels or ()}
    labels = LabelSpace([*names, *sorted(given - set(names))], where=str(path))
    items = [record for part in parts for record in part.records(labels)]
    unknown = sum(labels is None for part in parts for labels in part.labels.values())
    notes = [
        *describe_splits([part.source for part in parts]),
        *dict.fromkeys(line for part in parts for line in part.found.notes),
        *note("Images whose labels are null, all unknown", unknown),
    ]
    return replace(Records.of(labels, items, str(path), notes), absent_if_unnamed=True)


@dataclass(frozen=True)
class _Part:
    """The content of a file: its classes, the labels of each image, and where the images are."""

    source: SplitFile
    classes: list[str]
    labels: Mapping[str, list[str] | None]
    found: Found

    def records(self, space: LabelSpace) -> list[Record]:
        """The records of the file."""
        return [
            Record(
                (Path(self.source.below) / key_of(file)).as_posix(),
                self.found.folder / file,
                space.encode(()) - 1 if names is None else space.encode(names),
                self.source.split,
            )
            for file, names in zip(self.found.names, self.labels.values(), strict=True)
        ]


def _fits(file: Path) -> bool:
    if file.suffix.lower() != ".json" or not file.is_file():
        return False
    try:
        with open_regular(file) as stream:
            return _BEGINS.match(stream.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")) is not None
    except OSError:  # The reader of this file raises an error that explains.
        return False


def _read(part: SplitFile, images: Path | None) -> _Part:
    document = load_object(part.file, _WANTED)
    classes = document.get("classes") or []
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise _unfit(part.file, "classes", classes, "a list of names")
    given = document.get("labels")
    if not isinstance(given, dict) or not given:
        raise _unfit(part.file, "labels", given, "an object from image to labels")
    labels = {name: _labels(value, classes, part.file, name) for name, value in given.items()}
    home = part.file.parent
    bases = [home / "data", home / "images", home] if images is None else [images]
    return _Part(part, classes, labels, find_images(bases, list(labels), part.file))


def _labels(value: Any, classes: list[str], file: Path, image: str) -> list[str] | None:
    """The labels of an image; None if the value is null."""
    if value is None:
        return None
    return [_label(each, classes, file, image) for each in _listed(value)]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, dict):
        inside = value.get("classifications", value.get("labels"))
        return inside if isinstance(inside, list) else [value]
    return value if isinstance(value, list) else [value]


def _label(value: Any, classes: list[str], file: Path, image: str) -> str:
    name = value.get("label") if isinstance(value, dict) else value
    if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(classes):
        return classes[name]
    if isinstance(name, str) and name.strip() and (not classes or name in classes):
        return name
    raise _unfit(file, f"labels.{image}", name, "one of the classes, or the position of one")


def _unfit(file: Path, key: str, value: object, wanted: str) -> DataError:
    return DataError(
        f"{key!r} is {shorten(value)}, not {wanted}.",
        where=f"{file}, {key}",
        fix="Correct the entry, or export the data set again.",
    )
