"""What to do with unknown labels in training: each option of the loss on real photographs.

    python -m benchmarks.unknown_labels --data DIR [--seeds 0 1 2] [--heads linear] [--out FILE]

DIR, backbone, recipes and labels are those of `benchmarks/real_photos`. Targets of the training
split are hidden in two ways, with a new draw for each seed. In the first, each image keeps one
label that is present, and all its other targets are hidden (all of them, if no label is present).
In the second, each target is hidden with a probability of one half.

Then a head is trained on the maps of the frozen backbone, once with each option and its published
settings. `expected-positives` gets the true mean number of labels, as in its authors' code. The
epoch is chosen on the validation split, whose truth is complete, as in the papers. The test split,
whose truth is complete, too, is measured once for each run and chooses nothing.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common import processor, versions, write
from benchmarks.photographs import SETS, WEIGHTS, PhotoSet, frequent
from benchmarks.real_photos.__main__ import _recipe
from manylabel.config import parse
from manylabel.data.read import DataSource
from manylabel.data.records import SPLITS, Records, Split
from manylabel.labels import PRESENT, UNKNOWN
from manylabel.losses import BCEConfig
from manylabel.models.backbones import Backbone, FeatureMaps
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records, run
from manylabel.train.views import cache_features

Targets = NDArray[np.int8]
Features = Mapping[Split, CachedFeatures]

OPTIONS: Final = (
    "ignore",
    "negative",
    "weak-negative",
    "smoothed-negative",
    "expected-positives",
    "entropy",
)
FULL: Final = "full labels"


def single_positive(targets: Targets, random: np.random.Generator) -> Targets:
    """Of each row one label that is present, all else unknown; [N, C] in and out."""
    hidden = np.full_like(targets, UNKNOWN)
    for row, truth in zip(hidden, targets, strict=True):
        if len(present := np.flatnonzero(truth == PRESENT)):
            row[random.choice(present)] = PRESENT
    return hidden


def half_known(targets: Targets, random: np.random.Generator) -> Targets:
    """Each target unknown with a chance of a half; [N, C] in and out."""
    return np.where(random.random(targets.shape) < 0.5, UNKNOWN, targets).astype(np.int8)


HIDDEN: Final[Mapping[str, Callable[[Targets, np.random.Generator], Targets]]] = {
    "single positive": single_positive,
    "half known": half_known,
}
"""How training targets are hidden, by name."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {}
    with Reporter() as reporter:
        for photos in SETS:
            if photos.name not in options.sets or not (options.data / photos.path).exists():
                reporter.say(f"{photos.name}: skipped.")
                continue
            results[photos.name] = _measure_set(photos, options, reporter)
    if not results:
        raise SystemExit(f"No set of photographs lies in {options.data}.")
    for name, result in results.items():
        _print(name, result)
    figures = {
        "headline": _headline(results),
        "sets": results,
        "processor": processor(),
        "versions": versions("torch", "timm", "numpy"),
    }
    write(figures, options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unknown_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of photographs")
    parser.add_argument("--weights", type=Path, help="weights of timm's densenet169")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sets", nargs="+", default=[photos.name for photos in SETS])
    parser.add_argument("--heads", nargs="+", choices=["linear", "srn"], default=["linear"])
    parser.add_argument("--epochs", type=int, help="epochs of each step, for a quick try")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="processor threads")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    options.weights = options.weights or options.data / WEIGHTS
    return options


def _measure_set(
    photos: PhotoSet, options: argparse.Namespace, reporter: Reporter
) -> dict[str, Any]:
    records = frequent(load_records(DataSource(path=options.data / photos.path), reporter))
    reporter.say(records.summary())
    began = time.monotonic()
    config = _recipe("linear", options.weights, seed=0)
    features = cache_features(
        config, records, Backbone(config.backbone), torch.device("cpu"), reporter
    )
    maps_seconds = time.monotonic() - began
    heads: dict[str, dict[str, dict[str, list[float]]]] = {}
    for head in options.heads:
        maps = _pooled(features) if head == "linear" else features
        heads[head] = _measure_head(head, records, maps, options, reporter)
    train = records.split("train").targets
    return {
        "mAP": heads,
        "seeds": options.seeds,
        "labels": len(records.labels),
        "images": {name: len(records.split(name)) for name in records.split_names()},
        "expected_positives": _positives(train),
        "test_fingerprint": records.split("test").fingerprint(),
        "seconds": {"maps": maps_seconds, "all": time.monotonic() - began},
    }


