"""Opens every image before a run, so that damaged images are found at the beginning.

The check is the same as in the data doctor. It refuses the same images as decoding does, with the
same errors, but takes less time. Before training, images are decoded fully, because the hash of
what they show is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from manylabel.data.doctor.look import look
from manylabel.data.records import Records
from manylabel.errors import DataError, ImageError
from manylabel.images import Memory, Place, free_memory_share, prepared

_SHOWN = 5


def find_bad_images(
    records: Records,
    *,
    workers: int,
    on_progress: Callable[[int], None] | None = None,
    contents: NDArray[np.uint64] | None = None,
) -> list[ImageError]:
    """The errors of the images that cannot be decoded, in the order of the records.

    The `where` of each error is the place of the image.

    Args:
        records: Each of their images is opened and read to its end.
        workers: The number of threads. Decoding releases Python's global lock.
        on_progress: Called after each image with the number of images done so far.
        contents: uint64 [N], to be filled with the hashes of what the images show, as in
            `images.content`.
    """
    bad: list[ImageError] = []
    memory = free_memory_share()
    look_at = partial(_look, memory, hashed=contents is not None)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        looks = pool.map(look_at, records.images)
        for done, found in enumerate(looks, start=1):
            if isinstance(found, ImageError):
                bad.append(found)
            elif contents is not None:
                contents[done - 1] = found
            if on_progress is not None:
                on_progress(done)
    return bad


def refusal(records: Records, bad: Sequence[ImageError]) -> DataError:
    """The error that counts the `bad` images and lists the first few of them."""
    shown = [f"{error.where}: {error.what}" for error in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        shown.append(f"and {len(bad) - _SHOWN:,} more")
    return DataError(
        f"{len(bad):,} of {len(records):,} images cannot be used:",
        details=shown,
        where=records.source,
        fix="Repair or remove them, or skip them with --skip-bad-images.",
    )


def without(records: Records, bad: Sequence[ImageError]) -> Records:
    """The records whose images are not `bad`, with a note that counts the others."""
    if not bad:
        return records
    paths = {error.where for error in bad}
    good = records.select([str(place) not in paths for place in records.images])
    note = f"Images that cannot be decoded, left out: {len(records) - len(good):,}"
    return good.with_notes(note)


def _look(memory: Memory, place: Place, *, hashed: bool) -> int | ImageError:
    """The hash of what an image shows, or 0 if it is not hashed; or the image's error."""
    found = [0]
    try:
        if hashed:
            prepared(place, lambda pixels: None, memory=memory, on_content=found.append)
        else:
            look(place, memory)
    except ImageError as error:
        return error
    return found[-1]
