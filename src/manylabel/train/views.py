"""The splits of a run as the training loop reads them: images, cached images or feature maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.utils.data import Dataset

from manylabel.data.records import Records, Split
from manylabel.errors import ImageError
from manylabel.feed.augment import Augment
from manylabel.feed.loaders import ImageDataset, Sample
from manylabel.train.caching import cached_images, processors, refuse_all
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures, MapStore, compute_features
from manylabel.train.job import View
from manylabel.train.logs import Reporter


def build_views(
    config: RunConfig,
    records: Records,
    features: Mapping[Split, CachedFeatures] | None,
    reporter: Reporter,
) -> dict[Split, View]:
    """The view of each split, by name.

    Args:
        config: The recipe.
        records: The records, with splits.
        features: The feature maps of each split, for a recipe with `features = "cached"`.
        reporter: Reports the progress of building a cache of images.
    """
    views: dict[Split, View] = {}
    for name in records.split_names():
        part = records.split(name)
        if config.features == "cached":
            assert features is not None
            samples = features[name].seeded(config.seed)
        else:
            samples = _live(config, part, name, reporter)
        views[name] = View(name, part, samples)
    return views


def cache_features(
    config: RunConfig,
    records: Records,
    backbone: nn.Module,
    device: torch.device,
    reporter: Reporter,
    store: Callable[[Split, int], MapStore] = lambda split, images: MapStore(images),
    mirrored: bool = True,
) -> dict[Split, CachedFeatures]:
    """The feature maps of each split. Several runs with `features = "cached"` can share them.

    Args:
        config: The recipe.
        records: The records, with splits.
        backbone: Computes the maps.
        device: The device of the backbone.
        reporter: Reports the progress.
        store: Gives what keeps the maps of so many images of a split; by default in memory.
        mirrored: False leaves out the maps of mirror images, even if the recipe's views have them.

    Raises:
        DataError: Images that cannot be used.
    """
    cached: dict[Split, CachedFeatures] = {}
    for name in records.split_names():
        part = records.split(name)
        reporter.begin(f"feature maps of {name}", len(part))
        with refuse_all(records):
            cached[name] = compute_features(
                backbone,
                part,
                config.input,
                mirrored=mirrored and name == "train" and config.augment.name == "flip",
                device=device,
                batch_size=config.batch_size,
                workers=reading_workers(config),
                store=store(name, len(part)),
                on_batch=reporter.advance,
            )
        reporter.end()
    return cached


def reading_workers(config: RunConfig) -> int:
    """The number of processes that read images."""
    return processors() - 1 if config.workers is None else config.workers


def _live(
    config: RunConfig, part: Records, name: Split, reporter: Reporter
) -> Dataset[Sample | ImageError]:
    augment = Augment(config.augment, config.input) if name == "train" else None
    cache = cached_images(config, part, name, reporter) if config.cache else None
    return ImageDataset(part, config.input, augment=augment, seed=config.seed, cache=cache)
