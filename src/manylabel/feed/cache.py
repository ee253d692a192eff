"""The squashed images of a data set kept on disk: decoded once, then read from a memory map.

What is squashed to a fixed size before anything random happens is the same in every epoch, so
keeping it changes no pixel. A cache is named by a hash of all that its pixels depend on: a file
that changes, another list or another size is another cache.

    FOLDER/8c1f.../pixels    uint8 [N, H, W, 3], an image after the other
                   done      uint8 [N], 1 where the image is written
                   about.json, lock

An image is marked as done only when its pixels are on the disk, so a builder that was killed is
gone on with, and a cache is used only when all are done. One process builds at a time: a lock of
the operating system's, which ends with its holder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from manylabel.data.records import Records
from manylabel.errors import ImageError, RunError
from manylabel.files import write_errors
from manylabel.images import Place, identity, load_rgb
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec

_FORMAT: Final = 1
_DECIDE_PIXELS: Final = ("pillow", "simplejpeg", "torch")
"""Packages that decode and resize: another version of them is another cache."""

_CHUNK: Final = 32
"""Images that are written, brought to the disk and marked together."""


def default_folder() -> Path:
    """Where caches lie if nothing else is said: `manylabel` in the user's folder for caches."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rule: a path that is not absolute is to be ignored.
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "manylabel"


@final
@dataclass(frozen=True)
class CachePlan:
    """A cache that is there or can be built.

    Args:
        records: Whose images.
        spec: Their size and interpolation; the rest of it decides nothing here.
        folder: The cache's own folder.
    """

    records: Records
    spec: InputSpec
    folder: Path

    @property
    def planned_bytes(self) -> int:
        """The size of the whole cache on disk."""
        return len(self.records) * (_image_bytes(self.spec) + 1)

    @property
    def pixels_path(self) -> Path:
        """The file of all pixels."""
        return self.folder / "pixels"

    @property
    def done_path(self) -> Path:
        """The file that tells which images are written."""
        return self.folder / "done"

    def is_whole(self) -> bool:
        """Whether every image is there."""
        return bool(self.written().all())

    def written(self) -> NDArray[np.bool_]:
        """Which images are there, bool [N]; none if a file is missing or of the wrong length."""
        count = len(self.records)
        try:
            length = self.pixels_path.stat().st_size
            marks = np.frombuffer(self.done_path.read_bytes(), dtype=np.uint8)
        except OSError:  # what else may be wrong with the folder, building tells
            return np.zeros(count, dtype=np.bool_)
        if length != count * _image_bytes(self.spec) or len(marks) != count:
            return np.zeros(count, dtype=np.bool_)
        return marks == 1


def plan_cache(records: Records, spec: InputSpec, folder: Path) -> CachePlan:
    """The cache of `records` squashed to `spec`'s size, among the caches in `folder`.

    An image that is not there is found out when the cache is built.
    """
    about = [_FORMAT, spec.height, spec.width, spec.resize, *map(version, _DECIDE_PIXELS)]
    digest = hashlib.sha256(json.dumps(about).encode())
    for key, place in zip(records.keys, records.images, strict=True):
        digest.update(f"\n{key}\0{_identity(place)}".encode())
    return CachePlan(records, spec, folder / digest.hexdigest()[:32])


def fill_cache(
    plan: CachePlan,
    *,
    workers: int,
    on_progress: Callable[[int], None] = lambda images: None,
    on_wait: Callable[[], None] = lambda: None,
) -> list[ImageError]:
    """Write the images of a cache that are not there yet.

    Returns:
        The images that cannot be used, in the records' order. Without any the cache is whole.

    Args:
        plan: Which cache.
        workers: Threads: decoding, resizing and writing all happen outside of Python's lock.
        on_progress: Called with a number of images that are done in addition.
        on_wait: Called once if another process builds this cache, before waiting for it.

    Raises:
        RunError: The disk has not the room, or cannot be written to.
    """
    fix = "Give another folder as cache_folder, or set cache = false."
    with write_errors(plan.folder, "The cache of images", fix=fix):
        plan.folder.mkdir(parents=True, exist_ok=True)
        with _alone(plan.folder, on_wait):
            return _fill(plan, workers, on_progress)


