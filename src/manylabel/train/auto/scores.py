"""The scores of a way's bundle on validation, from kept maps or from images."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from manylabel.bundle.classifier import load_bundle
from manylabel.data.records import Records
from manylabel.evaluate.run import evaluate
from manylabel.models.backbones import FeatureMaps
from manylabel.predict import Predictor
from manylabel.train.features import CachedFeatures

_AT_ONCE: Final = 64


@torch.no_grad()
def scores_of_maps(bundle: Path, maps: CachedFeatures) -> NDArray[np.float32]:
    """The scores [N, C] that a bundle's head computes from the maps of whole images."""
    loaded = load_bundle(bundle)
    head, name = loaded.classifier.head, loaded.info.scores_from
    mid, final_map = maps.views[0]
    parts = []
    for start in range(0, len(mid), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        output = head(FeatureMaps(mid[rows].float(), final_map[rows].float()))
        parts.append(torch.sigmoid(output.select(name).float()).numpy())
    return np.concatenate(parts)


def scores_of_images(bundle: Path, records: Records, device: str) -> NDArray[np.float32]:
    """The scores [N, C] of a bundle for images."""
    return evaluate(Predictor.load(bundle, device=device), records).scores
