"""The splits of a run as the training loop reads them: images, cached images or feature maps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from manylabel.data.records import Records, Split
from manylabel.errors import ImageError
from manylabel.feed.augment import Augment
from manylabel.feed.cache import ImageCache, build_cache, default_folder, plan_cache
from manylabel.feed.loaders import ImageDataset, Sample, stage_of
from manylabel.preprocess import InputSpec
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures, compute_features
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
) -> dict[Split, CachedFeatures]:
    """The feature maps of each split. Several runs with `features = "cached"` can share them.

    Raises:
        ImageError: An image cannot be used.
    """
    cached: dict[Split, CachedFeatures] = {}
    for name in records.split_names():
        part = records.split(name)
        reporter.begin(f"feature maps of {name}", len(part))
        cached[name] = compute_features(
            backbone,
            part,
            config.input,
            mirrored=name == "train" and config.augment.name == "flip",
            device=device,
            batch_size=config.batch_size,
            workers=reading_workers(config),
            on_batch=reporter.advance,
        )
        reporter.end()
    return cached


def reading_workers(config: RunConfig) -> int:
    """The number of processes that read images."""
    return processors() - 1 if config.workers is None else config.workers


def processors() -> int:
    """The number of processors to use, at most nine: more do not make reading faster."""
    return max(1, min(9, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4))


def _live(
    config: RunConfig, part: Records, name: Split, reporter: Reporter
) -> Dataset[Sample | ImageError]:
    augment = Augment(config.augment, config.input) if name == "train" else None
    cache = None
    if config.cache:
        spec = stage_of(config.input, augment)
        cache = _cached(part, name, spec, config.cache_folder or default_folder(), reporter)
    return ImageDataset(part, config.input, augment=augment, seed=config.seed, cache=cache)


def _cached(
    part: Records, name: Split, spec: InputSpec, folder: Path, reporter: Reporter
) -> ImageCache:
    plan = plan_cache(part, spec, folder)
    if not plan.is_whole():
        reporter.say(
            f"Caching the {len(part):,} images of {name} at {spec.width}x{spec.height} pixels: "
            f"{plan.planned_bytes / 1e9:,.2f} GB in {plan.folder}."
        )
        reporter.begin(f"caching images of {name}", len(part))
        build_cache(
            plan,
            workers=processors(),
            on_progress=reporter.advance,
            on_wait=lambda: reporter.say("Waiting for another process that builds this cache."),
        )
        reporter.end()
    return ImageCache(plan)
