"""Opens every image before a run does, so that a damaged one is met in the first minute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from manylabel.data.records import Record, Records
from manylabel.errors import DataError, ImageError
from manylabel.images import open_image

_SHOWN = 5


def find_bad_images(
    records: Records, *, workers: int, on_progress: Callable[[int], None] | None = None
) -> list[ImageError]:
    """The images that cannot be decoded, in the records' order; each error's `where` is the path.

    Args:
        records: Each image of these is decoded whole.
        workers: Threads; Pillow decodes outside of Python's lock.
        on_progress: Called with the number of images done, after each.
    """
    bad = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for done, error in enumerate(pool.map(_fault, records.items), start=1):
            if error is not None:
                bad.append(error)
            if on_progress is not None:
                on_progress(done)
    return bad


def require_good_images(
    records: Records, *, workers: int, on_progress: Callable[[int], None] | None = None
) -> None:
    """Returns if every image can be decoded.

    Raises:
        DataError: Some cannot; says how many, and the first few with their reasons.
    """
    bad = find_bad_images(records, workers=workers, on_progress=on_progress)
    if bad:
        raise refusal(records, bad)


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
    items = tuple(record for record in records.items if str(record.image) not in paths)
    note = f"Images that cannot be decoded, left out: {len(records) - len(items):,}"
    return replace(records, items=items, notes=(*records.notes, note))


def _fault(record: Record) -> ImageError | None:
    try:
        open_image(record.image)
    except ImageError as error:
        return error
    return None
