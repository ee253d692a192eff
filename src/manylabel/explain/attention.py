"""Evidence maps: for each label and position, how much that position is evidence for the label.

There is one interface for all heads. Each head lists its methods; the best one is first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manylabel.evidence import MapKind
from manylabel.images import rgb_pixels
from manylabel.metrics.f1 import Decided
from manylabel.predict import Predictor


@final
@dataclass(frozen=True, slots=True)
class Explanation:
    """The scores, labels and evidence maps of one image.

    Args:
        scores: [C], 0..1.
        decided: Boolean [C]: the labels that are predicted.
        maps: Evidence maps [C, H, W], which cover the whole image.
        method: The method of the maps.
        kind: What the values of the maps mean.
    """

    scores: NDArray[np.floating[Any]]
    decided: Decided
    maps: NDArray[np.floating[Any]]
    method: str
    kind: MapKind


def explain_image(
    predictor: Predictor, image: Image.Image, method: str | None = None
) -> Explanation:
    """The scores, labels and evidence maps of one image.

    Args:
        predictor: The model.
        image: An upright RGB image of any size, as `images.open_image` returns it.
        method: The method of evidence maps; the model's best one if not given.

    Raises:
        ConfigError: The model has no such method.
    """
    engine = predictor.engine
    chosen = engine.method(method)
    output = engine.run(engine.prepare(rgb_pixels(image))[None], evidence=[chosen])
    scores = predictor.decision.scores(output.logits)
    return Explanation(
        scores=scores[0],
        decided=predictor.decision.decide(scores)[0],
        maps=output.evidence[chosen][0],
        method=chosen,
        kind=engine.evidence[chosen],
    )
