"""COCO instances: one JSON file per split, `instances_<split>.json`, as COCO and others write it.

Source: the "Object Detection" section of https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from manylabel.data.formats.lists import choose_folder, require_distinct, require_same_labels
from manylabel.data.formats.parsing import JsonEntry, entries, load_object
from manylabel.data.formats.truth import EXTRA, names_of, split_in, text_of
from manylabel.data.records import SPLITS, Box, Record, Records, Split, split_of
from manylabel.errors import DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace

Unlabelled = Literal["keep", "drop"]


_WANTED = "a file with the lists images, annotations and categories"


def find_coco(path: Path) -> Path | None:
    """`path`, if it is a JSON file or a folder of instances files; else None."""
    if not path.is_dir():
        return path if path.suffix.lower() == ".json" else None
    places = ("instances_*.json", "annotations/instances_*.json")
    return path if any(any(path.glob(place)) for place in places) else None


def read_coco(
    path: Path, *, images: Path | None = None, unlabelled: Unlabelled = "keep"
) -> Records:
    """The images of a COCO instances file, or of all splits in a folder of them.

    A label is present if the image has an object or a crowd of it, and absent otherwise. No target
    is unknown. Labels are ordered by category id. Boxes are clipped to the image. The box of a
    crowd is left out, because it does not mark a single object.

    `manylabel data convert` writes more values into the key `manylabel` of an image. They are read
    too, and unknown labels are among them. If they have no split, the name of the file gives the
    split: val2014 and val2017 are val.

    Args:
        path: The JSON file, or a folder with `instances_*.json` in it or in its `annotations`.
        images: The folder of the images, if it is not beside the JSON.
        unlabelled: "keep" keeps images without an object, with all labels absent. "drop" drops
            them.

    Raises:
        DataError: The file does not exist or has no COCO instances; an id is not known; the images
            are in none of the folders; the files have different categories; an image is listed
            twice; no image remains.
    """
    counts: Counter[str] = Counter()
    parts = [_read_file(file, images, unlabelled, counts) for file in _find_files(path)]
    labels = parts[0].labels
    require_same_labels([(part.file, part.labels) for part in parts])
    require_distinct((record.key, part.file) for part in parts for record in part.records)
    items = [record for part in parts for record in part.records]
    if not items:
        raise DataError(
            "No image has an object, and images without an object are dropped.",
            where=str(path),
            fix="Set unlabelled to keep, or give a file with annotations.",
        )
    splits = ", ".join(f"{part.split or 'none'} from {part.file.name}" for part in parts)
    notes = (f"Splits: {splits}", *(f"{what}: {count:,}" for what, count in counts.items()))
    return Records.of(labels, items, str(path), notes)


@dataclass(frozen=True)
class _Part:
    """The content of one file."""

    file: Path
    split: Split | None
    labels: LabelSpace
    records: list[Record]


@dataclass
class _Image:
    """One entry of `images`, with the labels and boxes of its objects."""

    entry: JsonEntry
    key: str
    present: set[str] = field(default_factory=set)
    boxes: list[Box] = field(default_factory=list)


def _find_files(path: Path) -> list[Path]:
    """The instances files, in the order train, val, test, others."""
    if not path.is_dir():
        return [path]
    for folder in (path, path / "annotations"):
        files = sorted(folder.glob("instances_*.json"))
        if files:
            _require_one_per_split(files)
            return sorted(files, key=_rank)
    raise DataError(
        "The folder has no files of COCO instances.",
        where=str(path),
        fix="Name them instances_train.json, instances_val.json, ..., and put them into this "
        "folder or its folder 'annotations'.",
    )


def _rank(file: Path) -> int:
    split = _split(file)
    return SPLITS.index(split) if split else len(SPLITS)


def _require_one_per_split(files: list[Path]) -> None:
    first: dict[Split, Path] = {}
    for file in files:
        split = _split(file)
        if split and first.setdefault(split, file) != file:
            raise DataError(
                f"Two files belong to the split {split}.",
                where=f"{first[split]} and {file.name}",
                fix="Give the path of one file, or move the other files to another folder.",
            )


def _subset(file: Path) -> str:
    """COCO's name of the subset and of its folder of images, for example "train2014"."""
    return file.stem.removeprefix("instances_")


def _split(file: Path) -> Split | None:
    return split_of(re.sub(r"\d{4}$", "", _subset(file)))


