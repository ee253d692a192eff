"""A record's key, labels and boxes as JSON, which manylabel writes to COCO files and tar shards.

{"key": "photos/1.jpg", "labels": ["cat"], "unknown": ["dog"], "split": "train",
 "group": "home-1", "boxes": [{"label": "cat", "left": 0.1, "top": 0, "right": 1, "bottom": 1}]}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from manylabel.data.formats.parsing import JsonEntry, listed_entries
from manylabel.data.records import Box, Record, Split, split_of
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace

EXTRA: Final = "manylabel"
"""Key in an image of a COCO file that holds everything for which COCO has no key."""


def truth_of(record: Record, labels: LabelSpace) -> dict[str, Any]:
    """The key, labels, split, group and boxes of a record, ready for JSON."""
    truth: dict[str, Any] = {
        "key": record.key,
        "labels": names_with(record, labels, PRESENT),
        "unknown": names_with(record, labels, UNKNOWN),
        "split": record.split,
        "group": record.group,
        "boxes": [box_dict(box) for box in record.boxes],
    }
    # The split is written even if it is null: otherwise the name of the file might give one.
    always = {"key", "labels", "split"}
    return {name: value for name, value in truth.items() if name in always or value}


def names_with(record: Record, labels: LabelSpace, target: int) -> list[str]:
    """The labels of a record that have this target."""
    pairs = zip(labels, record.targets.tolist(), strict=True)
    return [name for name, value in pairs if value == target]


def box_dict(box: Box) -> dict[str, Any]:
    """A box, ready for JSON or a Parquet struct."""
    return {
        "label": box.label,
        "left": box.left,
        "top": box.top,
        "right": box.right,
        "bottom": box.bottom,
    }


def names_of(entry: JsonEntry, key: str) -> list[str]:
    """The list of texts under `key`, none of them empty; an empty list if the key is missing.

    Raises:
        DataError: The value is something else.
    """
    value = entry.values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(x, str) and x.strip() for x in value):
        raise entry.unfit(key, "a list of texts")
    return value


def text_of(entry: JsonEntry, key: str) -> str | None:
    """The text under `key`; None if the key is missing, or its value is null or an empty text.

    Raises:
        DataError: The value is something else.
    """
    value = entry.values.get(key)
    if value is not None and not isinstance(value, str):
        raise entry.unfit(key, "a text")
    return value or None


def split_in(entry: JsonEntry, default: Split | None) -> Split | None:
    """The split of the entry, which may be None; `default` if the entry does not have the key.

    Raises:
        DataError: The value is not a split.
    """
    if "split" not in entry.values:
        return default
    name = text_of(entry, "split")
    split = None if name is None else split_of(name)
    if name is not None and split is None:
        raise entry.unfit("split", "train, val, test or null")
    return split


def boxes_in(entry: JsonEntry, labels: LabelSpace) -> tuple[Box, ...]:
    """The boxes of the entry.

    Raises:
        DataError: A box is malformed, has a label that is not in the data set, or is not inside the
            image.
    """
    listed = entry.values.get("boxes", [])
    if not isinstance(listed, list):
        raise entry.unfit("boxes", "a list")
    return boxes_of(list(listed_entries(listed, f"{entry.place}.boxes", entry.file)), labels)


def boxes_of(listed: Sequence[JsonEntry], labels: LabelSpace) -> tuple[Box, ...]:
    """Boxes from JSON objects or Parquet structs.

    Raises:
        DataError: A box is malformed, has a label that is not in the data set, or is not inside the
            image.
    """
    return tuple(_box(entry, labels) for entry in listed)


def _box(entry: JsonEntry, labels: LabelSpace) -> Box:
    entry.text("label")
    name = entry.values["label"]  # not stripped: a name may begin with a space
    if name not in labels:
        raise entry.unfit("label", "a label of the data set")
    left, top, right, bottom = (_side(entry, side) for side in ("left", "top", "right", "bottom"))
    if left >= right:
        raise entry.unfit("right", f"over 'left', which is {left:g}")
    if top >= bottom:
        raise entry.unfit("bottom", f"over 'top', which is {top:g}")
    return Box(name, left, top, right, bottom)


def _side(entry: JsonEntry, side: str) -> float:
    number = entry.number(side)
    if not 0 <= number <= 1:
        raise entry.unfit(side, "a fraction, 0 to 1")
    return number
