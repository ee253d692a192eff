"""An engine whose scores and maps can be said in one line, and images for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from manylabel.bundle.info import ModelInfo
from manylabel.data.records import Box, Record, Records
from manylabel.engines.engine import Engine, EngineOutput
from manylabel.evidence import CLASS_ACTIVATION, WEIGHTED_ATTENTION
from manylabel.labels import LabelSpace
from manylabel.predict import Predictor
from manylabel.preprocess import InputSpec

LABELS = LabelSpace(["left", "right"])
SIDE = 32
GREY = 128 / 255
SPEC = InputSpec(height=SIDE, width=SIDE, mean=(GREY, GREY, GREY))
LEFT, RIGHT = Box("left", 0, 0, 0.5, 1), Box("right", 0.5, 0, 1, 1)


class ToyEngine(Engine):
    """The logit of each half is 8 s - 4, where s is the share of its pixels that are not grey.

    `aim` is high on the label's own half, and `away` on the other half. `cam` is the mean
    brightness of each of 4x4 places above the image's mean, twice as much for the second label.
    """

    def __init__(self) -> None:
        info = ModelInfo(labels=LABELS.names, input=SPEC, thresholds=(0.5, 0.5))
        kinds = {"aim": WEIGHTED_ATTENTION, "away": WEIGHTED_ATTENTION, "cam": CLASS_ACTIVATION}
        super().__init__(info, weights_sha256="0" * 64, device="cpu", evidence=kinds)
        self.largest, self.asked = 0, set()

    def prepare(self, image):
        return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.NEAREST))

    def run(self, pixels, evidence=(), labels=None):
        self.largest = max(self.largest, len(pixels))
        self.asked.add(None if labels is None else tuple(labels))
        there = (np.abs(pixels.astype(int) - 128) > 64).any(axis=-1)
        halves = (there[:, :, : SIDE // 2], there[:, :, SIDE // 2 :])
        share = np.stack([half.mean(axis=(1, 2)) for half in halves], axis=1)
        own = np.zeros((2, 14, 14))
        own[0, :, :7] = own[1, :, 7:] = 1
        places = pixels.mean(axis=-1).reshape(-1, 4, 8, 4, 8).mean(axis=(2, 4))
        above = places - places.mean(axis=(1, 2), keepdims=True)
        maps = {
            "aim": np.broadcast_to(own, (len(pixels), 2, 14, 14)),
            "away": np.broadcast_to(own[::-1], (len(pixels), 2, 14, 14)),
            "cam": np.stack([above, 2 * above], axis=1),
        }
        logits = (8 * share - 4).astype(np.float32)
        columns = [0, 1] if labels is None else list(labels)
        return EngineOutput(logits, {method: maps[method][:, columns] for method in evidence})


def toy_predictor(batch_size: int = 4) -> Predictor:
    return Predictor(ToyEngine(), batch_size=batch_size)


def checkerboard() -> np.ndarray:
    """[SIDE, SIDE, 3], black and white pixels. Blurred, it is grey."""
    board = np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 255
    return np.repeat(board[..., None], 3, axis=2).astype(np.uint8)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def record(folder: Path, name: str, pixels: np.ndarray, boxes, targets=(1, 1)) -> Record:
    Image.fromarray(pixels).save(folder / name)
    return Record(name, folder / name, np.array(targets, dtype=np.int8), boxes=tuple(boxes))


def toy_records(folder: Path, count: int) -> Records:
    """Noise with both labels; odd images have a box of the left half alone."""
    items = [
        record(folder, f"{i}.png", noise(i), (LEFT,) if i % 2 else (LEFT, RIGHT))
        for i in range(count)
    ]
    return Records.of(LABELS, items, "toy")
