"""Writes drawn scenes into a folder, as a data set in COCO's format."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, final, get_args

from manylabel.atomic.unfinished import holds_nothing
from manylabel.data.records import SPLITS, Box, Split
from manylabel.data.synthetic.layout import sample_scene
from manylabel.data.synthetic.picture import render_scene
from manylabel.data.synthetic.rules import (
    LABELS,
    RULES,
    STANDARD,
    VERSION,
    Distance,
    Relations,
    prior,
)
from manylabel.errors import ConfigError, DataError
from manylabel.files import write_errors, write_text
from manylabel.locks import LOCK, held, remove_forgotten

COUNTS: Final[Mapping[str, int]] = {"train": 3000, "val": 300, "test": 1000}
"""The default number of images of each split."""

_HEADER: Final = "scenes.json"
_UNFINISHED: Final = "scenes.partial.json"
"""The name of the header until the folder is complete."""
_CHUNK: Final = 50
"""The number of images that a worker draws at a time."""


def draw_scenes(
    folder: Path,
    *,
    seed: int = 0,
    counts: Mapping[str, int] = COUNTS,
    size: int = 128,
    relations: Relations = STANDARD,
    workers: int | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Draws the data set into `folder` and returns the folder.

    Writes images/<split>/NNNNN.jpg, instances_<split>.json (COCO; file names are relative to
    images/, boxes in pixels) and, at the end, scenes.json. A folder without scenes.json was
    interrupted, and a call with the same settings draws it again. A finished folder is not changed.

    Args:
        folder: A folder that is new, empty, or was drawn with the same settings.
        seed: Zero or more. The same seed gives the same bytes with the same versions of Pillow
            and NumPy.
        counts: The number of images by split; the splits are among train, val and test.
        size: The side of an image in pixels, 64 to 1024.
        relations: How much the labels depend on one another; the table's relations if not given.
        workers: The number of processes; None uses one per core. If there is more than one, they
            are spawned, so a script must call this under `if __name__ == "__main__":`.
        on_progress: Called with the number of images drawn so far.

    Raises:
        ConfigError: A setting is out of range, or another process is drawing into the folder.
        DataError: The folder holds something else.
        RunError: The folder cannot be written, for example without permission or on a full disk.
    """
    plan = _plan(seed, counts, size, relations)
    if _is_drawn(folder, plan):
        remove_forgotten(folder / LOCK)
        return folder
    with held(folder / LOCK):
        if not _is_drawn(folder, plan):  # another process may have drawn it meanwhile
            fix = "Free some disk space or give another folder, then draw again."
            with write_errors(folder, "The scenes", fix=fix):
                _draw(folder, plan, workers or os.cpu_count() or 1, on_progress)
    return folder


def scenes_are_drawn(
    folder: Path,
    *,
    seed: int,
    counts: Mapping[str, int],
    size: int,
    relations: Relations = STANDARD,
) -> bool:
    """Whether the folder holds exactly these scenes, complete. False if they can be drawn there.

    Raises:
        ConfigError: A setting is out of range.
        DataError: The folder holds something else.
    """
    return _is_drawn(folder, _plan(seed, counts, size, relations))


@final
@dataclass(frozen=True)
class _Plan:
    """The scenes to draw: settings within their ranges, splits in order."""

    seed: int
    counts: Mapping[Split, int]
    size: int
    relations: Relations

    def header(self) -> str:
        """The text of scenes.json: the table, and all settings that determine the scenes."""
        rules = [asdict(rule) | {"prior": round(prior(rule.name), 6)} for rule in RULES]
        settings = {"seed": self.seed, "size": self.size, "counts": dict(self.counts)}
        settings["relations"] = asdict(self.relations)
        return _as_json({"version": VERSION, **settings, "labels": rules})


def _plan(seed: int, counts: Mapping[str, int], size: int, relations: Relations) -> _Plan:
    unknown = [name for name in counts if name not in SPLITS]
    if unknown or not counts:
        raise ConfigError(
            f"There is no split '{unknown[0]}'." if unknown else "There is no split to draw.",
            where="counts",
            fix=f"The splits are {', '.join(SPLITS)}.",
        )
    limits = [("seed", seed, 0, 2**63 - 1), ("size", size, 64, 1024)]
    limits += [(f"counts['{name}']", count, 1, 99_999) for name, count in counts.items()]
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise ConfigError(
                f"{name} is {value}.", where=name, fix=f"Give a whole number from {low} to {high}."
            )
    _check(relations)
    in_order: dict[Split, int] = {split: counts[split] for split in SPLITS if split in counts}
    return _Plan(seed, in_order, size, relations)


