"""COCO instances: one JSON file per split, `instances_<split>.json`, as COCO and others write it.

Source: the "Object Detection" section of https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from manylabel.data.formats.finding import find_images, key_of
from manylabel.data.formats.lists import require_distinct
from manylabel.data.formats.parsing import JsonEntry, entries, load_object
from manylabel.data.formats.truth import EXTRA, names_of, split_in, text_of
from manylabel.data.readers.coco_files import Instances, find_coco, instances_of
from manylabel.data.records import Box, Record, Records
from manylabel.errors import DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace
from manylabel.text import some_names

Unlabelled = Literal["keep", "drop"]

__all__ = ["Unlabelled", "coco_id", "find_coco", "in_order_of_ids", "read_coco"]

_LONG: Final = 20
"""An id with more digits is ordered as a text."""
_WANTED = "a file with the lists images, annotations and categories"


def read_coco(
    path: Path, *, images: Path | None = None, unlabelled: Unlabelled = "keep"
) -> Records:
    """The images of a COCO instances file, or of all splits in a folder of them.

    A label is present if the image has an object or a crowd of it, and absent otherwise. No target
    is unknown. Labels are ordered by category id. Boxes are clipped to the image. The box of a
    crowd is left out, because it does not mark a single object. An object without a box, or in an
    image without a size, counts for its label. A category that no image has and that is the
    supercategory of others is not a label.

    `manylabel data convert` writes more values into the key `manylabel` of an image. They are read
    too, and unknown labels are among them. If they have no split, the name of the file gives the
    split: val2014 and val2017 are val.

    Args:
        path: The JSON file, or a folder of such files; see `coco_files`. If each split has its own
            folder, keys begin with the name of that folder.
        images: The folder of the images, if it is not beside the JSON.
        unlabelled: "keep" keeps images without an object, with all labels absent. "drop" drops
            them.

    Raises:
        DataError: The file does not exist or has no COCO instances; an id is not known; the images
            are in none of the folders; the files have different categories; an image is listed
            twice; no image remains.
    """
    counts: Counter[str] = Counter()
    parts = [_read_file(source, images, counts) for source in instances_of(path)]
    labels, notes = _labels(parts)
    items = [_records(part, labels, unlabelled, counts) for part in parts]
    require_distinct(
        (record.key, part.source.file)
        for part, records in zip(parts, items, strict=True)
        for record in records
    )
    if not any(items):
        raise DataError(
            "No image has an object, and images without an object are dropped.",
            where=str(path),
            fix="Set unlabelled to keep, or give a file with annotations.",
        )
    sources = [part.source for part in parts]
    splits = ", ".join(f"{each.split or 'none'} from {each.file.name}" for each in sources)
    found = dict.fromkeys(note for part in parts for note in part.notes)
    notes = [f"Splits: {splits}", *notes, *found]
    notes += [f"{what}: {count:,}" for what, count in counts.items()]
    records = (record for part in items for record in part)
    return replace(Records.of(labels, records, str(path), notes), absent_if_unnamed=True)


@dataclass
class _Image:
    """One entry of `images`, with the labels and boxes of its objects."""

    entry: JsonEntry
    name: str
    key: str
    present: set[str] = field(default_factory=set)
    boxes: list[Box] = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    """The content of one file.

    Args:
        source: The file.
        names: The names of the categories, in the order of their ids.
        above: The categories that others name as their supercategory.
        images: The images, in the order of the file.
        places: The file of each image.
        notes: How the images were found.
    """

    source: Instances
    names: LabelSpace
    above: set[str]
    images: list[_Image]
    places: list[Path]
    notes: tuple[str, ...]


def _read_file(source: Instances, images: Path | None, counts: Counter[str]) -> _Part:
    file = source.file
    document = load_object(file, _WANTED)
    categories = _categories(document, file)
    by_id = _images(document, file)
    for entry in entries(document, "annotations", file):
        image = by_id.get(coco_id(entry, "image_id"))
        label = categories.get(coco_id(entry, "category_id"))
        if image is None:
            raise entry.unfit("image_id", "the id of an image of the file")
        if label is None:
            raise entry.unfit("category_id", "the id of a category of the file")
        image.present.add(label)
        if box := _box(label, entry, image.entry, counts):
            image.boxes.append(box)
    listed = list(by_id.values())
    found = find_images(source.image_folders(images), [image.name for image in listed], file)
    places = [found.folder / name for name in found.names]
    names = LabelSpace(categories.values(), where=f"{file}, categories")
    return _Part(source, names, _supercategories(document, file), listed, places, found.notes)


def _labels(parts: Sequence[_Part]) -> tuple[LabelSpace, list[str]]:
    """The labels of all files, and notes about those that some files lack or that are left out.

    Raises:
        DataError: Two files have categories that the other one lacks.
    """
    largest = max(parts, key=lambda part: len(part.names))
    notes: list[str] = []
    for part in parts:
        if any(name not in largest.names for name in part.names):
            raise DataError(
                "The files have different labels.",
                where=f"{largest.source.file} and {part.source.file}",
                fix="Give every file the same list of categories.",
            )
        lacking = [name for name in largest.names if name not in part.names]
        if lacking:
            what = f"Labels that {part.source.file.name} lacks, absent there"
            notes.append(f"{what}: {len(lacking):,} ({some_names(lacking)})")
    unused = _unused(parts, largest.names)
    if unused:
        what = "Supercategories of others that no image has, not read as labels"
        notes.append(f"{what}: {len(unused):,} ({some_names(unused)})")
    names = [name for name in largest.names if name not in unused]
    return LabelSpace(names, where=str(largest.source.file)), notes


def _unused(parts: Sequence[_Part], names: LabelSpace) -> list[str]:
    """The categories that no image has and that are supercategories: Roboflow's first is one."""
    images = [image for part in parts for image in part.images]
    if any(EXTRA in image.entry.values for image in images):  # what manylabel wrote is complete
        return []
    used = {name for image in images for name in image.present}
    above = {name for part in parts for name in part.above}
    return [name for name in names if name in above and name not in used]


