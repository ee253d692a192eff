"""Opens every image before a run, so that damaged images are found in the first minute.

The check is the one of the doctor. It refuses the same images as a decoder, with the same errors,
and takes less time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from manylabel.data.doctor.look import look
from manylabel.data.records import Records
from manylabel.errors import DataError, ImageError
from manylabel.images import Place

_SHOWN = 5


def find_bad_images(
    records: Records, *, workers: int, on_progress: Callable[[int], None] | None = None
) -> list[ImageError]:
    """The images that cannot be decoded, in the records' order; each error's `where` is the path.

    Args:
        records: Each image of these is opened and read to its end.
        workers: Threads; images are decoded outside of Python's lock.
        on_progress: Called with the number of images done, after each.
    """
    bad = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for done, error in enumerate(pool.map(_fault, records.images), start=1):
            if error is not None:
                bad.append(error)
            if on_progress is not None:
                on_progress(done)
    return bad


def refusal(records: Records, bad: Sequence[ImageError]) -> DataError:
    """The error that says how many images are `bad` of how many, and lists the first few."""
    shown = [f"\n    {error.where}: {error.what}" for error in bad[:_SHOWN]]
    rest = f"\n    and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
    return DataError(
        f"{len(bad):,} of {len(records):,} images cannot be used:{''.join(shown)}{rest}",
        where=records.source,
        fix="Mend or remove them, or drop them with --skip-bad-images.",
    )


def without(records: Records, bad: Sequence[ImageError]) -> Records:
    """The records less those whose images are `bad`, with a note that counts them."""
    if not bad:
        return records
    paths = {error.where for error in bad}
    good = records.select([str(place) not in paths for place in records.images])
    note = f"Images that cannot be decoded, left out: {len(records) - len(good):,}"
    return good.with_notes(note)


def _fault(place: Place) -> ImageError | None:
    try:
        look(place)
    except ImageError as error:
        return error
    return None