def _check(relations: Relations) -> None:
    if not 0 <= relations.strength <= 1:  # not a number is refused, too
        raise ConfigError(
            f"The strength of the relations is {relations.strength}.",
            where="relations",
            fix="Give a number from 0 to 1.",
        )
    if relations.distance not in get_args(Distance):
        raise ConfigError(
            f"There is no distance '{relations.distance}'.",
            where="relations",
            fix=f"Give one of: {', '.join(get_args(Distance))}.",
        )


def _is_drawn(folder: Path, plan: _Plan) -> bool:
    finished, unfinished = _text(folder / _HEADER), _text(folder / _UNFINISHED)
    if finished == plan.header():
        return True
    if unfinished == plan.header() or _is_free(folder):
        return False
    what = "is not empty, or it is not a folder that can be read"
    if finished or unfinished:
        what = (
            "holds scenes (complete or interrupted) of another seed, count, size, relations or "
            "version"
        )
    raise DataError(
        f"The folder {what}.",
        where=str(folder),
        fix="Give a new or an empty folder, or delete this one first.",
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _is_free(folder: Path) -> bool:
    """Whether the folder does not exist yet or is empty."""
    try:
        return holds_nothing(folder)
    except FileNotFoundError:
        return True
    except OSError:  # a file, or a folder without permission to read
        return False


@final
@dataclass(frozen=True)
class _Chunk:
    """Some images of one split, for one worker."""

    folder: Path
    plan: _Plan
    split: Split
    indices: range


def _draw(folder: Path, plan: _Plan, workers: int, on_progress: Callable[[int], None]) -> None:
    write_text(folder / _UNFINISHED, plan.header())  # first: it says what the rest belongs to
    for split in plan.counts:
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
    chunks = [
        _Chunk(folder, plan, split, range(start, min(start + _CHUNK, count)))
        for split, count in plan.counts.items()
        for start in range(0, count, _CHUNK)
    ]
    boxes: dict[Split, list[tuple[Box, ...]]] = {split: [] for split in plan.counts}
    done = 0
    for chunk, drawn in zip(chunks, _run(chunks, workers), strict=True):
        boxes[chunk.split] += drawn
        done += len(drawn)
        on_progress(done)
    for split, split_boxes in boxes.items():
        instances = _as_json(_coco(split, plan.size, split_boxes))
        (folder / f"instances_{split}.json").write_text(instances, encoding="utf-8")
    (folder / _UNFINISHED).replace(folder / _HEADER)


def _run(chunks: Sequence[_Chunk], workers: int) -> Iterator[list[tuple[Box, ...]]]:
    """Draws the chunks and yields their boxes in order. Few chunks are drawn in this process."""
    if workers == 1 or len(chunks) < 4:
        yield from map(_draw_chunk, chunks)
        return
    # Not forked: the caller may have threads (progress bars, torch), which a fork does not copy.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupt) as pool:
        yield from pool.map(_draw_chunk, chunks)


def _ignore_interrupt() -> None:
    """Ctrl-C reaches the whole group of processes, but only the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw_chunk(chunk: _Chunk) -> list[tuple[Box, ...]]:
    boxes = []
    for index in chunk.indices:
        scene = sample_scene(chunk.plan.seed, chunk.split, index, chunk.plan.relations)
        drawing = render_scene(scene, chunk.plan.size)
        drawing.image.save(chunk.folder / "images" / _file_name(chunk.split, index), quality=92)
        boxes.append(drawing.boxes)
    return boxes


def _file_name(split: Split, index: int) -> str:
    return f"{split}/{index:05d}.jpg"


def _coco(split: Split, size: int, boxes: Sequence[tuple[Box, ...]]) -> dict[str, Any]:
    images = [
        {"id": i, "file_name": _file_name(split, i), "width": size, "height": size}
        for i in range(len(boxes))
    ]
    objects = [(i, box) for i, image_boxes in enumerate(boxes) for box in image_boxes]
    annotations = [
        {"id": number, "image_id": i} | _coco_box(box, size)
        for number, (i, box) in enumerate(objects, start=1)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(LABELS, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _coco_box(box: Box, size: int) -> dict[str, Any]:
    left, top = box.left * size, box.top * size
    width, height = (box.right - box.left) * size, (box.bottom - box.top) * size
    return {
        "category_id": LABELS.index(box.label) + 1,
        "bbox": [round(value, 2) for value in (left, top, width, height)],
        "area": round(width * height, 2),
        "iscrowd": 0,
    }


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
