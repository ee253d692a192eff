"""The hashes of the images of a run, which its bundles keep (see `bundle.seen`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from manylabel.bundle.seen import SeenImages
from manylabel.data.records import Records, Split
from manylabel.evaluate.overlap import Overlap, find_overlap
from manylabel.feed.verify import find_bad_images
from manylabel.images import NO_CONTENT
from manylabel.text import counted
from manylabel.train.caching import cached_contents, processors
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter


def find_contents(
    config: RunConfig,
    records: Records,
    features: Mapping[Split, CachedFeatures] | None,
    reporter: Reporter,
) -> dict[Split, NDArray[np.uint64]]:
    """The hashes of what the images of each split show.

    They were found when each image was opened once: for feature maps, for a cache, or for a check.
    Images for which this did not happen are opened now.

    Args:
        config: The recipe.
        records: The records, with splits.
        features: The feature maps of each split, if the recipe keeps them.
        reporter: Reports the progress.
    """
    return {
        name: _contents(config, records, name, features, reporter) for name in records.split_names()
    }


def find_seen(
    contents: Mapping[Split, NDArray[np.uint64]], measured: Split, reporter: Reporter
) -> tuple[SeenImages, Overlap]:
    """The images that a run is trained and validated on; and those among the measured ones.

    Args:
        contents: The hashes of each split's images.
        measured: The split that steps are measured on.
        reporter: Says how many of its images are trained on, too.
    """
    seen = SeenImages.of(trained=contents["train"], validated=contents.get("val", ()))
    overlap, _ = find_overlap(seen, contents[measured], keep=True)
    if overlap.trained:
        reporter.say(
            f"{overlap.trained:,} of {counted(overlap.images, 'image')} of {measured} are also in "
            "train, so the figures of this run are too high. `manylabel data check` names them, "
            "and `manylabel data split` keeps copies together."
        )
    return seen, overlap


def _contents(
    config: RunConfig,
    records: Records,
    name: Split,
    features: Mapping[Split, CachedFeatures] | None,
    reporter: Reporter,
) -> NDArray[np.uint64]:
    part = records.split(name)
    found = part.contents
    if features is not None and name in features:
        found = features[name].contents
    elif config.cache:
        found = cached_contents(config, part, name)
    found = np.zeros(len(part), dtype=np.uint64) if found is None else found.copy()
    missing = np.flatnonzero(found == NO_CONTENT)
    if len(missing):
        found[missing] = _hashed(part.select(missing), name, reporter)
    return found


def _hashed(part: Records, name: Split, reporter: Reporter) -> NDArray[np.uint64]:
    contents = np.zeros(len(part), dtype=np.uint64)
    reporter.begin(f"hashing images of {name}", len(part))
    find_bad_images(
        part,
        workers=processors(),
        on_progress=lambda _: reporter.advance(1),
        contents=contents,
    )
    reporter.end()
    return contents
