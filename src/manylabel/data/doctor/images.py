"""Findings about images: missing, damaged, or with an unusual shape or size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.doctor.findings import SHOWN, Finding, Severity
from manylabel.data.doctor.look import Looks
from manylabel.data.outside import files_outside
from manylabel.data.records import Records
from manylabel.images import Crop, FilePart, Place
from manylabel.text import counted

MAX_ASPECT: Final = 3.0
"""The ratio of the longer to the shorter side above which a square input distorts an image much."""

MIN_SIDE: Final = 112
"""The shorter side, in pixels, below which an image is small: half of the usual input of 224."""


FLAT: Final = 4
"""An image is of almost one colour if brightness and tints in its thumbnail differ by at most so
much, of 255."""


def missing_images(records: Records) -> list[Finding]:
    """A finding about images whose file does not exist. No image is opened."""
    gone = [i for i, place in enumerate(records.images) if _missing(place)]
    if not gone:
        return []
    return [
        Finding(
            kind="images.missing",
            severity="error",
            what=f"{_images(len(gone), len(records))} not where the data set says.",
            count=len(gone),
            examples=tuple(f"{records.keys[i]}: no {records.images[i]}" for i in gone[:SHOWN]),
            fix="Give their folder with --images, download them, or drop their rows.",
            data={"images": [records.keys[i] for i in gone]},
        )
    ]


def outside_files(records: Records) -> list[Finding]:
    """A finding about files outside of the folder of the data set. No image is opened."""
    files = [str(file) for file in files_outside(records)]
    if not files:
        return []
    return [
        Finding(
            kind="images.outside",
            severity="note",
            what=f"{counted(len(files), 'file')} outside the folder of the data set, by an "
            "absolute path, by '..' or by a link.",
            count=len(files),
            examples=tuple(files[:SHOWN]),
            fix="Check that they belong to the data set. If they do, name their folder with "
            "--images.",
            data={"files": files},
        )
    ]


def image_findings(records: Records, looks: Looks) -> list[Finding]:
    """Findings about images that cannot be used, then about unusual shapes and sizes."""
    return [
        *_unreadable(records, looks),
        *_flat(records, looks),
        *_few_bits(records, looks),
        *_squashed(records, looks),
        *_small(records, looks),
        *_sizes(looks),
    ]


def _unreadable(records: Records, looks: Looks) -> list[Finding]:
    bad = [
        (records.keys[i], error)
        for i, error in looks.errors.items()
        if not _missing(records.images[i])
    ]
    if not bad:
        return []
    reasons = [{"image": key, "what": error.what} for key, error in bad]
    return [
        Finding(
            kind="images.unreadable",
            severity="error",
            what=f"{_images(len(bad), len(records))} there, but cannot be used.",
            count=len(bad),
            examples=tuple(f"{row['image']}: {row['what']}" for row in reasons[:SHOWN]),
            fix="Download or export them again, or leave them out: give manylabel train the option "
            "--skip-bad-images.",
            data={"images": reasons},
        )
    ]


def _flat(records: Records, looks: Looks) -> list[Finding]:
    good = looks.good()
    same_luma = np.ptp(looks.luma[good], axis=(1, 2)) <= FLAT
    same_tints = (np.ptp(looks.tints[good], axis=(1, 2)) <= FLAT).all(axis=1)
    flat = good[same_luma & same_tints]
    if not len(flat):
        return []
    return [
        Finding(
            kind="images.flat",
            severity="warning",
            what=f"{_images(len(flat), len(records))} of almost one colour.",
            count=len(flat),
            examples=tuple(records.keys[i] for i in flat[:SHOWN]),
            fix="Look at them. A failed export, a covered lens, or values on another scale give "
            "such images. Export them again, or leave them out.",
            data={"images": [records.keys[i] for i in flat]},
        )
    ]


def _few_bits(records: Records, looks: Looks) -> list[Finding]:
    dark = np.flatnonzero((looks.bits > 0) & (looks.bits < 16))
    if not len(dark):
        return []
    rows = [{"image": records.keys[i], "bits": int(looks.bits[i])} for i in dark]
    return [
        Finding(
            kind="images.few_bits",
            severity="warning",
            what=f"{_images(len(dark), len(records))} of 16 bits per pixel, but "
            f"{'uses' if len(dark) == 1 else 'use'} only the lower ones. White is 65,535, so they "
            "are much too dark.",
            count=len(dark),
            examples=tuple(f"{row['image']}: {row['bits']} bits" for row in rows[:SHOWN]),
            fix="Multiply their values: 12 bits by 16, 10 bits by 64. Do the same for the images "
            "that you predict.",
            data={"images": rows},
        )
    ]


def _squashed(records: Records, looks: Looks) -> list[Finding]:
    good = looks.good()
    sides = looks.sizes[good]
    long = good[sides.max(axis=1) > MAX_ASPECT * sides.min(axis=1)]
    return _unusual_size(
        records,
        looks,
        long,
        kind="images.aspect",
        severity="note",
        what=f"more than {MAX_ASPECT:g} times as wide as high, or as high as wide",
        fix="Models resize an image to a square. Check that the objects can still be recognised; "
        "if not, crop the images.",
    )


def _small(records: Records, looks: Looks) -> list[Finding]:
    good = looks.good()
    small = good[looks.sizes[good].min(axis=1) < MIN_SIDE]
    return _unusual_size(
        records,
        looks,
        small,
        kind="images.small",
        severity="note",
        what=f"less than {MIN_SIDE} pixels wide or high, half of the usual input of 224",
        fix="Check whether these are thumbnails of images that you can get in a larger size.",
    )


def _unusual_size(
    records: Records,
    looks: Looks,
    unusual: NDArray[np.intp],
    *,
    kind: str,
    severity: Severity,
    what: str,
    fix: str,
) -> list[Finding]:
    if not len(unusual):
        return []
    sized = [_sized(records.keys[i], *looks.sizes[i]) for i in unusual]
    return [
        Finding(
            kind=kind,
            severity=severity,
            what=f"{_images(len(unusual), len(records))} {what}.",
            count=len(unusual),
            examples=tuple(
                f"{row['image']}: {row['width']}x{row['height']}" for row in sized[:SHOWN]
            ),
            fix=fix,
            data={"images": sized},
        )
    ]


def _sizes(looks: Looks) -> list[Finding]:
    sizes = looks.sizes[looks.good()]
    if not len(sizes):
        return []
    distinct, counts = np.unique(sizes, axis=0, return_counts=True)
    width, height = distinct[counts.argmax()]
    short, middle, long = np.percentile(np.sqrt(sizes.prod(axis=1, dtype=np.int64)), [0, 50, 100])
    same = len(distinct) == 1
    what = (
        f"All images are {width}x{height} pixels."
        if same
        else f"There are {len(distinct):,} image sizes; {width}x{height} is the most common, with "
        f"{counts.max() / len(sizes):.0%} of the images. Squares of the same areas would have "
        f"sides of {short:.0f} to {long:.0f} pixels, with a median of {middle:.0f}."
    )
    return [
        Finding(
            kind="images.sizes",
            severity="note",
            what=what,
            count=len(distinct),
            fix="Nothing to do. A model input much larger than the images adds no detail.",
            data={
                "commonest": [int(width), int(height)],
                "square_side": {"min": short, "median": middle, "max": long},
            },
        )
    ]


def _missing(place: Place) -> bool:
    """Whether the file does not exist. Other kinds of storage are not checked: False."""
    if isinstance(place, Crop):
        return _missing(place.image)
    path = place.path if isinstance(place, FilePart) else place
    return isinstance(path, Path) and not os.path.exists(path)  # False for an impossible path


def _images(count: int, total: int) -> str:
    return f"{counted(count, 'image')} of {total:,} {'is' if count == 1 else 'are'}"


def _sized(key: str, width: int, height: int) -> dict[str, str | int]:
    return {"image": key, "width": int(width), "height": int(height)}
