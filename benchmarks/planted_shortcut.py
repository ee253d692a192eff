"""Does `manylabel audit` find a shortcut that was planted, and none where none was planted?

python -m benchmarks.planted_shortcut [--backbone NAME] [--weights SOURCE] [--head NAME]
    [--seeds N] [--out FILE]

Drawn scenes get a sticker, a label of its own. Flowers are half hidden in most scenes, so they are
hard to see. Two models are trained for each seed, on the same scenes: in one training set, 95 % of
the scenes with a flower and 10 % of the others have a sticker; in the other one, as many stickers
are anywhere. Both models are audited on the same test images, in which stickers go with flowers.
The backbone has ImageNet weights, by default those of a package, and stays frozen.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.common import write
from benchmarks.heads_study.cells import HERE
from manylabel.config import put, read_toml
from manylabel.data.records import SPLITS, Box, Record, Records, Split
from manylabel.data.synthetic import LABELS, render_scene, sample_scene
from manylabel.evaluate.run import evaluate
from manylabel.explain.audit.findings import Audit
from manylabel.explain.audit.run import AuditSettings, audit
from manylabel.labels import LabelSpace
from manylabel.models.backbones import Backbone
from manylabel.models.packaged import LITE0, PACKAGE
from manylabel.predict import Predictor
from manylabel.train.config import RunConfig, resolve
from manylabel.train.logs import Reporter
from manylabel.train.run import run
from manylabel.train.views import cache_features

SIZE: Final = 128
COUNTS: Final[Mapping[Split, int]] = {"train": 600, "val": 60, "test": 300}
LABEL, COMPANION = "flower", "sticker"
SPACE: Final = LabelSpace([*LABELS, COMPANION])
WITH, WITHOUT = 0.95, 0.10
"""P(sticker | flower) and P(sticker | no flower) of the planted shortcut."""
HIDDEN_SHARE: Final = 0.85
"""The share of flowers that are half hidden."""
STICKER: Final = 22
"""The side of a sticker in pixels."""
_OWN: Final = (115, 104)
"""Part of the seed of stickers. With the seed of a scene, they would follow its first label."""
STEPS: Final = {"linear": "main"}
"""The kind of step by head; others are trained in one step with all their branches."""


def records_of(seed: int, folder: Path) -> dict[str, Records]:
    """The scenes of a seed: with the shortcut planted in train and val, and without it.

    Both have the same drawings, and the same test split, in which the shortcut is planted.
    """
    items: dict[str, list[Record]] = {"with flowers": [], "anywhere": []}
    for split in SPLITS:
        for index in range(COUNTS[split]):
            drawing = render_scene(sample_scene(seed, split, index), SIZE)
            for name in items:
                planted = split == "test" or name == "with flowers"
                path = folder / f"{split}-{index:04d}-{'planted' if planted else 'control'}.png"
                random = np.random.default_rng((*_OWN, seed, SPLITS.index(split), index))
                boxes = _stick(drawing.image, drawing.boxes, path, random, planted=planted)
                targets = SPACE.encode({box.label for box in boxes})
                items[name].append(Record(path.name, path, targets, split=split, boxes=boxes))
    return {name: Records.of(SPACE, each, f"stickers {name}") for name, each in items.items()}


def _stick(
    drawn: Image.Image,
    boxes: tuple[Box, ...],
    path: Path,
    random: np.random.Generator,
    *,
    planted: bool,
) -> tuple[Box, ...]:
    """Save a scene with its flower hidden, and perhaps with a sticker; return its boxes."""
    image, chance, share = drawn.copy(), random.random(), random.random()
    flower = next((box for box in boxes if box.label == LABEL), None)
    if flower is not None and share < HIDDEN_SHARE:
        _hide_half(image, flower, random)
    if chance < _chance_of_sticker(flower is not None, planted):
        boxes = (*boxes, _paste_sticker(image, flower, random))
    image.save(path, compress_level=1)
    return boxes


def _chance_of_sticker(flower: bool, planted: bool) -> float:
    if planted:
        return WITH if flower else WITHOUT
    prior = 0.26  # of a flower: as many stickers in all
    return prior * WITH + (1 - prior) * WITHOUT


def _hide_half(image: Image.Image, box: Box, random: np.random.Generator) -> None:
    """Cover the middle of a box with the noise of a place that is drawn at random."""
    left, top, right, bottom = (round(side * SIZE) for side in _sides(box))
    inset = (right - left) // 6
    size = (max(1, right - left - 2 * inset), max(1, bottom - top - inset))
    corner = random.integers(0, SIZE - np.array(size)).tolist()
    patch = image.crop((*corner, corner[0] + size[0], corner[1] + size[1]))
    image.paste(patch, (left + inset, top))


def _paste_sticker(image: Image.Image, avoid: Box | None, random: np.random.Generator) -> Box:
    """Paste a striped disc at a place that does not touch the box, and return its box."""
    while True:
        left, top = random.integers(0, SIZE - STICKER, 2).tolist()
        box = Box(COMPANION, *(x / SIZE for x in (left, top, left + STICKER, top + STICKER)))
        if avoid is None or not _touch(box, avoid):
            break
    disc = Image.new("RGB", (STICKER, STICKER), (235, 30, 160))
    draw = ImageDraw.Draw(disc)
    for x in range(0, STICKER, 6):
        draw.rectangle((x, 0, x + 2, STICKER), fill=(250, 250, 250))
    mask = Image.new("L", disc.size)
    ImageDraw.Draw(mask).ellipse((0, 0, STICKER - 1, STICKER - 1), fill=255)
    image.paste(disc, (left, top), mask)
    return box


def _sides(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom


def _touch(one: Box, other: Box) -> bool:
    return (
        one.left < other.right
        and other.left < one.right
        and one.top < other.bottom
        and other.top < one.bottom
    )


def recipe(head: str, backbone: str, weights: str, seed: int, epochs: int) -> RunConfig:
    """The recipe: a head on the frozen backbone, whose maps are computed once."""
    step = {"kind": STEPS.get(head, "whole-branches"), "epochs": epochs, "freeze": ["backbone"]}
    tables = put(
        read_toml(HERE / "frozen.toml"),
        {
            "backbone.name": backbone,
            "backbone.weights": weights,
            "input.height": SIZE,
            "input.width": SIZE,
            "input.mean": [0.5] * 3,
            "input.std": [0.5] * 3,
            "augment.name": "none",
            "optim.lr": 3e-3,
            "seed": seed,
            "workers": 0,
        },
    )
    return resolve({**tables, "head": {"name": head}, "steps": [step]}, where="planted_shortcut")


def audited(config: RunConfig, records: Records, folder: Path) -> tuple[Audit, float]:
    """The audit of a model that is trained on the records, and its mAP on their test split."""
    test = records.split("test")
    with Reporter() as reporter:
        backbone = Backbone(config.backbone)
        features = cache_features(config, records, backbone, torch.device("cpu"), reporter)
        outcome = run(config, records, folder, reporter, features=features)
    predictor = Predictor.load(outcome.bundle, device="cpu")
    scored = evaluate(predictor, test)
    settings = AuditSettings(companions=2, images_per_pair=40, resamples=500, seed=config.seed)
    return audit(predictor, test, scored.scores, settings), scored.measures.mAP


def figures(found: Audit) -> dict[str, Any]:
    """The planted pair in an audit, and the strongest other pair."""
    place, own = next(
        (rank, each)
        for rank, each in enumerate(found.findings, start=1)
        if (each.label, each.companion) == (LABEL, COMPANION)
    )
    others = [each for each in found.findings if each is not own]
    strongest = max(others, key=lambda each: np.nan_to_num(each.hidden.effect.value, nan=-1.0))
    auc = own.contrasts.auc
    return {
        "rank": place,
        "pairs": len(found.findings),
        "verdict": own.verdict,
        "effect": [own.hidden.effect.value, own.hidden.effect.low, own.hidden.effect.high],
        "because": [len(own.hidden.because), own.hidden.false_positives],
        "negatives_AUC": None if auc is None else auc.value,
        "rests_on": [
            f"{each.label} on {each.companion}"
            for each in found.findings
            if each.verdict == "rests on"
        ],
        "strongest_other": [
            f"{strongest.label} on {strongest.companion}",
            strongest.hidden.effect.value,
        ],
    }


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    print("| seed | stickers in training | mAP | rank | verdict | effect (95 %) | because | AUC |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        value, low, high = row["effect"]
        auc = row["negatives_AUC"]
        print(
            f"| {row['seed']} | {row['training']} | {100 * row['mAP']:.1f} "
            f"| {row['rank']} of {row['pairs']} | {row['verdict']} "
            f"| {value:+.3f} ({low:+.3f} to {high:+.3f}) | {row['because'][0]} of "
            f"{row['because'][1]} | {'-' if auc is None else f'{auc:.2f}'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", default=PACKAGE, help="another source of its weights")
    parser.add_argument("--backbone", default=LITE0, help="a model of timm")
    parser.add_argument("--head", default="srn-modern", help="the head to train")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, start = [], time.perf_counter()
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as kept:
            folder = Path(kept)
            config = recipe(given.head, given.backbone, given.weights, seed, given.epochs)
            for name, records in records_of(seed, folder).items():
                found, score = audited(config, records, folder / name)
                rows.append({"seed": seed, "training": name, "mAP": score, **figures(found)})
                print(json.dumps(rows[-1]), f"{time.perf_counter() - start:.0f} s", flush=True)
    print_table(rows)
    head = {"head": given.head, "backbone": given.backbone}
    write({"headline": _headline(rows), **head, "rows": rows}, given.out)


def _headline(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The worst rank and effect with the shortcut, and the best of both without it."""
    planted = [row for row in rows if row["training"] == "with flowers"]
    control = [row for row in rows if row["training"] == "anywhere"]
    return {
        "worst_rank_planted": max(row["rank"] for row in planted),
        "best_rank_control": min(row["rank"] for row in control),
        "least_effect_planted": min(row["effect"][0] for row in planted),
        "largest_effect_control": max(row["effect"][0] for row in control),
    }


if __name__ == "__main__":
    main()
