"""The check of a data set: opens every image once and runs all checks of images and labels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from manylabel.data.doctor.duplicates import duplicate_findings, find_duplicates
from manylabel.data.doctor.findings import Diagnosis, Finding, by_severity
from manylabel.data.doctor.images import image_findings, missing_images, outside_files
from manylabel.data.doctor.labels import divided_groups, label_findings, label_rows, parts_of
from manylabel.data.doctor.look import look_at_all
from manylabel.data.doctor.unknowns import unknown_findings
from manylabel.data.records import Records


def check(
    records: Records,
    *,
    workers: int | None = None,
    open_images: bool = True,
    on_progress: Callable[[int], None] | None = None,
    on_labels: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """All findings about a data set, the worst first.

    Args:
        records: The records as a reader returns them. Their splits are checked as they are.
        workers: The number of threads that open images; None for one per processor.
        open_images: False checks names, labels and splits only.
        on_progress: Called with the number of images opened so far.
        on_labels: Called with the number of labels that were compared with all others so far, and
            with the number of those that are compared.
    """
    workers = workers or _count_processors()
    parts = parts_of(records)
    start = time.perf_counter()
    from_pixels = _check_pixels(records, workers, on_progress) if open_images else []
    seconds = time.perf_counter() - start
    return Diagnosis(
        source=records.source,
        summary=records.summary(),
        fingerprint=records.fingerprint(),
        images=len(records),
        opened=len(records) if open_images else 0,
        seconds=seconds if open_images else 0.0,
        workers=workers,
        labels=label_rows(records, parts),
        findings=by_severity(
            [
                *missing_images(records),
                *outside_files(records),
                *from_pixels,
                *divided_groups(records),
                *label_findings(records, parts, on_labels),
                *unknown_findings(records),
            ]
        ),
    )


def _check_pixels(
    records: Records, workers: int, on_progress: Callable[[int], None] | None
) -> list[Finding]:
    """The findings that need the images themselves; duplicates come first."""
    looks = look_at_all(records, workers=workers, on_progress=on_progress)
    duplicates = duplicate_findings(records, find_duplicates(looks))
    return [*duplicates, *image_findings(records, looks)]


def _count_processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
