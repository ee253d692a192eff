"""The tasks of a Label Studio export, from either of its JSON formats.

JSON, with one object per task:

    [{"id": 1, "data": {"image": "/data/upload/3/1a2b3c4d-a.jpg"},
      "annotations": [{"was_cancelled": false, "result": [
        {"type": "choices", "from_name": "animal", "value": {"choices": ["cat"]}}]}]}]

JSON-MIN, with one flat object per annotation:

    [{"id": 1, "image": "/data/upload/3/1a2b3c4d-a.jpg", "animal": {"choices": ["cat"]},
      "annotation_id": 7, "annotator": 1}]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from manylabel.data.formats.parsing import JsonEntry, finite, listed_entries, load_json
from manylabel.data.records import Box
from manylabel.errors import DataError
from manylabel.images import has_image_ending

_ANNOTATIONS: Final = ("annotations", "completions")
"""The key of a task's annotations, and its name before version 1.0 of Label Studio."""
_CHOICES: Final = "choices"
_CHOICE: Final = "choice"
"""The name of a control of choices in Label Studio's own templates."""
_PLACE: Final = ("x", "y", "width", "height")
_NOT_ANSWERS: Final = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}
)


@final
@dataclass(frozen=True, slots=True)
class Mark:
    """One label that an annotator gave.

    Args:
        control: The labelling control that was used: `from_name` in the export.
        name: The label.
        chosen: True if the label is a choice from a list; False if it belongs to a region.
        box: The region, if it is an upright rectangle.
    """

    control: str
    name: str
    chosen: bool
    box: Box | None = None


@final
@dataclass(slots=True)
class Task:
    """One image with the labels from each of its annotators.

    Args:
        place: The file and the position of the task in it, for messages.
        address: The path or URL of the image, as it is in the export.
        answers: The marks of each annotation that was not cancelled.
    """

    place: str
    address: str
    answers: list[list[Mark]] = field(default_factory=list)


@final
@dataclass(frozen=True)
class Export:
    """The tasks of a file, and counts of what was not read. Each count has a description."""

    tasks: list[Task]
    counts: Counter[str]


def read_export(file: Path, image_key: str | None, control: str | None) -> Export:
    """The tasks of an export.

    Args:
        file: The JSON or JSON-MIN file.
        image_key: The key of the path or URL of the image. If None, it is found by its value.
        control: The labelling control whose marks are read. If None, all are read.

    Raises:
        DataError: The file is not a list of tasks, an entry lacks a part, or no annotation has the
            control.
    """
    document = load_json(file)
    if not isinstance(document, list) or not document:
        raise DataError(
            "The file does not contain a list of tasks.",
            where=str(file),
            fix="Give an export of Label Studio in its format JSON or JSON-MIN.",
        )
    items = list(listed_entries(document, "task", file))
    reader = _Reader(image_key, control)
    is_full = any({"data", *_ANNOTATIONS} & item.values.keys() for item in items)
    tasks = [reader.read_full(item) for item in items] if is_full else reader.read_flat(items)
    if control is not None and control not in reader.controls:
        raise DataError(
            f"No annotation belongs to a control {control!r}.",
            where=str(file),
            fix=f"The controls are: {', '.join(sorted(reader.controls)) or 'none'}.",
        )
    return Export(tasks, reader.counts)


