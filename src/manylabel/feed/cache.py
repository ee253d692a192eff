"""A cache on disk of resized images: each is decoded once, then read from a memory map.

The resize to a fixed size comes before anything random. So its result is the same in every epoch,
and the cache changes no pixel. The name of a cache is a hash of everything that its pixels depend
on. If a file, the list of images or the size changes, another cache is used.

    FOLDER/8c1f.../pixels    uint8 [N, H, W, 3], one image after another
                   done      uint8 [N], 1 where the image is written
                   about.json, lock

An image is marked as done only when its pixels are on the disk. So the work of a process that was
killed can be continued. A cache is used only when all images are done. One process builds a cache
at a time: it holds a lock of the operating system, which is released when the process ends.
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
from manylabel.images import Memory, Place, free_memory_share, identity, prepared
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec

_FORMAT: Final = 1
_PIXEL_PACKAGES: Final = ("pillow", "simplejpeg", "torch")
"""Packages that decode and resize. Another version of one of them makes another cache."""

_CHUNK: Final = 32
"""The number of images that are written, synchronised to the disk and marked together."""


def default_folder() -> Path:
    """The default folder of caches: `manylabel` in the user's folder for caches."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a path that is not absolute must be ignored.
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "manylabel"


@final
@dataclass(frozen=True)
class CachePlan:
    """A cache that exists or can be built.

    Args:
        records: The images of these records are in the cache.
        spec: Height, width and interpolation of the resize. Its other settings have no effect here.
        folder: The folder of this one cache.
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
        """The file of marks that say which images are written."""
        return self.folder / "done"

    def is_whole(self) -> bool:
        """Whether every image is in the cache."""
        return bool(self.written().all())

    def written(self) -> NDArray[np.bool_]:
        """Which images are in the cache, bool [N]. All are False if a file is missing or damaged.

        A file is damaged if its length is wrong.
        """
        count = len(self.records)
        try:
            length = self.pixels_path.stat().st_size
            marks = np.frombuffer(self.done_path.read_bytes(), dtype=np.uint8)
        except OSError:  # Any other fault of the folder raises an error when the cache is built.
            return np.zeros(count, dtype=np.bool_)
        if length != count * _image_bytes(self.spec) or len(marks) != count:
            return np.zeros(count, dtype=np.bool_)
        return marks == 1


def plan_cache(records: Records, spec: InputSpec, folder: Path) -> CachePlan:
    """The cache in `folder` of the images of `records`, resized to the size of `spec`.

    A missing image raises no error here. It is reported when the cache is built.
    """
    about = [_FORMAT, spec.height, spec.width, spec.resize, *map(version, _PIXEL_PACKAGES)]
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
    """Write the images that are not in the cache yet.

    Args:
        plan: The cache.
        workers: The number of threads. Decoding, resizing and writing release Python's global lock.
        on_progress: Called with the number of images that were done since the last call.
        on_wait: Called once before waiting, if another process builds this cache.

    Returns:
        The images that cannot be used, in the order of the records. If there are none, the cache
        is complete.

    Raises:
        RunError: The disk has too little free space, or cannot be written to.
    """
    fix = "Set cache_folder to another folder, or set cache = false."
    with write_errors(plan.folder, "The cache of images", fix=fix):
        plan.folder.mkdir(parents=True, exist_ok=True)
        with _locked(plan.folder, on_wait):
            return _write_missing(plan, workers, on_progress)


@final
class ImageCache:
    """The images of a complete cache, in the order of its records.

    All processes share one copy in memory. A forked process uses the same memory map. A process
    that receives this object by pickle opens the file again.
    """

    def __init__(self, plan: CachePlan) -> None:
        assert plan.is_whole(), f"{plan.folder} is not complete"
        height, width = plan.spec.height, plan.spec.width
        self._open(plan.pixels_path, (len(plan.records), height, width, 3))

    def _open(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path, self._shape = path, shape
        images = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
        with warnings.catch_warnings():
            # The array is read-only on purpose: nothing writes to it.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            self._images = torch.from_numpy(images).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        """One image, uint8 [3, H, W] in channels-last memory. Do not write to it."""
        return self._images[index]

    def __getstate__(self) -> tuple[Path, tuple[int, ...]]:
        return self._path, self._shape

    def __setstate__(self, state: tuple[Path, tuple[int, ...]]) -> None:
        self._open(*state)


@contextmanager
def _locked(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a cache, so that no other process writes to it."""
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


def _write_missing(
    plan: CachePlan, workers: int, on_progress: Callable[[int], None]
) -> list[ImageError]:
    written = plan.written()
    missing = np.flatnonzero(~written)
    _require_free_space(plan, len(missing))
    if not written.any():
        _create_files(plan)
    on_progress(int(written.sum()))
    chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    bad: list[ImageError] = []
    memory = free_memory_share()
    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        with plan.done_path.open("r+b") as marks:
            results = pool.map(lambda chunk: _write_images(plan, chunk, memory), chunks)
            for chunk, errors in zip(chunks, results, strict=True):
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


def _create_files(plan: CachePlan) -> None:
    """Create the files of a cache at their full length. No image is marked as done."""
    count = len(plan.records)
    # The old marks are removed first and the new ones are written last. So old marks never exist
    # beside new pixels. The old file of pixels is removed and not emptied, because another process
    # may have mapped it: that process keeps its pixels.
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


def _write_images(
    plan: CachePlan, chunk: NDArray[np.int64], memory: Memory
) -> dict[int, ImageError]:
    """Write the images at these positions to the disk. Returns the errors of unusable images."""
    errors: dict[int, ImageError] = {}
    with plan.pixels_path.open("r+b") as file:
        for index in chunk.tolist():
            try:
                pixels = prepared(
                    plan.records.images[index],
                    lambda image: to_pixels(image, plan.spec),
                    size=(plan.spec.height, plan.spec.width),
                    memory=memory,
                )
            except ImageError as error:
                errors[index] = error
                continue
            file.seek(index * _image_bytes(plan.spec))
            file.write(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()).data)
        file.flush()
        os.fsync(file.fileno())
    return errors


def _require_free_space(plan: CachePlan, images: int) -> None:
    needed = images * (_image_bytes(plan.spec) + 1)
    free = shutil.disk_usage(plan.folder).free
    if needed > free:
        raise RunError(
            f"The cache of images needs {needed / 1e9:,.1f} GB more, but the disk has only "
            f"{free / 1e9:,.1f} GB free.",
            where=str(plan.folder),
            fix="Free disk space, set cache_folder to a folder on another disk, or set "
            "cache = false.",
        )


def _image_bytes(spec: InputSpec) -> int:
    return spec.height * spec.width * 3


def _identity(place: Place) -> str:
    """A text that changes when the image changes. If the image does not exist: only its place."""
    try:
        return identity(place)
    except OSError:
        return f"not there: {place}"
