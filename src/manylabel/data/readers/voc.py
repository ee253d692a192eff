"""Pascal VOC: an XML file for each image, and lists of the images of each split.

    VOC2007/
        Annotations/000005.xml
        ImageSets/Main/train.txt val.txt test.txt
        JPEGImages/000005.jpg

Source: the development kit of the Pascal VOC 2007 challenge. It counts pixels from 1, and a box
includes its last row and column.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from manylabel.data.formats.lists import note
from manylabel.data.records import Box, Record, Records, Split
from manylabel.errors import DataError
from manylabel.files import read_bytes, read_lines
from manylabel.images import has_image_ending
from manylabel.labels import LabelSpace

Difficult = Literal["unknown", "present", "absent"]

_MAX_XML: Final = 64 * 2**20
"""The most bytes of the XML file of one image."""


def find_voc(path: Path) -> Path | None:
    """`path`, if it is a Pascal VOC folder or contains one; else None."""
    below = [*path.glob("VOC*"), *path.glob("VOCdevkit/VOC*")]
    return path if any(map(_is_voc, [path, *below])) else None


def read_voc(path: Path, *, difficult: Difficult = "unknown") -> Records:
    """The images of a Pascal VOC folder. The labels are in alphabetical order.

    The splits are the lists train, val and test in ImageSets/Main. If there is neither train nor
    val, trainval is the split train. If there are lists, images that are in none of them are left
    out.

    Args:
        path: The folder with Annotations and JPEGImages, or one that contains such a folder.
        difficult: The target of a label if all its objects in the image are marked difficult. The
            boxes of difficult objects are kept only if it is "present".

    Raises:
        DataError: A folder does not exist; an XML file is malformed or lacks a part; a list has an
            image without an annotation, or an image of another split.
    """
    root = _find_root(path)
    annotations = {file.stem: file for file in sorted((root / "Annotations").glob("*.xml"))}
    splits = _splits(root, annotations)
    if not splits:
        raise DataError(
            "The data set has no annotated image.",
            where=str(root),
            fix="Put an XML file for each image into Annotations, and check the lists in "
            "ImageSets/Main.",
        )
    files = _image_files(root)
    scenes = [
        _Scene(
            # A missing image keeps its place. The code that opens it raises an error.
            image=files.get(stem, root / "JPEGImages" / f"{stem}.jpg"),
            split=split,
            objects=_read_objects(annotations[stem]),
        )
        for stem, split in splits.items()
    ]
    labels = LabelSpace(
        sorted({item.label for scene in scenes for item in scene.objects}),
        where=str(root / "Annotations"),
    )
    empty = sum(not scene.objects for scene in scenes)
    hard = sum(len(scene.hard_labels()) for scene in scenes)
    notes = (
        *note("Annotated images that are in no list, left out", len(annotations) - len(splits)),
        *note("Images without an object, all labels absent", empty),
        *note(f"Labels of an image with only difficult objects, read as {difficult}", hard),
    )
    items = (_record(scene, labels, difficult) for scene in scenes)
    return replace(Records.of(labels, items, str(root), notes), absent_if_unnamed=True)


@dataclass(frozen=True, slots=True)
class _Object:
    label: str
    difficult: bool
    box: Box


@dataclass(frozen=True, slots=True)
class _Scene:
    """One image with the objects of its annotation."""

    image: Path
    split: Split | None
    objects: list[_Object]

    def labels(self) -> set[str]:
        return {item.label for item in self.objects}

    def hard_labels(self) -> set[str]:
        """The labels whose objects are all difficult."""
        return self.labels() - {item.label for item in self.objects if not item.difficult}


def _is_voc(path: Path) -> bool:
    return (path / "Annotations").is_dir() and (path / "JPEGImages").is_dir()


def _find_root(path: Path) -> Path:
    """The one folder at or below `path` that has Annotations."""
    if (path / "Annotations").is_dir():
        return path
    below = sorted({*path.glob("VOC*/Annotations"), *path.glob("VOCdevkit/VOC*/Annotations")})
    if len(below) == 1:
        return below[0].parent
    if below:
        raise DataError(
            f"There are several Pascal VOC data sets: {', '.join(a.parent.name for a in below)}.",
            where=str(path),
            fix=f"Give one of them, for example {below[0].parent}.",
        )
    raise DataError(
        "There is no folder Annotations in the folder or in a folder VOC* in it.",
        where=str(path),
        fix="Give a Pascal VOC folder, for example VOCdevkit/VOC2007.",
    )


def _splits(root: Path, annotations: Mapping[str, Path]) -> dict[str, Split | None]:
    """The split of each image that is read, by the stem of its file name."""
    main = root / "ImageSets" / "Main"
    lists: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}
    if not any((main / f"{name}.txt").is_file() for name in ("train", "val")):
        lists = {"trainval": "train", "test": "test"}
    existing = [name for name in lists if (main / f"{name}.txt").is_file()]
    if not existing:
        return dict.fromkeys(annotations)
    splits: dict[str, Split | None] = {}
    for name in existing:
        file, split = main / f"{name}.txt", lists[name]
        for line, stem in read_lines(file):
            if stem not in annotations:
                raise DataError(
                    f"The image {stem!r} is in the list but has no annotation.",
                    where=f"{file}, line {line}",
                    fix=f"Add Annotations/{stem}.xml, or remove the image from the list.",
                )
            earlier = splits.setdefault(stem, split)
            if earlier != split:
                raise DataError(
                    f"The image {stem!r} is in two splits, {earlier} and {split}.",
                    where=f"{file}, line {line}",
                    fix="Remove it from one list: a result on training images means nothing.",
                )
    return splits


def _image_files(root: Path) -> dict[str, Path]:
    """The image files in JPEGImages by the stems of their names."""
    folder = root / "JPEGImages"
    if not folder.is_dir():
        raise DataError(
            "There is no folder JPEGImages.",
            where=str(root),
            fix="Put the images into a folder JPEGImages beside Annotations.",
        )
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if not has_image_ending(file):
            continue
        if file.stem in files:
            raise DataError(
                f"Two images have the name {file.stem!r}, so their annotation is not clear.",
                where=f"{files[file.stem]} and {file}",
                fix="Remove or rename one of them.",
            )
        files[file.stem] = file
    return files


def _read_objects(file: Path) -> list[_Object]:
    """The objects of one image."""
    try:
        tree = ET.fromstring(read_bytes(file, at_most=_MAX_XML))
    except ET.ParseError as error:
        raise DataError(
            f"The annotation is not valid XML: {error}.",
            where=f"{file}, line {error.position[0]}",
            fix="Download or export it again: it may be incomplete.",
        ) from None
    except (LookupError, ValueError) as error:
        raise DataError(
            f"The annotation's encoding cannot be read: {error}.",
            where=f"{file}, line 1",
            fix="Save it as UTF-8.",
        ) from None
    objects = tree.findall("object")
    if not objects:
        return []
    width = _number(tree, "size/width", file, over=0)
    height = _number(tree, "size/height", file, over=0)
    return [_read_object(element, width, height, file) for element in objects]


def _read_object(element: ET.Element, width: float, height: float, file: Path) -> _Object:
    left = _number(element, "bndbox/xmin", file) - 1
    top = _number(element, "bndbox/ymin", file) - 1
    right = _number(element, "bndbox/xmax", file)
    bottom = _number(element, "bndbox/ymax", file)
    label = _text(element, "name", file)
    if left >= right or top >= bottom:
        raise DataError(
            f"A box of {label!r} has no area.",
            where=f"{file}, object/bndbox",
            fix="Correct the box: xmin must be at most xmax, and ymin at most ymax.",
        )
    box = Box(
        label,
        _clip(left / width),
        _clip(top / height),
        _clip(right / width),
        _clip(bottom / height),
    )
    difficult = element.find("difficult") is not None and _number(element, "difficult", file) != 0
    return _Object(label, difficult, box)


def _text(element: ET.Element, tag: str, file: Path) -> str:
    text = (element.findtext(tag) or "").strip()
    if not text:
        raise DataError(
            f"The element {tag!r} of {element.tag!r} is missing or empty.",
            where=str(file),
            fix="Add the element, as in the annotations of Pascal VOC.",
        )
    return text


def _number(element: ET.Element, tag: str, file: Path, *, over: float = -math.inf) -> float:
    text = _text(element, tag, file)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > over):
        wanted = "a number" if over == -math.inf else f"a number above {over:g}"
        raise DataError(
            f"The element {tag!r} of {element.tag!r} is {text!r}, not {wanted}.",
            where=str(file),
            fix="Correct the annotation.",
        )
    return number


def _clip(fraction: float) -> float:
    return min(1.0, max(0.0, fraction))


def _record(scene: _Scene, labels: LabelSpace, difficult: Difficult) -> Record:
    hard = scene.hard_labels()
    clear = scene.labels() - hard
    targets = {
        "unknown": labels.encode(clear, unknown=hard),
        "present": labels.encode(clear | hard),
        "absent": labels.encode(clear),
    }[difficult]
    kept = [t.box for t in scene.objects if not t.difficult or difficult == "present"]
    return Record(scene.image.name, scene.image, targets, scene.split, tuple(kept))