@dataclass
class _Reader:
    """Turns entries into tasks, and counts what it does not read."""

    image_key: str | None
    control: str | None
    controls: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def read_full(self, entry: JsonEntry) -> Task:
        """The task in an entry of a JSON export."""
        data = _object(entry, "data")
        task = Task(_where(entry), data.text(self._image_key(data)))
        key = next((key for key in _ANNOTATIONS if key in entry.values), _ANNOTATIONS[0])
        for annotation in _objects(entry, key):
            if annotation.values.get("was_cancelled"):
                self.counts["Annotations that were cancelled, not read"] += 1
                continue
            results = _objects(annotation, "result")
            task.answers.append([mark for result in results for mark in self._marks(result)])
        if entry.values.get("predictions"):
            self.counts["Tasks with predictions, which are not read"] += 1
        return task

    def read_flat(self, items: Sequence[JsonEntry]) -> list[Task]:
        """The tasks of a JSON-MIN export. Each of its entries is an annotation."""
        tasks: dict[int, Task] = {}
        for item in items:
            image_key = self._image_key(item)
            task = Task(_where(item), item.text(image_key))
            task = tasks.setdefault(item.integer("id"), task)
            if task.address != item.text(image_key):
                raise item.unfit("id", f"a unique id: {task.place} has it with another image")
            task.answers.append(
                [
                    mark
                    for key in item.values
                    if key != image_key and key not in _NOT_ANSWERS
                    for mark in self._flat_marks(item, key)
                ]
            )
        return list(tasks.values())

    def _image_key(self, data: JsonEntry) -> str:
        """The key of the image: "image", or the first key whose value looks like an image."""
        if self.image_key is not None:
            return self.image_key
        if "image" in data.values:
            return "image"
        key = next((k for k, value in data.values.items() if _looks_like_image(value)), None)
        if key is None:
            raise DataError(
                "No key has the path or URL of an image; the keys are: "
                f"{', '.join(map(repr, data.values)) or 'none'}.",
                where=f"{data.file}, {data.place}",
                fix="Name the key of the images with --image-column.",
            )
        return key

    def _is_wanted(self, control: str) -> bool:
        """Whether the marks of a control are read. The control is remembered for messages."""
        self.controls.add(control)
        return self.control in (None, control)

    def _marks(self, result: JsonEntry) -> list[Mark]:
        """The marks of one entry of `result`."""
        kind = result.text("type")
        if kind != _CHOICES and not kind.endswith("labels"):
            self.counts[f"Results of the kind {kind!r}, not read"] += 1
            return []
        control = result.text("from_name")
        if not self._is_wanted(control):
            return []
        value = _object(result, "value")
        if kind == _CHOICES:
            return [Mark(control, name, chosen=True) for name in _names(value, kind)]
        if kind not in value.values:
            self.counts["Regions without a label, not read"] += 1
            return []
        turned = bool(result.values.get("image_rotation"))
        return self._region(control, value, kind, turned=turned)

    def _flat_marks(self, item: JsonEntry, key: str) -> list[Mark]:
        """The marks in the value of one key of a JSON-MIN entry."""
        value = item.values[key]
        if isinstance(value, dict) and _CHOICES in value:
            names = _names(_object(item, key), _CHOICES)
            wanted = self._is_wanted(key)
            return [Mark(key, name, chosen=True) for name in names] if wanted else []
        if isinstance(value, str) and key == (self.control or _CHOICE):
            self.controls.add(key)
            return [Mark(key, item.text(key), chosen=True)]
        if isinstance(value, list) and value and all(map(_is_region, value)):
            regions = listed_entries(value, f"{item.place}.{key}", item.file)
            wanted = self._is_wanted(key)
            return [mark for region in regions if wanted for mark in self._flat_region(key, region)]
        self.counts[f"Values of the key {key!r}, not read"] += 1
        return []

    def _flat_region(self, control: str, region: JsonEntry) -> list[Mark]:
        kind = next(key for key in region.values if key.endswith("labels"))
        turned = bool(region.values.get("image_rotation"))
        return self._region(control, region, kind, turned=turned)

    def _region(self, control: str, value: JsonEntry, kind: str, *, turned: bool) -> list[Mark]:
        """The marks of a region: one for each of its labels."""
        names = _names(value, kind)
        sides = None if turned or value.values.get("rotation") else _sides(value)
        if sides is None:
            self.counts["Regions that are not upright rectangles, read without boxes"] += 1
            return [Mark(control, name, chosen=False) for name in names]
        return [Mark(control, name, chosen=False, box=Box(name, *sides)) for name in names]


def _where(entry: JsonEntry) -> str:
    return f"{entry.file}, {entry.place}"


def _object(entry: JsonEntry, key: str) -> JsonEntry:
    """The JSON object under a key."""
    value = entry.values.get(key)
    if not isinstance(value, dict):
        raise _key_error(entry, key, "a JSON object")
    return JsonEntry(value, entry.file, f"{entry.place}.{key}")


def _objects(entry: JsonEntry, key: str) -> Iterator[JsonEntry]:
    """The JSON objects of the list under a key."""
    value = entry.values.get(key)
    if not isinstance(value, list):
        raise _key_error(entry, key, "a list")
    return listed_entries(value, f"{entry.place}.{key}", entry.file)


def _names(entry: JsonEntry, key: str) -> list[str]:
    """The names in the list under a key."""
    value = entry.values.get(key)
    if not isinstance(value, list) or not all(isinstance(n, str) and n.strip() for n in value):
        raise _key_error(entry, key, "a list of labels")
    return [name.strip() for name in value]


def _key_error(entry: JsonEntry, key: str, wanted: str) -> DataError:
    if key in entry.values:
        return entry.unfit(key, wanted)
    return DataError(
        f"The key {key!r} is missing.",
        where=_where(entry),
        fix="Give an export of Label Studio in its format JSON or JSON-MIN.",
    )


def _is_region(value: object) -> bool:
    return isinstance(value, Mapping) and any(key.endswith("labels") for key in value)


def _sides(region: JsonEntry) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom as fractions of the image; None if it is not a rectangle in it."""
    if not all(key in region.values for key in _PLACE):
        return None
    numbers = []
    for key in _PLACE:
        number = finite(region.values[key])
        if number is None:
            raise region.unfit(key, "a number, in percent of the image")
        numbers.append(number / 100)
    x, y, width, height = numbers
    left, right = _clip(x), _clip(x + width)
    top, bottom = _clip(y), _clip(y + height)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _clip(fraction: float) -> float:
    return min(1.0, max(0.0, fraction))


def _looks_like_image(value: Any) -> bool:
    """Whether a value is a path or a URL with the ending of an image file."""
    if not isinstance(value, str):
        return False
    return has_image_ending(value) or has_image_ending(value.partition("?")[0])