def _records(
    part: _Part, labels: LabelSpace, unlabelled: Unlabelled, counts: Counter[str]
) -> list[Record]:
    """The records of a file; `unlabelled` says whether those without a label are kept."""
    pairs = zip(part.images, part.places, strict=True)
    records = [_record(image, labels, place, part.source) for image, place in pairs]
    empty = sum(not record.targets.any() for record in records)
    if empty:
        result = "kept with all labels absent" if unlabelled == "keep" else "dropped"
        counts[f"Images without an object, {result}"] += empty
    return [record for record in records if record.targets.any() or unlabelled == "keep"]


def _record(image: _Image, labels: LabelSpace, place: Path, source: Instances) -> Record:
    targets = labels.encode(image.present)
    split, boxes = source.split, tuple(image.boxes)
    key = (PurePosixPath(source.below) / image.key).as_posix()
    if EXTRA not in image.entry.values:
        return Record(key, place, targets, split, boxes)
    extra = image.entry.inner(EXTRA)
    for name, target in (("present", PRESENT), ("absent", ABSENT), ("unknown", UNKNOWN)):
        for label in names_of(extra, name):
            if label not in labels:
                raise extra.unfit(name, "a list of categories of the file")
            targets[labels.index(label)] = target
    mask = text_of(extra, "mask")
    return Record(
        text_of(extra, "key") or key,
        place,
        targets,
        split_in(extra, split),
        boxes,
        None if mask is None else extra.file.parent / mask,
        text_of(extra, "group"),
    )


def coco_id(entry: JsonEntry, key: str) -> str:
    """The id under `key`. A whole number and a text are the same id if they are written alike.

    Raises:
        DataError: The value is missing, or is neither a text nor a whole number.
    """
    value = entry.values.get(key)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(entry.integer(key))


def in_order_of_ids(names: Mapping[str, str]) -> dict[str, str]:
    """Names by their ids, in the order of the ids: numbers first, by value, then texts."""

    def rank(number: str) -> tuple[bool, int, str]:
        plain = number.removeprefix("-").isdecimal() and len(number) < _LONG
        return (not plain, int(number) if plain else 0, number)

    return {number: names[number] for number in sorted(names, key=rank)}


def _categories(document: Mapping[str, Any], file: Path) -> dict[str, str]:
    """Label names by category id, in the order of the ids."""
    names: dict[str, str] = {}
    for entry in entries(document, "categories", file):
        number = coco_id(entry, "id")
        if number in names:
            raise entry.unfit("id", "a unique id: another category has it too")
        names[number] = entry.text("name")
    return in_order_of_ids(names)


def _supercategories(document: Mapping[str, Any], file: Path) -> set[str]:
    """The names that a category gives as its supercategory, other than its own."""
    found = set[str]()
    for entry in entries(document, "categories", file):
        above = entry.values.get("supercategory")
        if isinstance(above, str) and above.strip() != entry.text("name"):
            found.add(above.strip())
    return found


def _images(document: Mapping[str, Any], file: Path) -> dict[str, _Image]:
    """The images by id, in the file's order."""
    images: dict[str, _Image] = {}
    keys: set[str] = set()
    for entry in entries(document, "images", file):
        name = entry.text("file_name").replace("\\", "/")
        key = key_of(name)
        number = coco_id(entry, "id")
        if number in images:
            raise entry.unfit("id", "a unique id: another image has it too")
        if key in keys:
            raise entry.unfit("file_name", "a unique file: another image has it too")
        keys.add(key)
        images[number] = _Image(entry, name, key)
    if not images:
        raise DataError(
            "The file lists no images.",
            where=f"{file}, images",
            fix="Download or export it again.",
        )
    return images


def _box(label: str, entry: JsonEntry, image: JsonEntry, counts: Counter[str]) -> Box | None:
    """The box of an object, clipped to the image; None, which is counted, if it has none."""
    if entry.values.get("iscrowd"):
        counts["Crowds, whose label is present but which have no box"] += 1
        return None
    if entry.values.get("bbox") in (None, []):
        counts["Objects without a box, whose label is present"] += 1
        return None
    x, y, w, h = entry.numbers("bbox", 4)
    size = _size(image)
    if size is None:
        counts["Boxes left out because their image has no width or height"] += 1
        return None
    width, height = size
    left, right = _clip(x / width), _clip((x + w) / width)
    top, bottom = _clip(y / height), _clip((y + h) / height)
    if left >= right or top >= bottom:
        counts["Objects outside their image or without area, which have no box"] += 1
        return None
    return Box(label, left, top, right, bottom)


def _size(image: JsonEntry) -> tuple[float, float] | None:
    """Width and height of an image, in pixels; None if one is missing, null or 0."""
    if not image.values.get("width") or not image.values.get("height"):
        return None
    return image.length("width"), image.length("height")


def _clip(fraction: float) -> float:
    return min(1.0, max(0.0, fraction))
