"""Explanations: for each label and position of an image, how much that position is evidence for it.

There is one interface for all heads and engines. A model's own methods come from its engine
(`Engine.evidence`); occlusion works with every engine.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.engines.engine import Engine
from manylabel.errors import ConfigError, ImageError
from manylabel.evidence import OCCLUSION, MapKind, find_method
from manylabel.explain.occlusion import DEFAULT_OCCLUSION, Occlusion, occlusion_maps
from manylabel.images import ImageSource
from manylabel.metrics.f1 import Decided
from manylabel.predict import Predictor

_OCCLUSION: Final = "occlusion"


@final
@dataclass(frozen=True, slots=True)
class Explanation:
    """The scores, labels and evidence maps of one image.

    Args:
        scores: [C], 0..1.
        decided: Boolean [C]: the labels that are predicted.
        maps: Evidence maps [C', H, W], which cover the whole image, in the units of their kind.
        method: The method of the maps.
        kind: What the values of the maps mean.
        columns: The columns of the C' labels that the maps are of; all C labels if not asked
            otherwise.
    """

    scores: NDArray[np.floating[Any]]
    decided: Decided
    maps: NDArray[np.floating[Any]]
    method: str
    kind: MapKind
    columns: tuple[int, ...]

    @property
    def scaled(self) -> NDArray[np.floating[Any]]:
        """The maps [C', H, W] in 0..1; see `scaled`."""
        return scaled(self.maps)


def scaled(maps: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Evidence maps on the scale 0..1: each is divided by its own maximum, and negatives become 0.

    The rule is the same for all methods. The bounds of a kind would not do: most kinds have none,
    and the attention of a label, which sums to 1, has values near 0.01 on a map of 14x14. So a
    scaled map says where the evidence of a label lies, and never how much there is: that of a label
    that is absent reaches 1, too. How much there is, the label's score says. A map without a
    positive value has no evidence and becomes 0.

    Args:
        maps: [..., H, W], on any scale.
    """
    positive = np.maximum(maps, 0)
    peaks = positive.max(axis=(-2, -1), keepdims=True)
    return np.divide(positive, peaks, out=np.zeros_like(positive), where=peaks > 0)


def methods(engine: Engine) -> dict[str, MapKind]:
    """All methods by which an engine's model can be explained, the best one first."""
    return {**engine.evidence, _OCCLUSION: OCCLUSION}


def explain(
    predictor: Predictor,
    images: Iterable[ImageSource],
    labels: Sequence[str] | None = None,
    method: str | None = None,
    *,
    occlusion: Occlusion = DEFAULT_OCCLUSION,
) -> Generator[Explanation | ImageError, None, None]:
    """The scores, predicted labels and evidence maps of many images, in order.

    A bad image yields its error instead. Images are read only shortly before they are needed and
    computed in batches of the predictor's `batch_size`, so `images` may be long. Scores and
    predicted labels have the bits of `Predictor.predict_many`.

    Args:
        predictor: The model.
        images: Paths or other places, the bytes of image files, or images that Pillow has opened.
        labels: The labels whose maps are computed, in the order of the maps; all labels if not
            given. With a costly method or thousands of labels, name the ones that you need.
        method: The method of evidence maps, one of `methods(predictor.engine)`; the model's best
            one if not given.
        occlusion: What the method `occlusion` covers.

    Raises:
        ConfigError: The model has no such method, or no label is named.
        DataError: The model has no such label.

    Example:
        `[found.scaled for found in explain(predictor, ["photo.jpg"], labels=["dog"])]`
    """
    request = _Request.of(predictor, labels, method, occlusion)
    return _explained(predictor, images, request)


def explain_image(
    predictor: Predictor,
    image: ImageSource,
    method: str | None = None,
    labels: Sequence[str] | None = None,
) -> Explanation:
    """The scores, labels and evidence maps of one image; otherwise as `explain`.

    Args:
        predictor: The model.
        image: A path or another place, the bytes of an image file, or an image that Pillow has
            opened. A large JPEG is decoded at a reduced size, as for prediction, only if it was not
            opened before.
        method: The method of evidence maps; the model's best one if not given.
        labels: The labels whose maps are computed; all labels if not given.

    Raises:
        ConfigError: The model has no such method, or no label is named.
        DataError: The model has no such label.
        ImageError: The image cannot be used.
    """
    request = _Request.of(predictor, labels, method, DEFAULT_OCCLUSION)
    return next(_of_batch(predictor, predictor.prepare(image)[None], request))


@final
@dataclass(frozen=True, slots=True)
class _Request:
    """What to compute of each image."""

    columns: tuple[int, ...]
    method: str
    kind: MapKind
    occlusion: Occlusion

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        labels: Sequence[str] | None,
        method: str | None,
        occlusion: Occlusion,
    ) -> _Request:
        known = methods(predictor.engine)
        chosen = find_method(method, known)
        return cls(_columns(predictor, labels), chosen, known[chosen], occlusion)


def _columns(predictor: Predictor, labels: Sequence[str] | None) -> tuple[int, ...]:
    if labels is None:
        return tuple(range(len(predictor.labels)))
    if isinstance(labels, str) or not labels:
        given = f"the text '{labels}'" if isinstance(labels, str) else "an empty list"
        raise ConfigError(
            f"The labels to explain are {given}.",
            where="labels",
            fix="Give a list of names, or leave it out to explain all labels.",
        )
    return tuple(predictor.labels.index(name) for name in labels)


def _explained(
    predictor: Predictor, images: Iterable[ImageSource], request: _Request
) -> Generator[Explanation | ImageError, None, None]:
    batches = predictor.prepare_batches(("", image) for image in images)
    try:
        for batch in batches:
            found = _of_batch(predictor, batch.pixels, request)
            for position in range(len(batch.keys)):
                error = batch.errors.get(position)
                yield next(found) if error is None else error
    finally:
        batches.close()


def _of_batch(
    predictor: Predictor, pixels: NDArray[np.uint8], request: _Request
) -> Iterator[Explanation]:
    """The explanations of prepared images; nothing runs if there are none."""
    if not len(pixels):
        return
    if request.method == _OCCLUSION:
        output = predictor.engine.run(pixels)
        maps = (
            _occlusion(predictor, image, logits, request)
            for image, logits in zip(pixels, output.logits, strict=True)
        )
    else:
        output = predictor.engine.run(pixels, [request.method], request.columns)
        maps = iter(output.evidence[request.method])
    scores = predictor.decision.scores(output.logits)
    decided = predictor.decision.decide(scores)
    for i, found in enumerate(maps):
        yield Explanation(
            scores[i], decided[i], found, request.method, request.kind, request.columns
        )


def _occlusion(
    predictor: Predictor,
    image: NDArray[np.uint8],
    logits: NDArray[np.float32],
    request: _Request,
) -> NDArray[np.float32]:
    engine, columns = predictor.engine, list(request.columns)
    settings, batch_size = request.occlusion, predictor.batch_size
    return occlusion_maps(engine, image, logits, columns, settings, batch_size=batch_size)
