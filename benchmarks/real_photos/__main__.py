"""SRN compared with its own main net on real photographs, on a frozen pre-trained backbone.

    python -m benchmarks.real_photos --data DIR [--seeds 0 1 2] [--out FILE]

DIR holds `street5/` (COCO instances), `fashion/` (a table) and `weights/`. A set that is not there
is skipped. Nothing in DIR becomes part of the project. The next step starts from the epoch with the
best mAP on the validation split. The test split is measured once for each step and chooses nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.photographs import BACKBONE, SETS, WEIGHTS, PhotoSet, frequent
from manylabel.config import put, read_toml
from manylabel.data.read import DataSource
from manylabel.data.records import Records, Split
from manylabel.models.backbones import Backbone
from manylabel.train.config import RunConfig, resolve
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter
from manylabel.train.outcome import Outcome
from manylabel.train.page.build import build_run_page
from manylabel.train.run import load_records, run
from manylabel.train.views import cache_features

HERE = Path(__file__).parent
ROWS = ("main net, step 1", "main net, 29 epochs", "SRN step 2", "SRN step 3", "SRN step 4")


def main() -> None:
    options = _options()
    reporter = Reporter()
    results: dict[str, Any] = {}
    with reporter:
        for photos in SETS:
            if photos.name not in options.sets or not (options.data / photos.path).exists():
                reporter.say(f"{photos.name}: skipped.")
                continue
            results[photos.name] = _measure_set(photos, options, reporter)
    if not results:
        raise SystemExit(f"No set of photographs lies in {options.data}.")
    _print(results)
    headline = {
        f"{name}_{key}": value
        for name, result in results.items()
        for key, value in result["headline"].items()
    }
    if options.out is not None:
        text = json.dumps({"headline": headline, "sets": results}, indent=2)
        options.out.write_text(text + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_photos", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of photographs")
    parser.add_argument("--weights", type=Path, help="weights of timm's densenet169")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sets", nargs="+", default=[photos.name for photos in SETS])
    parser.add_argument("--runs", type=Path, help="keep the runs, with reports, in this folder")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    options.weights = options.weights or options.data / WEIGHTS
    return options


def _measure_set(
    photos: PhotoSet, options: argparse.Namespace, reporter: Reporter
) -> dict[str, Any]:
    source = DataSource(path=options.data / photos.path)
    records = frequent(load_records(source, reporter))
    reporter.say(records.summary())
    began = time.monotonic()
    config = _recipe("srn", options.weights, seed=0)
    torch.manual_seed(0)
    features = cache_features(
        config, records, Backbone(config.backbone), torch.device("cpu"), reporter
    )
    maps_seconds = time.monotonic() - began
    by_row: dict[str, list[float]] = {name: [] for name in ROWS}
    with tempfile.TemporaryDirectory() as temporary:
        runs = options.runs or Path(temporary)
        for seed in options.seeds:
            for name, value in _one_seed(
                runs / photos.name / str(seed), options.weights, seed, records, features, reporter
            ).items():
                by_row[name].append(value)
    means = {name: statistics.mean(values) for name, values in by_row.items()}
    return {
        "mAP": by_row,
        "seeds": options.seeds,
        "labels": len(records.labels),
        "images": {name: len(records.split(name)) for name in records.split_names()},
        "test_fingerprint": records.split("test").fingerprint(),
        "floor": dict(photos.floor),
        "seconds": {"maps": maps_seconds, "all": time.monotonic() - began},
        "headline": {
            "main_net": means["main net, step 1"],
            "main_net_long": means["main net, 29 epochs"],
            "srn": means["SRN step 4"],
            "gain": means["SRN step 4"] - means["main net, step 1"],
            "gain_over_long": means["SRN step 4"] - means["main net, 29 epochs"],
        },
    }


def _one_seed(
    folder: Path,
    weights: Path,
    seed: int,
    records: Records,
    features: Mapping[Split, CachedFeatures],
    reporter: Reporter,
) -> dict[str, float]:
    outcomes: dict[str, Outcome] = {}
    for recipe in ("srn", "linear"):
        config = _recipe(recipe, weights, seed)
        outcomes[recipe] = run(config, records, folder / recipe, reporter, features=features)
        build_run_page(outcomes[recipe], config)
    steps = [result["mAP"] for result in outcomes["srn"].results]
    longer = outcomes["linear"].results[0]["mAP"]
    return dict(zip(ROWS, [steps[0], longer, *steps[1:]], strict=True))


def _recipe(name: str, weights: Path, seed: int) -> RunConfig:
    path = HERE / f"{name}.toml"
    values = {"seed": seed, "backbone.name": BACKBONE, "backbone.weights": str(weights)}
    return resolve(put(read_toml(path), values), where=str(path))


def _print(results: Mapping[str, Any]) -> None:
    for name, result in results.items():
        seeds: Sequence[int] = result["seeds"]
        print(f"\n{name}: {result['labels']} labels, test mAP in percent, {len(seeds)} seeds")
        for row, values in result["mAP"].items():
            spread = max(values) - min(values)
            each = " ".join(f"{100 * value:.1f}" for value in values)
            mean = statistics.mean(values)
            print(f"  {row:22} {100 * mean:5.1f}   spread {100 * spread:.1f}   ({each})")
        floor = ", ".join(f"{key} {100 * value:.1f}" for key, value in result["floor"].items())
        print(f"  a plain script, one seed: {floor}")


if __name__ == "__main__":
    main()
