"""Label Studio: the JSON or JSON-MIN export of a project of images.

    export/
        project-3-at-2026-01-31.json
        images/1a2b3c4d-a.jpg            under the name or the path that the export has

Source: "Label Studio JSON format of annotated tasks" and "Export" in the guide of Label Studio.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.lists import as_key, note
from manylabel.data.readers.label_studio_tasks import Mark, Task, read_export
from manylabel.data.records import Box, Record, Records
from manylabel.errors import DataError
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace

_LOOKED_AT: Final = 4096
"""Bytes at the beginning of a JSON file that are looked at to recognise an export."""
_SIGNS: Final = (b'"annotations"', b'"annotation_id"', b'"annotator"')
_TRIED: Final = 20
"""Of so many images one has to be found."""
_SERVED: Final = ("d", "filepath")
"""Parameters in which Label Studio's own addresses name a file of a local or a cloud folder."""
_PREFIX: Final = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""


def find_label_studio(path: Path) -> Path | None:
    """`path`, if it is an export, or the one export in that folder; else None.

    COCO's files end in .json too, and are JSON objects: so the first bytes are looked at.

    Raises:
        DataError: The folder holds several exports.
    """
    if not path.is_dir():
        return path if _is_export(path) else None
    files = [file for file in sorted(path.glob("*.json")) if _is_export(file)]
    if len(files) > 1:
        raise DataError(
            f"The folder holds {len(files)} exports of Label Studio.",
            where=f"{files[0]} and {files[1]}",
            fix="Give the one that is meant by its own path.",
        )
    return files[0] if files else None


