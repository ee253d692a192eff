"""Evidence maps: for every label and position, how much that place speaks for the label.

One interface for all heads: each says which methods it has, the best first.
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
    """One image's scores, labels, and the maps behind them.

    Args:
        scores: [C], 0..1.
        decided: [C], which labels the model decides for.
        maps: Evidence [C, H, W] over the whole image.
        method: Which maps these are.
        kind: What their numbers mean.
    """

    scores: NDArray[np.floating[Any]]
    decided: Decided
    maps: NDArray[np.floating[Any]]
    method: str
    kind: MapKind


def explain_image(
    predictor: Predictor, image: Image.Image, method: str | None = None
) -> Explanation:
    """Scores and evidence maps of one upright RGB image of any size.

    Args:
        predictor: The model.
        image: As `images.open_image` gives it.
        method: Which maps; the model's best if not given.

    Raises:
        ConfigError: The model has no such maps.
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
