"""Evidence maps: for every label and position, how much that place speaks for the label.

One interface for all heads: each head says by which methods its maps are made, the best first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from manylabel.evidence import MapKind
from manylabel.metrics.thresholds import decide
from manylabel.predict import Predictor
from manylabel.preprocess import to_pixels


@final
@dataclass(frozen=True, slots=True)
class Explanation:
    """One image's scores and the maps behind them.

    Args:
        scores: [C], 0..1.
        decided: [C], which labels the model decides for.
        maps: Evidence [C, H, W] over the whole image, in the numbers that `kind` names.
        method: The method that made the maps; the first of those that the head has.
        kind: What the maps show.
    """

    scores: NDArray[np.float32]
    decided: NDArray[np.bool_]
    maps: NDArray[np.float32]
    method: str
    kind: MapKind


def explain_image(predictor: Predictor, image: Image.Image) -> Explanation:
    """Scores and evidence maps of one upright RGB image of any size."""
    pixels = to_pixels(image, predictor.spec).unsqueeze(0)
    maps, output = predictor.look(pixels)
    method, evidence = next(iter(predictor.bundle.classifier.head.evidence().items()))
    found = evidence.maps(maps, output)
    scores, info = predictor.scores(output).numpy(force=True), predictor.bundle.info
    thresholds = np.array(info.thresholds, dtype=np.float32)
    decided = decide(scores, thresholds, at_least=info.at_least, at_most=info.at_most)
    return Explanation(
        scores=scores[0],
        decided=decided[0],
        maps=found[0].float().numpy(force=True),
        method=method,
        kind=evidence.kind,
    )


def scaled(maps: Tensor) -> Tensor:
    """Maps [N, C, H, W] in [0, 1]: divided by each label's own maximum over the positions.

    Evidence against a label (negative in a class activation map) becomes 0, and so does the whole
    map of a label that has no evidence anywhere. An absent label's map reaches 1 too: read a
    scaled map beside its score.
    """
    positive = maps.clamp(min=0)
    peak = positive.amax((-2, -1), keepdim=True)
    return positive / torch.where(peak > 0, peak, torch.ones_like(peak))
