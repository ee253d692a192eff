"""An engine whose logits are known in closed form, with or without a shortcut, and images for it.

An image is 32 x 32. A fork is a red square, a table a green bar, a plate a blue square, of 64
pixels each. The logit of a fork is its redness, plus `shortcut` times the greenness. So a fork
rests on a table by exactly that much.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manylabel.bundle.info import ModelInfo
from manylabel.data.records import Box, Record, Records
from manylabel.engines.engine import Engine, EngineOutput
from manylabel.evidence import CLASS_ACTIVATION
from manylabel.labels import LabelSpace
from manylabel.predict import Predictor
from manylabel.preprocess import InputSpec

TOY_LABELS = LabelSpace(["fork", "table", "plate"])
SIDE = 32
GREY = 100


def amounts(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The share of red, green and blue in each image beyond grey, [N, 3], as parts of 64 pixels."""
    values = pixels.astype(float)
    beyond = np.clip(values - values.min(axis=-1, keepdims=True), 0, None) / 155
    return beyond.sum(axis=(1, 2)) / 64


class ToyEngine(Engine):
    """Logits from colours: see the module. `runs` are the numbers of images of each call."""

    def __init__(self, shortcut: float) -> None:
        info = ModelInfo(
            labels=TOY_LABELS.names, input=InputSpec(height=SIDE, width=SIDE), thresholds=(0.5,) * 3
        )
        super().__init__(
            info, weights_sha256="0" * 64, device="none", evidence={"cam": CLASS_ACTIVATION}
        )
        self.shortcut = shortcut
        self.runs: list[int] = []

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image

    def run(self, pixels: NDArray[np.uint8], evidence: Sequence[str] = ()) -> EngineOutput:
        self.runs.append(len(pixels))
        red, green, blue = amounts(pixels).T
        logits = np.stack([4 * red + self.shortcut * green - 2, 4 * green - 2, 4 * blue - 2], 1)
        maps = np.moveaxis(pixels.astype(float) - GREY, 3, 1)
        return EngineOutput(logits.astype(np.float32), dict.fromkeys(evidence, maps))


def draw(random: np.random.Generator, present: Sequence[bool]) -> tuple[Image.Image, list[Box]]:
    """An image with a fork, a table and a plate where they are present, and their boxes.

    A fork is in the upper left quarter, a plate in the upper right one, a table below.
    """
    pixels = np.full((SIDE, SIDE, 3), GREY, dtype=np.uint8)
    boxes = []
    for channel, name in enumerate(TOY_LABELS):
        if present[channel]:
            height, width = ((8, 8), (4, 16), (8, 8))[channel]
            top = int(random.integers(0, 6)) + (18 if name == "table" else 0)
            left = int(random.integers(0, 7)) + (16 if name == "plate" else 0)
            pixels[top : top + height, left : left + width] = 0
            pixels[top : top + height, left : left + width, channel] = 155
            box = (left, top, left + width, top + height)
            boxes.append(Box(name, *(edge / SIDE for edge in box)))
    return Image.fromarray(pixels), boxes


def make_toys(folder: Path, count: int = 240, *, boxes: bool = True, seed: int = 0) -> Records:
    """Draws images in which 80 % of the forks are beside a table, and plates are anywhere."""
    random = np.random.default_rng(seed)
    items = []
    for number in range(count):
        fork, plate = random.random(2) < (0.4, 0.3)
        table = random.random() < (0.8 if fork else 0.4)
        image, found = draw(random, (fork, table, plate))
        path = folder / f"{number:04d}.png"
        image.save(path)
        targets = np.array([fork, table, plate], dtype=np.int8)
        items.append(Record(path.name, path, targets, boxes=tuple(found) if boxes else ()))
    return Records.of(TOY_LABELS, items, "toys")


def toy_predictor(shortcut: float, batch_size: int = 16) -> Predictor:
    return Predictor(ToyEngine(shortcut), batch_size=batch_size)


def scored(predictor: Predictor, records: Records) -> NDArray[np.float32]:
    """The scores of all images, [N, C]."""
    images = zip(records.keys, records.images, strict=True)
    return np.concatenate([batch.scores for batch in predictor.predict_batches(images)])
