"""Insertion and deletion: what the model says while pixels come and go in the order of a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from manylabel.data.records import Records
from manylabel.explain.scores.grids import centre_map, resized
from manylabel.explain.scores.pairs import (
    BASELINES,
    PairRows,
    PairTable,
    Reached,
    Stage,
    silent,
    walk,
)
from manylabel.predict import Predictor
from manylabel.preprocess import InputSpec

BLUR: Final = 0.05
"""The standard deviation of the blur, as a fraction of the longer side: 11 pixels of 224."""

Pixels = NDArray[np.uint8]


@final
@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """How insertion and deletion are measured.

    Args:
        steps: The number K of equal parts in which pixels are put in or taken away.
        seed: The seed of random maps, and of the order of pixels that are equally high.
    """

    steps: int = 16
    seed: int = 0


def measure_removal(
    predictor: Predictor,
    records: Records,
    pairs: PairTable,
    plan: RemovalPlan,
    *,
    stage: Stage = silent,
) -> PairTable:
    """Insertion and deletion of some pairs, for the methods of the table and its baselines.

    Args:
        predictor: The model.
        records: The images that the pairs count in.
        pairs: The pairs. Their values are not used.
        plan: How to measure.
        stage: Shows the progress.
    """
    methods = pairs.methods[: -len(BASELINES)]
    order = np.lexsort((pairs.labels, pairs.images))
    images, starts = np.unique(pairs.images[order], return_index=True)
    columns = np.split(pairs.labels[order], starts[1:])
    rows = PairRows(pairs.methods)
    with stage("removing pixels", len(pairs)) as shown:
        for image in walk(predictor, records.select(images), methods, []):
            for column in columns[image.row].tolist():
                row = int(images[image.row])
                random = np.random.default_rng((plan.seed, row, column))
                rows.add(row, column, _removal(predictor, image, column, plan.steps, random))
                shown.done(len(rows.images))
    return rows.table()


def removal_curves(
    predictor: Predictor, pixels: Pixels, column: int, orders: Sequence[NDArray[Any]], steps: int
) -> dict[str, NDArray[np.float64]]:
    """The score of a label while pixels are put in or taken away, by measure: [M, K + 1].

    Deletion begins with the image and ends with the model's mean colour. Insertion begins with the
    blurred image and ends with the image.

    Args:
        predictor: The model. Scores are those of its decision, 0..1.
        pixels: uint8 [H, W, 3].
        column: The column of the label.
        orders: M orders of the pixels: the rank of each pixel, int [H, W], 0 first.
        steps: K.

    Source: V. Petsiuk, A. Das, K. Saenko, "RISE: Randomized Input Sampling for Explanation of
    Black-box Models", BMVC 2018, section 4.1. Deliberate differences: K parts instead of single
    pixels; the blur is stronger and follows the size of the image; the score is a label's own.
    """
    grey, blurred = blank(pixels.shape[:2], predictor.spec), blur(pixels)
    parts = [pixels.shape[0] * pixels.shape[1] * k // steps for k in range(1, steps)]

    def images() -> Iterator[Pixels]:
        yield from (pixels, grey, blurred)
        for new, old in ((grey, pixels), (pixels, blurred)):
            for order in orders:
                yield from (np.where((order < part)[..., None], new, old) for part in parts)

    scores = _scores(predictor, images(), column)
    whole, none, vague = scores[:3]
    middle = scores[3:].reshape(2, len(orders), len(parts))
    return {
        "deletion": np.pad(middle[0], ((0, 0), (1, 1)), constant_values=((0, 0), (whole, none))),
        "insertion": np.pad(middle[1], ((0, 0), (1, 1)), constant_values=((0, 0), (vague, whole))),
    }


def area_under(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area under curves [M, K + 1] over 0..1, by the trapezoidal rule: [M]."""
    return (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2


def ranks(one: NDArray[Any], random: np.random.Generator) -> NDArray[np.int64]:
    """The rank of each value of a map [H, W], 0 for the highest. Equal ones are in random order."""
    order = np.lexsort((random.random(one.size), -one.ravel()))
    found = np.empty(one.size, dtype=np.int64)
    found[order] = np.arange(one.size)
    return found.reshape(one.shape)


def blank(shape: tuple[int, ...], spec: InputSpec) -> Pixels:
    """An image [H, W, 3] of the colour that the model's input maps to zero."""
    mean = spec.mean if spec.colour_order == "rgb" else spec.mean[::-1]
    colour = (np.array(mean) / spec.value_scale).clip(0, 255).round()
    return np.broadcast_to(colour.astype(np.uint8), (*shape, 3))


def blur(pixels: Pixels) -> Pixels:
    """A copy of an image that is too blurred for details to be seen."""
    radius = BLUR * max(pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _removal(
    predictor: Predictor, image: Reached, column: int, steps: int, random: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """The areas under the curves of one pair: [M + 2] by measure."""
    height, width = image.pixels.shape[:2]
    own = list(image.maps[column].values())
    # A random map has as many positions as the first method's. Single pixels would be noise, which
    # disturbs the model more than patches do.
    maps = [resized(each, height, width) for each in (*own, random.random(own[0].shape))]
    maps.insert(-1, centre_map(height, width))
    orders = [ranks(each, random) for each in maps]
    curves = removal_curves(predictor, image.pixels, column, orders, steps)
    return {name: area_under(each) for name, each in curves.items()}


def _scores(predictor: Predictor, images: Iterator[Pixels], column: int) -> NDArray[np.float64]:
    """The label's score of each image; no more than a batch of images is held."""
    found: list[NDArray[Any]] = []
    while batch := list(islice(images, predictor.batch_size)):
        logits = predictor.engine.run(np.stack(batch)).logits
        found.append(predictor.decision.scores(logits)[:, column])
    return np.concatenate(found).astype(np.float64)
