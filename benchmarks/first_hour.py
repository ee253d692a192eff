"""The first hour: minutes and test mAP of `manylabel train --data` on real photographs.

    python -m benchmarks.first_hour --data DIR [--weights FILE] [--out FILE]

DIR holds the photographs of `benchmarks.real_photos`. For each set, the default is trained once,
from files to a tuned bundle, and measured on test beside the linear probe on the same frozen
backbone, which is one of its ways. The default of before, four steps of SRN on a ResNet-50
(`quick-resnet50-srn`), is not trained: its minutes are estimated from two timed batches for each
step, and it has no mAP here.

The processor's seconds are those of this process and of those that it started. On a machine that
does nothing else they are close to the time that passes, with one thread.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import arguments, processor, versions, write
from benchmarks.photographs import SETS, PhotoSet
from manylabel.config import put, read_toml
from manylabel.data.read import DataSource
from manylabel.data.records import Records
from manylabel.models.classifier import build_classifier, module_of_step
from manylabel.train.auto.run import train_best
from manylabel.train.auto.ways import ATTENTION, LINEAR, MODERN, WAYS, Choices
from manylabel.train.config import find_recipe, resolve
from manylabel.train.epoch_batches import SCORING
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records
from manylabel.train.steps import train_only

BEFORE = "quick-resnet50-srn"
_TIMED = 8
"""The number of images in a timed batch."""


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--data", type=Path, required=True, help="the folder of photographs")
    parser.add_argument("--weights", help="weights of EfficientNet-Lite0")
    parser.add_argument("--sets", nargs="+", default=[photos.name for photos in SETS])
    parser.add_argument("--runs", type=Path, help="keep the runs in this folder")
    parser.add_argument("--minutes", type=float, help="the minutes that a plan may take")
    parser.add_argument(
        "--frozen", action="store_true", help="only the frozen ways, on a machine that is busy"
    )
    options = parser.parse_args()
    sets: dict[str, Any] = {}
    with Reporter() as reporter, tempfile.TemporaryDirectory() as temporary:
        for photos in SETS:
            if photos.name in options.sets and (options.data / photos.path).exists():
                folder = (options.runs or Path(temporary)) / photos.name
                sets[photos.name] = _measure(photos, folder, options, reporter)
                _print(photos.name, sets[photos.name])
                write(_figures(sets), options.out)


def _figures(sets: dict[str, Any]) -> dict[str, Any]:
    headline = {
        f"{name}_{key}": each[key]
        for name, each in sets.items()
        for key in ("default_mAP", "linear_mAP", "default_minutes", "before_minutes")
    }
    return {
        "headline": headline,
        "sets": sets,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "versions": versions("torch", "timm"),
    }


def _measure(photos: PhotoSet, folder: Path, options: Any, reporter: Reporter) -> dict[str, Any]:
    began, worked = time.monotonic(), _processor_seconds()
    choices = Choices(weights=options.weights)
    ways = (LINEAR, MODERN, ATTENTION) if options.frozen else WAYS
    config = choices.recipe(LINEAR)
    records = load_records(DataSource(path=options.data / photos.path), reporter, config)
    best = train_best(records, folder, reporter, choices, minutes=options.minutes, ways=ways)
    passed, worked = time.monotonic() - began, _processor_seconds() - worked
    tested = None if best.tuned is None else best.tuned.held_out
    return {
        "default_mAP": best.outcome.handed_over["mAP"],
        "linear_mAP": best.test_mAP["linear"],
        "test_mAP": best.test_mAP,
        "val": {name: each.as_dict() for name, each in best.compared.items()},
        "handed_over": best.way.name,
        "CF1": [best.outcome.handed_over["CF1"], None if tested is None else tested.all.CF1],
        "default_minutes": passed / 60,
        "default_processor_minutes": worked / 60,
        "plan": best.plan.as_dict(),
        "before_minutes": _before(records) / 60,
    }


def _processor_seconds() -> float:
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


def _before(records: Records) -> float:
    """The processor's seconds of the default of before: an estimate from timed batches."""
    tables = put(read_toml(find_recipe(BEFORE)), {"backbone.pretrained": False, "device": "cpu"})
    config = resolve(tables, where=BEFORE)
    classifier = build_classifier(config.model, records.labels, config.input)
    images = torch.rand(_TIMED, 3, config.input.height, config.input.width)
    counts, total = records.split_counts(), 0.0
    for step in config.steps:
        plan = config.plan_of(step.kind)
        train_only(classifier, config.parts_of(step), step.freeze_stages)
        module = module_of_step(classifier, plan)
        once = []
        for _ in range(2):
            began = time.process_time()
            output = module(images)
            torch.stack([output.select(name).sum() for name in plan.losses]).sum().backward()
            once.append(time.process_time() - began)
        scored = SCORING * (step.epochs * counts["val"] + counts["test"])
        total += min(once) / len(images) * (step.epochs * counts["train"] + scored)
    return total


def _print(name: str, found: dict[str, Any]) -> None:
    each = ", ".join(f"{way} {100 * value:.1f}" for way, value in found["test_mAP"].items())
    print(f"{name}: test mAP {each}; handed over: {found['handed_over']}")
    print(
        f"  default {found['default_minutes']:.1f} min (processor: "
        f"{found['default_processor_minutes']:.1f}); before, estimated: "
        f"{found['before_minutes']:.0f} min of the processor",
        flush=True,
    )


if __name__ == "__main__":
    main()
