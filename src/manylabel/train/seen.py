"""The hashes of the images of a run, which its bundles keep (see `bundle.seen`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from manylabel.bundle.seen import SeenImages
from manylabel.data.records import Records, Split
from manylabel.feed.verify import find_bad_images
from manylabel.images import NO_CONTENT
from manylabel.train.caching import cached_contents, processors
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter


def find_seen(
    config: RunConfig,
    records: Records,
    features: Mapping[Split, CachedFeatures] | None,
    reporter: Reporter,
) -> SeenImages:
    """The images that a run is trained and validated on.

    Their hashes were found when each image was opened once: for feature maps, for a cache, or for a
    check. Images for which this did not happen are opened now.

    Args:
        config: The recipe.
        records: The records, with splits.
        features: The feature maps of each split, if the recipe keeps them.
        reporter: Reports the progress.
    """
    train, val = (_contents(config, records, name, features, reporter) for name in ("train", "val"))
    return SeenImages.of(trained=train, validated=val)


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
    elif config.cache and len(part):
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
