"""The check: every image is opened once, and everything that is known is looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from manylabel.data.doctor.duplicates import duplicate_findings, find_duplicates
from manylabel.data.doctor.findings import Diagnosis, Finding, by_severity
from manylabel.data.doctor.images import image_findings, missing_images
from manylabel.data.doctor.labels import label_findings, label_rows, parts_of, torn_groups
from manylabel.data.doctor.look import look_at_all
from manylabel.data.doctor.unknowns import unknown_findings
from manylabel.data.records import Records


def check(
    records: Records,
    *,
    workers: int | None = None,
    open_images: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> Diagnosis:
    """What is wrong with a data set, the worst first.

    Args:
        records: As a reader gives them: their splits are looked at as the data set gives them.
        workers: Threads that open images; None for one a processor.
        open_images: False looks at names, labels and splits alone.
        on_progress: Called with the number of images that were opened.
    """
    workers = workers or _processors()
    parts = parts_of(records)
    start = time.perf_counter()
    pictures = _pictures(records, workers, on_progress) if open_images else []
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
                *pictures,
                *torn_groups(records),
                *label_findings(records, parts),
                *unknown_findings(records),
            ]
        ),
    )


def _pictures(
    records: Records, workers: int, on_progress: Callable[[int], None] | None
) -> list[Finding]:
    """What only the images themselves can tell; leaks before all else."""
    looks = look_at_all(records, workers=workers, on_progress=on_progress)
    duplicates = duplicate_findings(records, find_duplicates(looks))
    return [*duplicates, *image_findings(records, looks)]


def _processors() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
