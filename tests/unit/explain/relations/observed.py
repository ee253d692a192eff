"""A small bundle with relations, drawn images with boxes, and what is measured on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from manylabel.data.records import Box, Record, Records
from manylabel.labels import LabelSpace
from manylabel.models.heads import SRNModernConfig

NAMES = ("cat", "dog", "<b>owl</b>")
HEAD = SRNModernConfig(channels=8, relations="absolute", relation_channels=6, units_per_channel=2)


def drawn_records(folder: Path, make_image, *, images: int = 60, boxes: bool = True) -> Records:
    """Images of random blocks; dog follows cat and is always below it; owl is free."""
    random = np.random.default_rng(0)
    labels = LabelSpace(NAMES)
    items = []
    for i in range(images):
        cat = random.random() < 0.5
        dog = random.random() < (0.8 if cat else 0.2)
        there = (cat, dog, random.random() < 0.4)
        present = [name for name, is_there in zip(NAMES, there, strict=True) if is_there]
        own = (Box("cat", 0.1, 0.1, 0.4, 0.4), Box("dog", 0.1, 0.6, 0.4, 0.9))
        items.append(
            Record(
                f"{i:02}.png",
                make_image(folder / f"{i:02}.png", seed=i),
                labels.encode(present),
                split="test",
                boxes=tuple(box for box in own if box.label in present) if boxes else (),
            )
        )
    return Records.of(labels, items, source=str(folder))
