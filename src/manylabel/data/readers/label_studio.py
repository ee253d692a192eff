"""Label Studio: the JSON or JSON-MIN export of a project of images.

    export/
        project-3-at-2026-01-31.json
        images/1a2b3c4d-a.jpg            with the name or the path that is in the export

Source: "Label Studio JSON format of annotated tasks" and "Export" in the guide of Label Studio.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.lists import as_key, note
from manylabel.data.formats.room import require_matrix_room
from manylabel.data.readers.label_studio_tasks import Mark, Task, read_export
from manylabel.data.records import Box, Record, Records
from manylabel.errors import DataError
from manylabel.files import open_regular
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace

_HEAD_BYTES: Final = 4096
"""An export is recognised by this many bytes at the beginning of the file."""
_SIGNS: Final = (b'"annotations"', b'"completions"', b'"annotation_id"', b'"annotator"')
_TRIED: Final = 20
"""At least one of this many first images must exist."""
_PATH_PARAMETERS: Final = ("d", "filepath")
"""Query parameters of Label Studio's addresses that hold the path of a local or cloud file."""
_PREFIX: Final = re.compile(r"[0-9a-f]{8}-(?=.)")
"""The prefix that Label Studio adds to the name of an uploaded file."""


def find_label_studio(path: Path) -> Path | None:
    """`path`, if it is an export, or the only export in the folder `path`; else None.

    Files of COCO end in .json too, but they are JSON objects. So the first bytes are checked.

    Raises:
        DataError: The folder contains several exports.
    """
    if not path.is_dir():
        return path if _is_export(path) else None
    files = [file for file in sorted(path.glob("*.json")) if _is_export(file)]
    if len(files) > 1:
        raise DataError(
            f"The folder contains {len(files)} exports of Label Studio.",
            where=f"{files[0]} and {files[1]}",
            fix="Give the path of one export.",
        )
    return files[0] if files else None


def read_label_studio(
    path: Path,
    *,
    images: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Records:
    """The images of a Label Studio export. The labels are all that any annotator gave, sorted.

    Choices and the labels of regions are read in the same way. A label is present if all annotators
    of the image gave it, absent if none did, and unknown if they disagree. All labels of an image
    are unknown if nobody annotated it, or if all its annotations were cancelled. If several
    controls offer the same choice, its label is "control: choice". Boxes are the upright rectangles
    of the first annotation whose label is present. Predictions, drafts, texts, ratings and
    relations are not read. An export has no splits.

    An image is searched for by its path in the export. If it is not there, the first part of the
    path is removed, and so on, until only the file name is left. The path of a URL begins with its
    host and does not include its query.

    Args:
        path: The JSON file.
        images: The folder of the images, if they are not beside the file or in its folder `images`.
        image_column: The key of the image in a task. If None, it is "image", or else the first key
            whose value looks like an image.
        label_column: The labelling control to read. If None, all are read. In JSON-MIN, a single
            choice is recognised only if its control has this name or the name "choice".

    Raises:
        DataError: The file is malformed or incomplete; nobody gave a label; an image has two tasks
            that differ; two images have the same file; no image is found.
    """
    export = read_export(path, image_column, label_column)
    tasks = export.tasks
    shared = _shared_choices(tasks)
    answers = [[{_name(m, shared) for m in marks} for marks in t.answers] for t in tasks]
    found = {name for task in answers for names in task for name in names}
    if not found:
        raise _no_labels_error(path, export.counts)
    labels = LabelSpace(sorted(found), where=str(path))
    require_matrix_room(len(answers), len(labels), str(path))
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
        *note(
            "Targets unknown because annotators disagree", _count_disagreements(targets, answers)
        ),
        *note("Tasks that repeat another task, merged with it", len(tasks) - len(items)),
        *(f"{what}: {count:,}" for what, count in export.counts.items()),
    )
    records = Records.of(labels, (record for _, record in items.values()), str(path), notes)
    return replace(records, absent_if_unnamed=True)


def _is_export(file: Path) -> bool:
    """Whether a file begins like an export."""
    if file.suffix.lower() != ".json":
        return False
    try:
        with open_regular(file) as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:  # The reader of this file raises an error that explains.
        return False
    begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    return begins and any(sign in head for sign in _SIGNS)


def _no_labels_error(file: Path, counts: Mapping[str, int]) -> DataError:
    skipped = "; ".join(f"{what}: {count:,}" for what, count in counts.items())
    return DataError(
        f"No annotator gave a label. {skipped or 'Nothing was skipped'}.",
        where=str(file),
        fix="Annotate the images first. If JSON-MIN has single choices, give their key with "
        "--label-column.",
    )


