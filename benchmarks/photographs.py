"""The real photographs and the backbone of several benchmarks. Their folder is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from manylabel.data.records import Records, Split
from manylabel.files import replaced_file
from manylabel.labels import PRESENT, LabelSpace
from manylabel.models.backbones import Backbone, FeatureMaps
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter
from manylabel.train.views import cache_features

BACKBONE: Final = "densenet169"
WEIGHTS: Final = "weights/densenet169_fp16.safetensors"
FEWEST_POSITIVES: Final = 50
"""Labels with fewer positives in the whole set are left out: fashion keeps 42 of 53."""


@dataclass(frozen=True)
class PhotoSet:
    """A set of photographs, and what a plain script got on it (one seed), as test mAP."""

    name: str
    path: str
    floor: Mapping[str, float]


SETS: Final = (
    PhotoSet("street5", "street5", {"main net": 0.928, "SRN step 4": 0.941}),
    PhotoSet("fashion", "fashion/labels.csv", {"main net": 0.287, "SRN step 4": 0.328}),
)


def frequent(records: Records) -> Records:
    """The records with those labels only that have enough positives to be learned and measured."""
    positives = (records.targets == PRESENT).sum(0)
    kept = np.flatnonzero(positives >= FEWEST_POSITIVES)
    labels = LabelSpace(records.labels[int(i)] for i in kept)
    return replace(records, labels=labels, targets=np.ascontiguousarray(records.targets[:, kept]))


def frozen_maps(
    config: RunConfig, records: Records, kept: Path, reporter: Reporter
) -> dict[Split, CachedFeatures]:
    """A frozen backbone's maps of each split: computed once, then read from `kept`."""
    if not kept.exists():
        backbone = Backbone(config.backbone)
        features = cache_features(config, records, backbone, torch.device("cpu"), reporter)
        views = {split: [tuple(view) for view in maps.views] for split, maps in features.items()}
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(kept) as unfinished:
            torch.save(views, unfinished)
    return {
        split: CachedFeatures(records.split(split), [FeatureMaps(*view) for view in pair])
        for split, pair in torch.load(kept, weights_only=True, mmap=True).items()
    }