@final
class ImageCache:
    """The images of a whole cache, in the order of its records.

    Processes share one copy in memory: a forked one the map itself, one that gets this by pickle
    opens it anew.
    """

    def __init__(self, plan: CachePlan) -> None:
        assert plan.is_whole(), f"{plan.folder} is not whole"
        height, width = plan.spec.height, plan.spec.width
        self._open(plan.pixels_path, (len(plan.records), height, width, 3))

    def _open(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path, self._shape = path, shape
        images = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
        with warnings.catch_warnings():
            # Nobody writes into it, so that it cannot be written is no fault.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            self._images = torch.from_numpy(images).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        """One image, uint8 [3, H, W] in channels-last memory. Not to be written to."""
        return self._images[index]

    def __getstate__(self) -> tuple[Path, tuple[int, ...]]:
        return self._path, self._shape

    def __setstate__(self, state: tuple[Path, tuple[int, ...]]) -> None:
        self._open(*state)


@contextmanager
def _alone(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fill(plan: CachePlan, workers: int, on_progress: Callable[[int], None]) -> list[ImageError]:
    written = plan.written()
    missing = np.flatnonzero(~written)
    _require_room(plan, len(missing))
    if not written.any():
        _begin(plan)
    on_progress(int(written.sum()))
    chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    bad: list[ImageError] = []
    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        with plan.done_path.open("r+b") as marks:
            for chunk, errors in zip(
                chunks, pool.map(lambda chunk: _write(plan, chunk), chunks), strict=True
            ):
                for index in chunk.tolist():
                    if index not in errors:
                        marks.seek(index)
                        marks.write(b"\x01")
                marks.flush()
                bad += errors.values()
                on_progress(len(chunk))
    finally:
        pool.shutdown(cancel_futures=True)
    return bad


def _begin(plan: CachePlan) -> None:
    """Files of full length without an image."""
    count = len(plan.records)
    # The marks go first and come last: at no time do old ones stand beside new pixels. A file
    # that someone has mapped is left to him, not emptied under his hands.
    plan.done_path.unlink(missing_ok=True)
    plan.pixels_path.unlink(missing_ok=True)
    with plan.pixels_path.open("wb") as file:
        file.truncate(count * _image_bytes(plan.spec))
    about = {
        "source": plan.records.source,
        "images": count,
        "height": plan.spec.height,
        "width": plan.spec.width,
        "resize": plan.spec.resize,
    }
    (plan.folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    plan.done_path.write_bytes(bytes(count))


def _write(plan: CachePlan, chunk: NDArray[np.int64]) -> dict[int, ImageError]:
    """Bring the images of these positions to the disk; gives those that cannot be used."""
    errors: dict[int, ImageError] = {}
    with plan.pixels_path.open("r+b") as file:
        for index in chunk.tolist():
            try:
                pixels = to_pixels(load_rgb(plan.records.images[index]), plan.spec)
            except ImageError as error:
                errors[index] = error
                continue
            file.seek(index * _image_bytes(plan.spec))
            file.write(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()).data)
        file.flush()
        os.fsync(file.fileno())
    return errors


def _require_room(plan: CachePlan, images: int) -> None:
    needed = images * (_image_bytes(plan.spec) + 1)
    free = shutil.disk_usage(plan.folder).free
    if needed > free:
        raise RunError(
            f"The cache of images takes {needed / 1e9:,.1f} GB more, and the disk has "
            f"{free / 1e9:,.1f} GB free.",
            where=str(plan.folder),
            fix="Make room, give a folder on another disk as cache_folder, or set cache = false.",
        )


def _image_bytes(spec: InputSpec) -> int:
    return spec.height * spec.width * 3


def _identity(place: Place) -> str:
    """A text that changes when the image does; only the place if the image does not exist."""
    try:
        return identity(place)
    except OSError:
        return f"not there: {place}"
