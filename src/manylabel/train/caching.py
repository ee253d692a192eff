"""The caches of the images of a run. Building them is also the check of the images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records, Split
from manylabel.errors import ImageError
from manylabel.feed.augment import Augment
from manylabel.feed.cache import (
    CachePlan,
    ImageCache,
    default_folder,
    fill_cache,
    forget_damaged,
    plan_cache,
)
from manylabel.feed.loaders import stage_of
from manylabel.feed.verify import find_bad_images, refusal
from manylabel.train.config import RunConfig
from manylabel.train.logs import Reporter

_WAITING: Final = "Waiting for another process that builds this cache."


def find_unusable(
    config: RunConfig | None,
    records: Records,
    reporter: Reporter,
    *,
    contents: NDArray[np.uint64] | None = None,
) -> list[ImageError]:
    """The images that cannot be used, in the order of the records; each image is opened once.

    If the run keeps its images, building the caches is the check, so that no image is decoded only
    for the check. If it keeps the maps of a frozen backbone, computing these is the check, and
    `refuse_all` reports the bad images. If bad images are left out, they must be known before both,
    because a run and its caches are identified by the images that they use.

    Args:
        config: The recipe; None checks the images without keeping any.
        records: With splits.
        reporter: Reports the progress.
        contents: uint64 [N], to be filled by a check with the hashes of what the images show; see
            `find_bad_images`. Caches and maps keep them otherwise.
    """
    if config is not None and not config.skip_bad_images:
        if config.features == "cached":
            return []
        if config.cache:
            return _fill_all(config, records, reporter)
    reporter.begin("checking images", len(records))
    bad = find_bad_images(
        records,
        workers=processors(),
        on_progress=lambda _: reporter.advance(1),
        contents=contents,
    )
    reporter.end()
    return bad


@contextmanager
def refuse_all(records: Records) -> Iterator[None]:
    """If the block finds an image that cannot be used, report all such images of `records`.

    Raises:
        DataError: There is such an image.
    """
    try:
        yield
    except ImageError as met:
        bad = find_bad_images(records, workers=processors())
        raise refusal(records, bad or [met]) from None


def cached_images(config: RunConfig, part: Records, name: Split, reporter: Reporter) -> ImageCache:
    """The cache of a split's images. It is built if it is not complete, and then compared.

    Images that were damaged on the disk are decoded again, and a line says so.

    Raises:
        DataError: Images that cannot be used.
        RunError: The disk is full, or cannot be read or written to.
    """
    plan = _plan(config, part, name)
    bad = _fill(plan, name, reporter)
    if not bad and (damaged := _forget_damaged(plan, name, reporter)):
        reporter.say(
            f"Damaged images in the cache {plan.folder}, which are decoded again: {damaged:,}."
        )
        bad = _fill(plan, name, reporter)
    if bad:
        raise refusal(part, bad)
    return ImageCache(plan)


def cached_contents(config: RunConfig, part: Records, name: Split) -> NDArray[np.uint64]:
    """The hashes of what the images of a split show, from its cache, uint64 [N]; 0: not known."""
    return _plan(config, part, name).contents()


def processors() -> int:
    """How many processors this process may use, nine at most: more do not make reading faster."""
    return max(1, min(9, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4))


def _fill_all(config: RunConfig, records: Records, reporter: Reporter) -> list[ImageError]:
    bad: list[ImageError] = []
    for name in records.split_names():
        bad += _fill(_plan(config, records.split(name), name), name, reporter)
    positions = {str(place): i for i, place in enumerate(records.images)} if bad else {}
    return sorted(bad, key=lambda error: positions[error.where])


def _plan(config: RunConfig, part: Records, name: Split) -> CachePlan:
    augment = Augment(config.augment, config.input) if name == "train" else None
    spec = stage_of(config.input, augment)
    return plan_cache(part, spec, config.cache_folder or default_folder())


def _forget_damaged(plan: CachePlan, name: Split, reporter: Reporter) -> int:
    reporter.begin(f"comparing the cache of {name}", len(plan.records))
    damaged = forget_damaged(
        plan,
        workers=processors(),
        on_progress=reporter.advance,
        on_wait=partial(reporter.say, _WAITING),
    )
    reporter.end()
    return damaged


def _fill(plan: CachePlan, name: Split, reporter: Reporter) -> list[ImageError]:
    if plan.is_whole():
        return []
    images, spec = len(plan.records), plan.spec
    reporter.say(
        f"Caching the {images:,} images of {name} at {spec.width}x{spec.height} pixels: "
        f"{plan.planned_bytes / 1e9:,.2f} GB in {plan.folder}."
    )
    reporter.begin(f"caching images of {name}", images)
    bad = fill_cache(
        plan,
        workers=processors(),
        on_progress=reporter.advance,
        on_wait=partial(reporter.say, _WAITING),
    )
    reporter.end()
    return bad