def _measure_head(
    head: str,
    records: Records,
    features: Features,
    options: argparse.Namespace,
    reporter: Reporter,
) -> dict[str, dict[str, list[float]]]:
    """Test mAP of each seed, by how targets were hidden and by option."""
    train = records.split("train").targets
    ways: dict[str, dict[str, list[float]]] = {name: {} for name in HIDDEN}
    for seed in options.seeds:
        full = _train(head, records, features, BCEConfig(), seed, options)
        for way, hide in HIDDEN.items():
            shown = _with_train(records, hide(train, np.random.default_rng(seed)))
            ways[way].setdefault(FULL, []).append(full)
            for option in OPTIONS:
                value = _train(head, shown, features, _loss(option, train), seed, options)
                ways[way].setdefault(option, []).append(value)
                reporter.say(f"{head}, seed {seed}, {way}, {option}: test mAP {100 * value:.1f}")
    return ways


def _loss(option: str, targets: Targets) -> BCEConfig:
    """Cross-entropy with an option for unknown targets; `targets` [N, C] are whole."""
    unknown: dict[str, object] = {"name": option}
    if option == "expected-positives":
        unknown["positives"] = _positives(targets)
    return parse(BCEConfig, {"unknown": unknown}, where=option)


def _train(
    head: str,
    records: Records,
    features: Features,
    loss: BCEConfig,
    seed: int,
    options: argparse.Namespace,
) -> float:
    """Test mAP of one run."""
    config = _recipe(head, options.weights, seed)
    changes: dict[str, Any] = {"loss": loss}
    if options.epochs is not None:
        changes["steps"] = tuple(
            step.model_copy(update={"epochs": options.epochs}) for step in config.steps
        )
    maps: dict[Split, CachedFeatures] = {
        name: CachedFeatures(records.split(name), part.views) for name, part in features.items()
    }
    silent = Reporter(console=Console(file=io.StringIO()))
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(
            config.model_copy(update=changes), records, Path(folder), silent, features=maps
        )
    return outcome.results[-1]["mAP"]


def _with_train(records: Records, targets: Targets) -> Records:
    """The records with other targets [N, C] in the training split."""
    changed = records.targets.copy()
    changed[records.splits == SPLITS.index("train")] = targets
    return replace(records, targets=changed)


def _pooled(features: Features) -> dict[Split, CachedFeatures]:
    """What the linear head sees of the maps: the final ones' means. It never looks at the mid."""

    def pool(maps: FeatureMaps) -> FeatureMaps:
        return FeatureMaps(maps.mid[:, :1, :1, :1], maps.final.float().mean((2, 3), keepdim=True))

    return {
        name: CachedFeatures(part.records, [pool(view) for view in part.views])
        for name, part in features.items()
    }


def _positives(targets: Targets) -> float:
    """Labels that are present, an image."""
    return float((targets == PRESENT).sum(1).mean())


def _headline(results: Mapping[str, Any]) -> dict[str, float]:
    """Mean test mAP by set, head, way of hiding and option."""
    return {
        "_".join((name, head, way, option)).replace(" ", "_"): statistics.mean(values)
        for name, result in results.items()
        for head, ways in result["mAP"].items()
        for way, rows in ways.items()
        for option, values in rows.items()
    }


def _print(name: str, result: Mapping[str, Any]) -> None:
    """A Markdown table: mean test mAP over seeds in percent, and highest less lowest."""
    for head, ways in result["mAP"].items():
        print(f"\n{name}, {head} head, {result['labels']} labels, {len(result['seeds'])} seeds\n")
        print(f"| in training | {' | '.join(ways)} |")
        print("| --- |" + " ---: |" * len(ways))
        for option in (FULL, *OPTIONS):
            cells = [
                f"{100 * statistics.mean(rows[option]):.1f} "
                f"({100 * (max(rows[option]) - min(rows[option])):.1f})"
                for rows in ways.values()
            ]
            print(f"| {option} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
