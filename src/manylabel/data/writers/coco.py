"""COCO instances: one JSON file, or a folder with one file per split.

COCO has no field for some values. They are written into the key `manylabel` of each image: its
split; its key, group and mask, if it has them; the labels that are unknown; and the labels that
are present without an object. Other readers ignore this key. An object is written for each box,
and for nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manylabel.data.formats.truth import EXTRA, names_with
from manylabel.data.records import Box, Record, Records
from manylabel.data.writers.references import (
    Target,
    extracted,
    reference,
    references,
    unpadded,
    upright_size,
)
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace


def write_coco(records: Records, target: Target) -> None:
    """Write the file, or `instances_<split>.json` for each split into a folder.

    Categories are numbered from 1 in the order of the labels. Sizes are those of the upright
    images.

    Raises:
        DataError: A name would change when it is read back.
        ImageError: An image cannot be read. The file must contain its size.
        OSError: A file cannot be written.
    """
    target.built.mkdir(parents=True, exist_ok=True)
    for name in records.labels:
        unpadded(name, records)
    paths = [unpadded(path, records) for path in references(records, target)]
    numbered = list(zip(paths, records, strict=True))
    if Path(target.name).suffix.lower() == ".json":
        _write(target.built / target.name, numbered, records.labels, target)
        return
    for split in (*records.split_names(), None):
        part = [(path, record) for path, record in numbered if record.split == split]
        if part:
            name = f"instances_{split or 'all'}.json"
            _write(target.built / name, part, records.labels, target)


def _write(
    file: Path, part: Iterable[tuple[str, Record]], labels: LabelSpace, target: Target
) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (path, record) in enumerate(part, start=1):
        place = target.built / path if extracted(record.image) else record.image
        assert isinstance(place, Path)
        width, height = upright_size(place)
        image = {"id": number, "file_name": path, "width": width, "height": height}
        images.append(image | {EXTRA: _extra(record, path, labels, target)})
        for box in record.boxes:
            annotation = {"id": len(annotations) + 1, "image_id": number}
            annotations.append(annotation | _object(box, labels, width, height))
    categories = [{"id": i, "name": name} for i, name in enumerate(labels, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")


def _object(box: Box, labels: LabelSpace, width: int, height: int) -> dict[str, Any]:
    x, y = box.left * width, box.top * height
    w, h = (box.right - box.left) * width, (box.bottom - box.top) * height
    return {
        "category_id": labels.index(box.label) + 1,
        "bbox": [x, y, w, h],
        "area": w * h,
        "iscrowd": 0,
    }


def _extra(record: Record, path: str, labels: LabelSpace, target: Target) -> dict[str, Any]:
    """The values that COCO has no field for.

    The split is always written, because a reader may take a split from the name of the file.
    """
    shown = {box.label for box in record.boxes}
    present, absent = (names_with(record, labels, value) for value in (PRESENT, ABSENT))
    extra = {
        "key": None if record.key == path else record.key,
        "group": record.group,
        "mask": record.mask and reference(record.mask, target.home),
        "present": [name for name in present if name not in shown],
        "absent": [name for name in absent if name in shown],
        "unknown": names_with(record, labels, UNKNOWN),
    }
    return {"split": record.split, **{name: value for name, value in extra.items() if value}}
