"""Evidence maps: for every label and position, how much that place speaks for the label.

One interface for all heads: SRN's own map U where the head has it, else class activation maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from manylabel.explain.cam import class_activation_maps
from manylabel.metrics.thresholds import decide
from manylabel.models.backbones import FeatureMaps
from manylabel.models.classifier import Classifier
from manylabel.models.heads.base import HeadOutput
from manylabel.predict import Predictor
from manylabel.preprocess import to_pixels

Method = Literal["attention", "queries", "cam"]
"""`attention`: U, what the head itself looked with. `queries`: where each label's query looked.
`cam`: class activation maps."""

_MAP_OF: Final[dict[Method, str]] = {"attention": "weighted", "queries": "attention"}


@final
@dataclass(frozen=True, slots=True)
class Explanation:
    """One image's scores and the maps behind them.

    Args:
        scores: [C], 0..1.
        decided: [C], which labels the model decides for.
        maps: Evidence [C, H, W] over the whole image; what its numbers are, `method` tells.
        method: Which maps these are.
    """

    scores: NDArray[np.float32]
    decided: NDArray[np.bool_]
    maps: NDArray[np.float32]
    method: Method


def explain_image(predictor: Predictor, image: Image.Image) -> Explanation:
    """Scores and evidence maps of one upright RGB image of any size."""
    pixels = to_pixels(image, predictor.spec).unsqueeze(0)
    maps, output = predictor.look(pixels)
    evidence = evidence_maps(predictor.bundle.classifier, maps, output)
    scores, info = predictor.scores(output).numpy(force=True), predictor.bundle.info
    thresholds = np.array(info.thresholds, dtype=np.float32)
    decided = decide(scores, thresholds, at_least=info.at_least, at_most=info.at_most)
    return Explanation(
        scores=scores[0],
        decided=decided[0],
        maps=evidence[0].float().numpy(force=True),
        method=explained_by(output),
    )


def evidence_maps(classifier: Classifier, maps: FeatureMaps, output: HeadOutput) -> Tensor:
    """The evidence [N, C, H, W] for each label of N images, on the method's own scale.

    Of SRN it is U = sigmoid(S) * A, which sums to at most 1 over the positions; of a head whose
    queries look at the map, the attention of each label's query, which sums to 1, present or not;
    of any other head the class activation map, in logits. Only within one label's map do the
    numbers compare.

    Args:
        classifier: The model that gave the rest.
        maps: What its backbone yielded.
        output: What its head said of `maps`.
    """
    method = explained_by(output)
    if method != "cam":
        return output.maps[_MAP_OF[method]]
    weights = classifier.head.label_weights()
    assert weights is not None, type(classifier.head)  # such a head has an attention of its own
    return class_activation_maps(weights, maps.final)


def explained_by(output: HeadOutput) -> Method:
    """Which maps `evidence_maps` gives for a head's output."""
    if "weighted" in output.maps:
        return "attention"
    # Beside a map of logits, attention is only a part of what was seen; CAM shows those logits.
    return "queries" if "attention" in output.maps and "confidence" not in output.maps else "cam"
