"""A cache on disk of resized images: each is decoded once, then read from a memory map.

The resize to a fixed size comes before anything random. So its result is the same in every epoch,
and the cache changes no pixel. The name of a cache is a hash of everything that its pixels depend
on. If a file, the list of images or the size changes, another cache is used.

    FOLDER/8c1f.../pixels    uint8 [N, H, W, 3], one image after another
                   sums      uint32 [N], the checksum of each image; 0 where it is not written
                   contents  uint64 [N], the hash of what each image shows before it is resized
                   about.json, .lock

The checksum of an image is written only when its pixels are on the disk. So the work of a process
that was killed can be continued. A cache is used only when all images have one. `forget_damaged`
compares pixels and checksums, so that an image that was damaged on the disk is decoded again. One
process builds a cache at a time: it holds a lock, which is released when the process ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manylabel.data.records import Records
from manylabel.errors import ImageError, RunError, os_errors_as
from manylabel.files import write_bytes, write_errors, write_text
from manylabel.images import Memory, Place, free_memory_share, identity, prepared
from manylabel.locks import LOCK, held
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec

_FORMAT: Final = 3
_PIXEL_PACKAGES: Final = ("pillow", "simplejpeg", "torch")
"""Packages that decode and resize. Another version of one of them makes another cache."""

_CHUNK: Final = 32
"""The number of images that are written and synchronised to the disk, or read, together."""

_SUM_BYTES: Final = 4
_CONTENT: Final = np.dtype("<u8")


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
        return len(self.records) * (_image_bytes(self.spec) + _SUM_BYTES)

    @property
    def pixels_path(self) -> Path:
        """The file of all pixels."""
        return self.folder / "pixels"

    @property
    def sums_path(self) -> Path:
        """The file of checksums."""
        return self.folder / "sums"

    @property
    def contents_path(self) -> Path:
        """The file of hashes."""
        return self.folder / "contents"

    def contents(self) -> NDArray[np.uint64]:
        """The hash of what each image shows, uint64 [N], as in `images.content`; 0: not known."""
        count = len(self.records)
        try:
            data = self.contents_path.read_bytes()
        except OSError:
            data = b""
        if len(data) != count * _CONTENT.itemsize:
            return np.zeros(count, dtype=np.uint64)
        return np.frombuffer(data, dtype=_CONTENT).astype(np.uint64)

    def is_whole(self) -> bool:
        """Whether every image is in the cache."""
        return bool(self.written().all())

    def written(self) -> NDArray[np.bool_]:
        """Which images are in the cache, bool [N]."""
        return self.sums() != 0

    def sums(self) -> NDArray[np.uint32]:
        """The checksum of each image, uint32 [N]; 0 for an image that is not written.

        All are 0 if a file is missing or its length is wrong.
        """
        count = len(self.records)
        try:
            length = self.pixels_path.stat().st_size
            data = self.sums_path.read_bytes()
        except OSError:  # Any other fault of the folder raises an error when the cache is built.
            return np.zeros(count, dtype=np.uint32)
        if length != count * _image_bytes(self.spec) or len(data) != count * _SUM_BYTES:
            return np.zeros(count, dtype=np.uint32)
        return np.frombuffer(data, dtype="<u4").astype(np.uint32)


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
        with held(plan.folder / LOCK, on_wait=on_wait):
            return _write_missing(plan, workers, on_progress)


def forget_damaged(
    plan: CachePlan,
    *,
    workers: int,
    on_progress: Callable[[int], None] = lambda images: None,
    on_wait: Callable[[], None] = lambda: None,
) -> int:
    """Compare all pixels with their checksums, and take damaged images out of the cache.

    It does not matter whether the pixels or the checksum were damaged. `fill_cache` then writes
    these images again.

    Args:
        plan: The cache.
        workers: The number of threads. Reading and adding up release Python's global lock.
        on_progress: Called with the number of images that were compared since the last call.
        on_wait: Called once before waiting, if another process builds this cache.

    Returns:
        The number of damaged images.

    Raises:
        RunError: The cache cannot be read, or cannot be written to.
    """
    fix = "Remove this folder, set cache_folder to another one, or set cache = false."
    sums = plan.sums()
    chunks = _chunks(np.flatnonzero(sums))
    with os_errors_as(RunError, "The cache of images cannot be read", where=plan.folder, fix=fix):
        damaged = np.zeros(0, dtype=np.int64)
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            for chunk, bad in zip(
                chunks, pool.map(lambda chunk: _damaged(plan, sums, chunk), chunks), strict=True
            ):
                damaged = np.append(damaged, bad)
                on_progress(len(chunk))
    if len(damaged):
        with (
            write_errors(plan.folder, "The cache of images", fix=fix),
            held(plan.folder / LOCK, on_wait=on_wait),
        ):
            still = _damaged(plan, plan.sums(), damaged)  # another process may have mended them
            _write_sums(plan, dict.fromkeys(still.tolist(), 0))
    return len(damaged)


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


def _write_missing(
    plan: CachePlan, workers: int, on_progress: Callable[[int], None]
) -> list[ImageError]:
    written = plan.written()
    missing = np.flatnonzero(~written)
    _require_free_space(plan, len(missing))
    if not written.any():
        _create_files(plan)
    on_progress(int(written.sum()))
    chunks = _chunks(missing)
    bad: list[ImageError] = []
    memory = free_memory_share()
    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        results = pool.map(lambda chunk: _write_images(plan, chunk, memory), chunks)
        for chunk, done in zip(chunks, results, strict=True):
            _write_contents(plan, done.contents)
            _write_sums(plan, done.sums)
            bad += done.errors
            on_progress(len(chunk))
    finally:
        pool.shutdown(cancel_futures=True)
    return bad


def _create_files(plan: CachePlan) -> None:
    """Create the files of a cache at their full length. No image has a checksum."""
    count = len(plan.records)
    # The old sums are removed first and the new ones are written last. So old sums never exist
    # beside new pixels. The old file of pixels is removed and not emptied, because another process
    # may have mapped it: that process keeps its pixels.
    plan.sums_path.unlink(missing_ok=True)
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
    write_text(plan.folder / "about.json", json.dumps(about, indent=2) + "\n")
    write_bytes(plan.contents_path, bytes(count * _CONTENT.itemsize))
    write_bytes(plan.sums_path, bytes(count * _SUM_BYTES))


class _Written(NamedTuple):
    """The images of a chunk: checksums and hashes of those that are on the disk, other errors."""

    sums: dict[int, int]
    contents: dict[int, int]
    errors: list[ImageError]


def _write_images(plan: CachePlan, chunk: NDArray[np.int64], memory: Memory) -> _Written:
    """Write the images at these positions to the disk."""
    sums: dict[int, int] = {}
    contents: dict[int, int] = {}
    errors: list[ImageError] = []
    with plan.pixels_path.open("r+b") as file:
        for index in chunk.tolist():
            try:
                pixels = prepared(
                    plan.records.images[index],
                    lambda image: to_pixels(image, plan.spec),
                    size=(plan.spec.height, plan.spec.width),
                    memory=memory,
                    on_content=partial(contents.__setitem__, index),
                )
            except ImageError as error:
                errors.append(error)
                continue
            data = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()).data
            file.seek(index * _image_bytes(plan.spec))
            file.write(data)
            sums[index] = _sum_of(data, index)
        file.flush()
        os.fsync(file.fileno())
    return _Written(sums, contents, errors)


def _write_contents(plan: CachePlan, contents: Mapping[int, int]) -> None:
    with plan.contents_path.open("r+b") as file:
        for index, value in contents.items():
            file.seek(index * _CONTENT.itemsize)
            file.write(value.to_bytes(_CONTENT.itemsize, "little"))


def _write_sums(plan: CachePlan, sums: Mapping[int, int]) -> None:
    with plan.sums_path.open("r+b") as file:
        for index, value in sums.items():
            file.seek(index * _SUM_BYTES)
            file.write(value.to_bytes(_SUM_BYTES, "little"))


def _damaged(
    plan: CachePlan, sums: NDArray[np.uint32], chunk: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those of the images at these positions whose pixels have another checksum."""
    size, bad = _image_bytes(plan.spec), []
    with plan.pixels_path.open("rb") as file:
        for index in chunk.tolist():
            file.seek(index * size)
            if _sum_of(file.read(size), index) != sums[index]:
                bad.append(index)
    return np.array(bad, dtype=np.int64)


def _sum_of(pixels: bytes | memoryview, index: int) -> int:
    """The checksum of an image at its position in the cache. It is never 0."""
    return zlib.crc32(pixels, index & 0xFFFFFFFF) or 1


def _chunks(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]


def _require_free_space(plan: CachePlan, images: int) -> None:
    needed = images * (_image_bytes(plan.spec) + _SUM_BYTES)
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