def _read_file(
    file: Path, images: Path | None, unlabelled: Unlabelled, counts: Counter[str]
) -> _Part:
    document = load_object(file, _WANTED)
    categories = _categories(document, file)
    split = _split(file)
    by_id = _images(document, file)
    for entry in entries(document, "annotations", file):
        image = by_id.get(entry.integer("image_id"))
        label = categories.get(entry.integer("category_id"))
        if image is None:
            raise entry.unfit("image_id", "the id of an image of the file")
        if label is None:
            raise entry.unfit("category_id", "the id of a category of the file")
        image.present.add(label)
        if entry.values.get("iscrowd"):
            counts["Crowds, whose label is present but which have no box"] += 1
        elif box := _box(label, entry, image.entry):
            image.boxes.append(box)
        else:
            counts["Objects outside their image or without area, which have no box"] += 1
    labels = LabelSpace(categories.values(), where=f"{file}, categories")
    folder = _images_folder(file, [image.key for image in by_id.values()], images)
    records = [_record(image, labels, folder, split) for image in by_id.values()]
    empty = sum(not record.targets.any() for record in records)
    if empty:
        result = "kept with all labels absent" if unlabelled == "keep" else "dropped"
        counts[f"Images without an object, {result}"] += empty
    kept = [record for record in records if record.targets.any() or unlabelled == "keep"]
    return _Part(file, split, labels, kept)


def _record(image: _Image, labels: LabelSpace, folder: Path, split: Split | None) -> Record:
    targets = labels.encode(image.present)
    place = folder / image.key
    boxes = tuple(image.boxes)
    if EXTRA not in image.entry.values:
        return Record(image.key, place, targets, split, boxes)
    extra = image.entry.inner(EXTRA)
    for name, target in (("present", PRESENT), ("absent", ABSENT), ("unknown", UNKNOWN)):
        for label in names_of(extra, name):
            if label not in labels:
                raise extra.unfit(name, "a list of categories of the file")
            targets[labels.index(label)] = target
    mask = text_of(extra, "mask")
    return Record(
        text_of(extra, "key") or image.key,
        place,
        targets,
        split_in(extra, split),
        boxes,
        None if mask is None else extra.file.parent / mask,
        text_of(extra, "group"),
    )


def _categories(document: Mapping[str, Any], file: Path) -> dict[int, str]:
    """Label names by category id, in the order of the ids."""
    names: dict[int, str] = {}
    for entry in entries(document, "categories", file):
        if entry.integer("id") in names:
            raise entry.unfit("id", "a unique id: another category has it too")
        names[entry.integer("id")] = entry.text("name")
    return dict(sorted(names.items()))


def _images(document: Mapping[str, Any], file: Path) -> dict[int, _Image]:
    """The images by id, in the file's order."""
    images: dict[int, _Image] = {}
    keys: set[str] = set()
    for entry in entries(document, "images", file):
        key = PurePosixPath(entry.text("file_name").replace("\\", "/")).as_posix()
        if entry.integer("id") in images:
            raise entry.unfit("id", "a unique id: another image has it too")
        if key in keys:
            raise entry.unfit("file_name", "a unique file: another image has it too")
        keys.add(key)
        images[entry.integer("id")] = _Image(entry, key)
    if not images:
        raise DataError(
            "The file lists no images.",
            where=f"{file}, images",
            fix="Download or export it again.",
        )
    return images


def _box(label: str, entry: JsonEntry, image: JsonEntry) -> Box | None:
    """The box of an object, clipped to the image; None if no part of it is in the image."""
    x, y, w, h = entry.numbers("bbox", 4)
    width, height = image.length("width"), image.length("height")
    left, right = _clip(x / width), _clip((x + w) / width)
    top, bottom = _clip(y / height), _clip((y + h) / height)
    if left >= right or top >= bottom:
        return None
    return Box(label, left, top, right, bottom)


def _clip(fraction: float) -> float:
    return min(1.0, max(0.0, fraction))


def _images_folder(file: Path, keys: list[str], images: Path | None) -> Path:
    if images is not None:
        bases = [images]
    else:
        home = file.parent
        bases = [home / "images", home]
        if home.name == "annotations":
            bases += [home.parent / "images", home.parent]
    split = _split(file)
    subsets = [_subset(file), *([split] if split else [])]
    places = [place for base in bases for place in (base, *(base / name for name in subsets))]
    return choose_folder(places, keys, file)