def _shared_choices(tasks: Sequence[Task]) -> set[str]:
    """The choices that several controls offer, for example "yes" for two questions."""
    marks = (mark for task in tasks for marks in task.answers for mark in marks if mark.chosen)
    uses = Counter(name for _, name in {(mark.control, mark.name) for mark in marks})
    return {name for name, count in uses.items() if count > 1}


def _name(mark: Mark, shared: set[str]) -> str:
    """The name of the label of a mark."""
    return f"{mark.control}: {mark.name}" if mark.chosen and mark.name in shared else mark.name


def _targets(answers: Sequence[Sequence[set[str]]], labels: LabelSpace) -> NDArray[np.int8]:
    """Targets, int8 [N, C]: present if all annotators say so, absent if none does, else unknown."""
    targets = np.zeros((len(answers), len(labels)), dtype=np.int8)
    for row, task in zip(targets, answers, strict=True):
        if not task:
            row[:] = UNKNOWN
        for name, count in Counter(name for names in task for name in names).items():
            row[labels.index(name)] = PRESENT if count == len(task) else UNKNOWN
    return targets


def _count_disagreements(targets: NDArray[np.int8], answers: Sequence[Sequence[set[str]]]) -> int:
    """The number of unknown targets of images that someone annotated."""
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
    """Refuse two tasks of one image that differ in targets or boxes."""
    if not np.array_equal(first.targets, record.targets) or first.boxes != record.boxes:
        raise DataError(
            f"The image {record.key!r} has two tasks that differ.",
            where=f"{earlier.place} and {task.place}",
            fix="Keep the correct task.",
        )


def _key(task: Task) -> str:
    """The key of an image: the path in its address."""
    key = as_key(_path(task.address, task.place))
    if key == ".":
        raise _address_error(task.address, task.place)
    return key


def _path(address: str, place: str) -> str:
    """The path in an address.

    Example:
        >>> _path("/data/local-files/?d=photos%2Fa.jpg", "")
        'photos/a.jpg'
        >>> _path("https://example.com/b/a.jpg?signature=1", "")
        'example.com/b/a.jpg'
    """
    is_url = "://" in address
    if not is_url and not address.startswith(("/data/", "/storage-data/")):
        if address.startswith("data:"):
            raise _address_error("data:...", place)
        return address
    try:
        url = urlsplit(address)
        query = parse_qs(url.query)
    except ValueError:  # The host is not valid, or there are too many parameters.
        raise _address_error(address, place) from None
    from_query = next((query[name][0] for name in _PATH_PARAMETERS if name in query), None)
    path = unquote(url.path)
    if path.startswith(("/data/", "/storage-data/")):
        return from_query or path.removeprefix("/data/")
    return f"{url.netloc}/{path.lstrip('/')}" if path.strip("/") else ""


def _address_error(address: str, place: str) -> DataError:
    return DataError(
        f"The address of the image, {address[:60]!r}, is not the path or URL of a file.",
        where=place,
        fix="Give paths or URLs of image files. If they are under another key, name it with "
        "--image-column.",
    )


def _find_images(tasks: Sequence[Task], file: Path, images: Path | None) -> list[tuple[str, Path]]:
    """The key and the file of the image of each task."""
    roots = [file.parent / "images", file.parent] if images is None else [images]
    keys = [_key(task) for task in tasks]
    files = {key: _find_image(key, roots) for key in dict.fromkeys(keys)}
    if not any(files[key] for key in keys[:_TRIED]):
        raise DataError(
            f"None of the first {len(keys[:_TRIED])} images was found; the first is {keys[0]!r}.",
            where=str(file),
            fix=f"Give their folder with --images. Tried: {', '.join(map(str, roots))}.",
        )
    owners: dict[Path, str] = {}
    for key, found in files.items():
        if found and owners.setdefault(found, key) != key:
            raise DataError(
                f"Two images have the same file: {owners[found]!r} and {key!r}.",
                where=str(found),
                fix="Put the images into the folders that their addresses name.",
            )
    return [(key, files[key] or roots[0] / key) for key in keys]


def _find_image(key: str, roots: Sequence[Path]) -> Path | None:
    """The file of an image, or None if it does not exist."""
    # Strings are faster than paths. There are many images, and many places for each.
    places = (os.path.join(root, tail) for tail in _tails(key) for root in roots)
    found = next((place for place in places if os.path.isfile(place)), None)
    return None if found is None else Path(found)


def _tails(key: str) -> Iterator[str]:
    """The ends of a path: first the whole path, then shorter ends, last the original upload name.

    The original name is the name that an uploaded file had before Label Studio added a prefix.
    """
    parts = PurePosixPath(key).parts
    for start in range(len(parts)):
        yield "/".join(parts[start:])
    if key.startswith("upload/") and _PREFIX.match(parts[-1]):
        yield _PREFIX.sub("", parts[-1], count=1)
