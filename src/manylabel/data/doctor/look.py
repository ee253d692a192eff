"""One look at every image: whether it opens, its size, and a few hundred bytes to compare it by.

A JPEG is decoded at up to an eighth of its size: all of its entropy-coded data is read, which is
what finds truncation, but most of the inverse transform is left out.
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
from manylabel.images import MAX_PIXELS, MIN_SIDE, Crop, Place, Stored, open_image

SIDE: Final = 16
"""Side of the thumbnails that images are compared by."""

_FILTER: Final = Image.Resampling.BILINEAR
"""Pillow's box filter takes whole pixels, so that its thumbnails depend on the size they are made
from: six times as much as this one's, measured on photographs decoded at an eighth."""

_TINTS: Final = 4
"""Side of the grid that their colour is kept on."""

_DECODED_SIDE: Final = 2 * SIDE
"""A JPEG is not decoded smaller than this."""

_ON_ITS_SIDE: Final = frozenset({5, 6, 7, 8})
"""EXIF's orientations that exchange width and height."""

_JOB: Final = 32
"""Images that a thread looks at before it reports."""


class Look(NamedTuple):
    """What is kept of one image."""

    size: tuple[int, int]
    """Width and height of the upright image, pixels."""
    digest: bytes
    """A hash of the file's bytes; of a crop's pixels."""
    luma: NDArray[np.uint8]
    """[16, 16], brightness."""
    tints: NDArray[np.uint8]
    """[4, 4, 2], Cb and Cr."""


@final
@dataclass(frozen=True, slots=True)
class Looks:
    """What is kept of N images; an image that cannot be used has zeros and an error.

    Args:
        sizes: int32 [N, 2], width and height.
        digests: N hashes of the files' bytes; empty for a bad image.
        luma: uint8 [N, 16, 16].
        tints: uint8 [N, 4, 4, 2].
        errors: Why an image cannot be used, by its position.
    """

    sizes: NDArray[np.int32]
    digests: list[bytes]
    luma: NDArray[np.uint8]
    tints: NDArray[np.uint8]
    errors: dict[int, ImageError]

    def good(self) -> NDArray[np.intp]:
        """The positions of the images that opened, rising."""
        return np.flatnonzero(self.sizes[:, 0] > 0)


def look_at_all(
    records: Records, *, workers: int, on_progress: Callable[[int], None] | None = None
) -> Looks:
    """A look at each image, in order.

    Args:
        records: N images; each is opened and decoded.
        workers: Threads; decoding happens outside of Python's lock.
        on_progress: Called with the number of images done.
    """
    n = len(records)
    looks = Looks(
        sizes=np.zeros((n, 2), dtype=np.int32),
        digests=[b""] * n,
        luma=np.zeros((n, SIDE, SIDE), dtype=np.uint8),
        tints=np.zeros((n, _TINTS, _TINTS, 2), dtype=np.uint8),
        errors={},
    )
    done = 0
    for seen in _in_threads(records.images, workers):
        for i, one in enumerate(seen, start=done):
            if isinstance(one, ImageError):
                looks.errors[i] = one
            else:
                looks.sizes[i], looks.digests[i], looks.luma[i], looks.tints[i] = one
        done += len(seen)
        if on_progress is not None:
            on_progress(done)
    return looks


def look(place: Place) -> Look:
    """What is kept of the image at `place`.

    Raises:
        ImageError: Where and as `open_image` does.
    """
    if isinstance(place, Crop):
        image = open_image(place)
        return _kept(_thumbnail(image), image.size, image.tobytes())
    data = _bytes_of(place)
    reduced = _reduced(data)
    if reduced is not None:
        return _kept(*reduced, data)
    try:
        image = open_image(data or place)
    except ImageError as error:
        raise ImageError(error.what, where=str(place), fix=error.fix) from None
    return _kept(_thumbnail(image), image.size, data)


def _in_threads(places: Places, workers: int) -> Iterator[list[Look | ImageError]]:
    """The looks at all places, in order, a few dozen at a time."""
    every = range(len(places))
    jobs = [every[start : start + _JOB] for start in range(0, len(places), _JOB)]
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield from pool.map(lambda job: _job([places[i] for i in job]), jobs)
    finally:
        pool.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all images


def _job(places: Sequence[Place]) -> list[Look | ImageError]:
    seen: list[Look | ImageError] = []
    for place in places:
        try:
            seen.append(look(place))
        except ImageError as error:
            seen.append(error)
    return seen


def _bytes_of(place: Stored | Place) -> bytes:
    """The file's bytes; none where it cannot be read: `open_image` says why."""
    assert not isinstance(place, Crop)
    try:
        return place.read() if isinstance(place, Stored) else place.read_bytes()
    except OSError:
        return b""


def _reduced(data: bytes) -> tuple[Image.Image, tuple[int, int]] | None:
    """A JPEG's thumbnail, upright, and its full size.

    None if it is another kind of file, or anything is wrong with it: then `open_image` decides.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        jpeg = JpegImageFile(io.BytesIO(data))
        width, height = jpeg.size
        if width * height > MAX_PIXELS or min(width, height) < MIN_SIDE:
            return None
        drafted = jpeg.draft("RGB", (_DECODED_SIDE, _DECODED_SIDE))
        turned = jpeg.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
        # The last row and column may reach beyond the image, whose true extent is `box`.
        box = drafted[1] if drafted else None
        thumbnail = jpeg.resize((SIDE, SIDE), _FILTER, box)
        return open_image(thumbnail), (height, width) if turned else (width, height)
    except Exception:  # whatever a decoder raises; it is raised again, and worded, in full size
        return None


def _kept(thumbnail: Image.Image, size: tuple[int, int], data: bytes) -> Look:
    pixels = np.asarray(thumbnail.convert("YCbCr"))
    cell = SIDE // _TINTS
    tints = pixels[..., 1:].reshape(_TINTS, cell, _TINTS, cell, 2).mean(axis=(1, 3))
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return Look(size, digest, pixels[..., 0], tints.astype(np.uint8))


def _thumbnail(image: Image.Image) -> Image.Image:
    return image.resize((SIDE, SIDE), _FILTER)