def read_label_studio(
    path: Path,
    *,
    images: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Records:
    """The images of a Label Studio export; labels are all that any annotator gave, sorted.

    Choices and the labels of regions count alike. A label is present where all annotators of an
    image gave it, absent where none did, unknown where they disagree. Every label is unknown where
    nobody annotated, or every annotation was cancelled. A choice that several controls offer is
    called "control: choice". Boxes are the upright rectangles of the first annotation whose label
    is present. Predictions, drafts, texts, ratings and relations are not read. No split is given.

    Images are looked for by the path that the export has, then by ever less of its beginning, at
    last by the file's name; a query is not part of the path, and a host is its beginning.

    Args:
        path: The JSON file.
        images: The folder of the images, if they are not beside the file or in `images` there.
        image_column: The key of a task's image; "image", or the first whose value looks like one.
        label_column: The labelling control that is read, if not all. In JSON-MIN a choice of one
            is only known by this name, or by the name "choice".

    Raises:
        DataError: The file is malformed or cut short; nobody gave a label; an image has two tasks
            that differ; two images are one file; no image is found.
    """
    export = read_export(path, image_column, label_column)
    tasks = export.tasks
    shared = _shared_choices(tasks)
    answers = [[{_name(m, shared) for m in marks} for marks in t.answers] for t in tasks]
    found = {name for task in answers for names in task for name in names}
    if not found:
        raise _no_labels(path, export.counts)
    labels = LabelSpace(sorted(found), where=str(path))
    targets = _targets(answers, labels)
    files = _find_images(tasks, path, images)
    items: dict[str, tuple[Task, Record]] = {}
    for task, row, (key, file) in zip(tasks, targets, files, strict=True):
        record = Record(key, file, row, boxes=_boxes(task, row, labels, shared))
        earlier, first = items.setdefault(key, (task, record))
        _require_same(earlier, first, task, record)
    several = [task for task in answers if len(task) > 1]
    notes = (
        *note("Tasks without an annotation, all labels unknown", sum(not t for t in answers)),
        *note("Tasks with several annotations", len(several)),
        *note("Labels that annotators disagree about, unknown", _disputed(targets, answers)),
        *note("Tasks that repeat another, merged with it", len(tasks) - len(items)),
        *(f"{what}: {count:,}" for what, count in export.counts.items()),
    )
    return Records.of(labels, (record for _, record in items.values()), str(path), notes)


def _is_export(file: Path) -> bool:
    """Whether a file begins as an export does."""
    if file.suffix.lower() != ".json":
        return False
    try:
        with file.open("rb") as stream:
            head = stream.read(_LOOKED_AT)
    except OSError:  # whoever reads it says so
        return False
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    return begins and any(sign in head for sign in _SIGNS)


def _no_labels(file: Path, counts: Mapping[str, int]) -> DataError:
    passed_over = "; ".join(f"{what}: {count:,}" for what, count in counts.items())
    return DataError(
        f"No annotator gave a label. {passed_over or 'Nothing was passed over'}.",
        where=str(file),
        fix="Annotate first. Choices of one in JSON-MIN need label_column: the key they are under.",
    )


def _shared_choices(tasks: Sequence[Task]) -> set[str]:
    """The choices that several controls offer: "yes", say, of two questions."""
    marks = (mark for task in tasks for marks in task.answers for mark in marks if mark.chosen)
    uses = Counter(name for _, name in {(mark.control, mark.name) for mark in marks})
    return {name for name, count in uses.items() if count > 1}


def _name(mark: Mark, shared: set[str]) -> str:
    """What the label of a mark is called."""
    return f"{mark.control}: {mark.name}" if mark.chosen and mark.name in shared else mark.name


def _targets(answers: Sequence[Sequence[set[str]]], labels: LabelSpace) -> NDArray[np.int8]:
    """Targets, int8 [N, C]: present where all say so, absent where none does, else unknown."""
    targets = np.zeros((len(answers), len(labels)), dtype=np.int8)
    for row, task in zip(targets, answers, strict=True):
        if not task:
            row[:] = UNKNOWN
        for name, count in Counter(name for names in task for name in names).items():
            row[labels.index(name)] = PRESENT if count == len(task) else UNKNOWN
    return targets


def _disputed(targets: NDArray[np.int8], answers: Sequence[Sequence[set[str]]]) -> int:
    annotated = np.array([bool(task) for task in answers])
    return int((targets[annotated] == UNKNOWN).sum())


def _boxes(
    task: Task, targets: NDArray[np.int8], labels: LabelSpace, shared: set[str]
) -> tuple[Box, ...]:
    marks = task.answers[0] if task.answers else []
    return tuple(
        mark.box
        for mark in marks
        if mark.box and targets[labels.index(_name(mark, shared))] == PRESENT
    )


def _require_same(earlier: Task, first: Record, task: Task, record: Record) -> None:
    """Two tasks of one image say the same."""
    if not np.array_equal(first.targets, record.targets) or first.boxes != record.boxes:
        raise DataError(
            f"The image {record.key!r} has two tasks that differ.",
            where=f"{earlier.place} and {task.place}",
            fix="Keep the task that is right.",
        )


def _key(task: Task) -> str:
    """The path in the address of a task's image."""
    key = as_key(_path(task.address, task.place))
    if key == ".":
        raise _unfit_address(task.address, task.place)
    return key


def _path(address: str, place: str) -> str:
    """The path that an address names.

    Example:
        >>> _path("/data/local-files/?d=photos%2Fa.jpg", "")
        'photos/a.jpg'
        >>> _path("https://example.com/b/a.jpg?signature=1", "")
        'example.com/b/a.jpg'
    """
    is_url = "://" in address
    if not is_url and not address.startswith(("/data/", "/storage-data/")):
        if address.startswith("data:"):
            raise _unfit_address("data:...", place)
        return address
    try:
        url = urlsplit(address)
        query = parse_qs(url.query)
    except ValueError:  # no host can be called so; far too many parameters
        raise _unfit_address(address, place) from None
    served = next((query[name][0] for name in _SERVED if name in query), None)
    path = unquote(url.path)
    if path.startswith(("/data/", "/storage-data/")):
        return served or path.removeprefix("/data/")
    return f"{url.netloc}/{path.lstrip('/')}" if path.strip("/") else ""


def _unfit_address(address: str, place: str) -> DataError:
    return DataError(
        f"The image's address {address[:60]!r} names no file.",
        where=place,
        fix="Give paths or URLs of image files; say with image_column under which key they are.",
    )


def _find_images(tasks: Sequence[Task], file: Path, images: Path | None) -> list[tuple[str, Path]]:
    """The key and the file of each task's image."""
    roots = [file.parent / "images", file.parent] if images is None else [images]
    keys = [_key(task) for task in tasks]
    files = {key: _find_image(key, roots) for key in dict.fromkeys(keys)}
    if not any(files[key] for key in keys[:_TRIED]):
        raise DataError(
            f"None of the first {len(keys[:_TRIED])} images is found, {keys[0]!r} among them.",
            where=str(file),
            fix=f"Say with `images` which folder they lie in. Looked in: "
            f"{', '.join(map(str, roots))}.",
        )
    owners: dict[Path, str] = {}
    for key, found in files.items():
        if found and owners.setdefault(found, key) != key:
            raise DataError(
                f"Two images are one file: {owners[found]!r} and {key!r}.",
                where=str(found),
                fix="Put the images into folders as their addresses have them.",
            )
    return [(key, files[key] or roots[0] / key) for key in keys]


def _find_image(key: str, roots: Sequence[Path]) -> Path | None:
    """The file of an image, or None if it is not there."""
    # Texts rather than paths: a data set has many images, and each may lie in many places.
    places = (os.path.join(root, tail) for tail in _tails(key) for root in roots)
    found = next((place for place in places if os.path.isfile(place)), None)
    return None if found is None else Path(found)


def _tails(key: str) -> Iterator[str]:
    """The path, then ever less of its beginning, then the name that an upload had before."""
    parts = PurePosixPath(key).parts
    for start in range(len(parts)):
        yield "/".join(parts[start:])
    if key.startswith("upload/") and _PREFIX.match(parts[-1]):
        yield _PREFIX.sub("", parts[-1], count=1)
