"""Opens every image once, and keeps its size and a few hundred bytes to compare it with others.

A JPEG is decoded at a reduced size, down to an eighth. All of its entropy-coded data is read, so
truncated files are found, but most of the inverse transform is skipped.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from manylabel.data.places import Places
from manylabel.data.records import Records
from manylabel.errors import ImageError
from manylabel.images import Crop, Memory, Place, free_memory_share, open_image, prepared
from manylabel.images.decoding import image_errors, reading, room
from manylabel.images.limits import PIXEL_BYTES, decoded_bytes, require_size
from manylabel.images.opening import open_header
from manylabel.images.places import file_bytes
from manylabel.images.quiet import QUIET

SIDE: Final = 16
"""The side, in pixels, of the thumbnails that are used to compare images."""

_FILTER: Final = Image.Resampling.BILINEAR
"""Pillow's box filter uses whole pixels, so its thumbnails depend on the size of the decoded image:
six times as much as with this filter, measured on photographs decoded at an eighth."""

_TINTS: Final = 4
"""The side of the grid of colours that is kept of a thumbnail."""

_DECODED_SIDE: Final = 2 * SIDE
"""A JPEG is not decoded smaller than this, in pixels."""

_TRANSPOSED: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange width and height."""

_JOB: Final = 32
"""The number of images that a thread processes before it reports."""


class Look(NamedTuple):
    """What is kept of one image."""

    size: tuple[int, int]
    """Width and height of the upright image, pixels."""
    digest: bytes
    """A hash of the file's bytes, or of the pixels if the image is a crop."""
    luma: NDArray[np.uint8]
    """[16, 16], brightness."""
    tints: NDArray[np.uint8]
    """[4, 4, 2], Cb and Cr."""
    bits: int = 0
    """The bits of 16 that a grey image of 16 bits uses: 8, 10, 12, 14 or 16; 0 for other images."""


@final
@dataclass(frozen=True, slots=True)
class Looks:
    """What is kept of N images. An image that cannot be used has zeros and an error.

    Args:
        sizes: int32 [N, 2], width and height in pixels.
        digests: N hashes of the files' bytes; empty for a bad image.
        luma: uint8 [N, 16, 16], brightness.
        tints: uint8 [N, 4, 4, 2], Cb and Cr.
        bits: uint8 [N], the bits that grey images of 16 bits use; 0 for other images.
        errors: The error of each bad image, by its position.
    """

    sizes: NDArray[np.int32]
    digests: list[bytes]
    luma: NDArray[np.uint8]
    tints: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    errors: dict[int, ImageError]

    def good(self) -> NDArray[np.intp]:
        """The positions of the images that could be opened, in rising order."""
        return np.flatnonzero(self.sizes[:, 0] > 0)


def look_at_all(
    records: Records, *, workers: int, on_progress: Callable[[int], None] | None = None
) -> Looks:
    """Opens each image and keeps what `Looks` holds, in order.

    Args:
        records: N images; each is opened and decoded.
        workers: The number of threads. Decoding releases Python's global interpreter lock.
        on_progress: Called with the number of images done.
    """
    n = len(records)
    looks = Looks(
        sizes=np.zeros((n, 2), dtype=np.int32),
        digests=[b""] * n,
        luma=np.zeros((n, SIDE, SIDE), dtype=np.uint8),
        tints=np.zeros((n, _TINTS, _TINTS, 2), dtype=np.uint8),
        bits=np.zeros(n, dtype=np.uint8),
        errors={},
    )
    done = 0
    for seen in _in_threads(records.images, workers, free_memory_share()):
        for i, one in enumerate(seen, start=done):
            if isinstance(one, ImageError):
                looks.errors[i] = one
            else:
                looks.sizes[i], looks.digests[i], looks.luma[i], looks.tints[i] = one[:4]
                looks.bits[i] = one.bits
        done += len(seen)
        if on_progress is not None:
            on_progress(done)
    return looks


def look(place: Place, memory: Memory | None = None) -> Look:
    """Opens the image at `place` and keeps what `Look` holds.

    Args:
        place: The place of the image.
        memory: Waits until there is room for decoding the image.

    Raises:
        ImageError: The image cannot be used, as for `open_image`.
    """
    if isinstance(place, Crop):
        return prepared(place, lambda pixels: _whole(pixels, pixels.tobytes()), memory=memory)
    with image_errors(str(place)), QUIET, reading(place, memory):
        data = file_bytes(place)
        reduced = _reduced(data, memory)
        if reduced is not None:
            return _kept(*reduced, data)
        wide = open_header(io.BytesIO(data)).mode.startswith("I;16")
        return prepared(
            data,
            lambda pixels: _whole(pixels, data)._replace(bits=_used_bits(pixels) if wide else 0),
            memory=memory,
        )


def _in_threads(places: Places, workers: int, memory: Memory) -> Iterator[list[Look | ImageError]]:
    """The looks at all places, in order, a few dozen at a time."""
    every = range(len(places))
    jobs = [every[start : start + _JOB] for start in range(0, len(places), _JOB)]
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield from pool.map(lambda job: _job([places[i] for i in job], memory), jobs)
    finally:
        pool.shutdown(cancel_futures=True)  # otherwise Ctrl-C would wait for all images


def _job(places: Sequence[Place], memory: Memory) -> list[Look | ImageError]:
    seen: list[Look | ImageError] = []
    for place in places:
        try:
            seen.append(look(place, memory))
        except ImageError as error:
            seen.append(error)
    return seen


def _reduced(data: bytes, memory: Memory | None) -> tuple[Image.Image, tuple[int, int]] | None:
    """The upright thumbnail of a JPEG, and the full size of the upright image.

    None if it is another kind of file, or if anything is wrong: then `open_image` decides.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        jpeg = open_header(io.BytesIO(data))
        if not isinstance(jpeg, JpegImageFile):
            return None
        width, height = jpeg.size
        require_size(width, height)
        needed = decoded_bytes(jpeg, data, pixels=0)
        drafted = jpeg.draft("RGB", (_DECODED_SIDE, _DECODED_SIDE))
        transposed = jpeg.getexif().get(ExifTags.Base.Orientation) in _TRANSPOSED
        # The last row and column may lie partly outside the image; `box` is its true extent.
        box = drafted[1] if drafted else None
        with room(memory, needed + PIXEL_BYTES * jpeg.width * jpeg.height):
            thumbnail = jpeg.resize((SIDE, SIDE), _FILTER, box)
        return open_image(thumbnail), (height, width) if transposed else (width, height)
    except Exception:  # a decoder may raise anything; `open_image` then gives the proper error
        return None


def _kept(thumbnail: Image.Image, size: tuple[int, int], data: bytes) -> Look:
    pixels = np.asarray(thumbnail.convert("YCbCr"))
    cell = SIDE // _TINTS
    tints = pixels[..., 1:].reshape(_TINTS, cell, _TINTS, cell, 2).mean(axis=(1, 3))
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return Look(size, digest, pixels[..., 0], tints.astype(np.uint8))


def _used_bits(pixels: NDArray[np.uint8]) -> int:
    """The bits that values of 16 bits use, from the 8 that are kept of them; 0 if all are black."""
    brightest = int(pixels.max())
    if not brightest:
        return 0
    return next((n for n in (8, 10, 12, 14) if brightest <= round((2**n - 1) / 257)), 16)


def _whole(pixels: NDArray[np.uint8], data: bytes) -> Look:
    image = Image.fromarray(pixels)
    return _kept(image.resize((SIDE, SIDE), _FILTER), image.size, data)
