"""All heads compared: the same backbone, images, epochs and tuning budget.

    python -m benchmarks.heads_study --work DIR [--data PHOTOGRAPHS] [--sets street5 fashion scenes]

On photographs, the backbone is a frozen DenseNet-169 whose maps are computed once. With
`--fine-tune`, it is trained together with the head, which needs a GPU. On drawn scenes, a small
backbone is trained from scratch together with the head.

Every head gets the same number of epochs, the same augmentation and the same loss, and the same
learning rates to choose from. Three rates are tried first, then the next one as long as the best is
at the end of the range. The best validation mAP at the tuning seed decides. The test split is
measured once for each run and chooses nothing.

The result of each run is a file in DIR, so that a stopped study can continue. Several processes can
share the work with `--heads`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from statistics import mean
from typing import Any, Final

from benchmarks.common import processor, versions, write
from benchmarks.heads_study import tables
from benchmarks.heads_study.cells import Cell, Ground, figures_of, kept, tuned
from benchmarks.heads_study.contenders import ALL, CONTENDERS
from benchmarks.heads_study.cost import cost_of, times_of
from benchmarks.photographs import BACKBONE, SETS, WEIGHTS, frequent, frozen_maps
from manylabel.config import put, read_toml
from manylabel.data.read import DataSource
from manylabel.data.records import Records
from manylabel.data.synthetic import draw_scenes
from manylabel.train.config import resolve
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records

RATES: Final = {
    "frozen.toml": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "tuned.toml": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "scratch.toml": (1.25e-4, 5e-4, 2e-3, 8e-3, 3.2e-2),
}
"""The rates that each head may choose from, by recipe; the three in the middle are tried first."""
SCENES_TUNING_SEED: Final = 10
"""Scenes that rates are chosen on; none of these is measured."""


def main() -> None:
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    sets: dict[str, dict[str, Any]] = {}
    with Reporter() as reporter:
        for name in args.sets:
            if (ground := _ground(name, args, reporter)) is None:
                reporter.say(f"{name}: skipped, {args.data} has no such photographs.")
                continue
            title = f"{name}, fine-tuned" if args.fine_tune and not ground.small else name
            sets[title] = _measure(title, ground, args, reporter)
    if args.no_tables:
        return
    times = times_of(args.heads)
    found = {h: {**_cost(h, args.work), "ms_per_image": times[h]} for h in args.heads}
    for name, rows in sets.items():
        print(tables.accuracy(name, rows), end="\n\n")
    print(tables.costs(found))
    if args.plot is not None:
        tables.draw(sets, found, args.plot)
    write(_report(sets, found, args), args.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.heads_study", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and maps")
    parser.add_argument("--data", type=Path, help="the folder of photographs")
    parser.add_argument("--sets", nargs="+", default=[*(s.name for s in SETS), "scenes"])
    parser.add_argument("--heads", nargs="+", default=list(CONTENDERS), choices=ALL)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10, help="epochs on photographs")
    parser.add_argument("--fine-tune", action="store_true", help="also train the backbone")
    parser.add_argument("--scenes-epochs", type=int, default=12, help="epochs on drawn scenes")
    parser.add_argument("--no-tables", action="store_true", help="only train; print no tables")
    parser.add_argument("--plot", type=Path, help="write the plot of accuracy over cost")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def _measure(
    name: str, ground: Ground, args: argparse.Namespace, reporter: Reporter
) -> dict[str, Any]:
    """Each head's figures on one set: tuned at one seed, measured at all."""
    rows: dict[str, Any] = {}
    tuning_seed = SCENES_TUNING_SEED if ground.small else args.seeds[0]
    epochs = args.scenes_epochs if ground.small else args.epochs

    def measure(head: str, seed: int, lr: float) -> dict[str, Any]:
        cell = Cell(name, head, seed, lr, epochs)
        return figures_of(cell, ground, args.work / "cells", reporter)

    for head in args.heads:
        lr, tried = tuned(RATES[ground.recipe], partial(measure, head, tuning_seed))
        found = [measure(head, seed, lr) for seed in args.seeds]
        rows[head] = {"lr": lr, "tried": tried, "cells": found}
        reporter.say(f"{name}, {head}: {100 * mean(cell['mAP'] for cell in found):.2f}")
    return rows


def _ground(name: str, args: argparse.Namespace, reporter: Reporter) -> Ground | None:
    if name == "scenes":
        return Ground(
            "scratch.toml", {}, cache(lambda seed: _scenes(seed, args.work, reporter)), small=True
        )
    photos = next(one for one in SETS if one.name == name)
    if args.data is None or not (args.data / photos.path).exists():
        return None
    records = frequent(load_records(DataSource(path=args.data / photos.path), reporter))
    settings = {"backbone.name": BACKBONE, "backbone.weights": str(args.data / WEIGHTS)}
    if args.fine_tune:
        return Ground("tuned.toml", settings, lambda seed: records)
    path = Path(__file__).parent / "frozen.toml"
    steps = [{"kind": "main", "epochs": 1, "freeze": ["backbone"]}]
    config = resolve({**put(read_toml(path), settings), "steps": steps}, where=str(path))
    features = frozen_maps(config, records, args.work / f"{name}-maps.pt", reporter)
    return Ground("frozen.toml", settings, lambda seed: records, features)


def _cost(head: str, work: Path) -> dict[str, Any]:
    path = work / "cost" / f"{head.replace(', ', '-')}.json"
    return kept(path, partial(cost_of, head))


def _scenes(seed: int, work: Path, reporter: Reporter) -> Records:
    folder = work / f"scenes-{seed}"
    if not folder.exists():
        draw_scenes(folder, seed=seed)
    return load_records(DataSource(path=folder), reporter)


def _report(
    sets: Mapping[str, Any], found: Mapping[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    headline = {
        f"{name}_{head}": mean(cell["mAP"] for cell in row["cells"])
        for (name, rows) in sets.items()
        for head, row in rows.items()
    }
    overheads = {
        f"GFLOPs_over_linear_{head}": cost["GFLOPs"] / found["linear"]["GFLOPs"]
        for head, cost in found.items()
        if "linear" in found
    }
    return {
        "headline": headline | overheads,
        "sets": sets,
        "cost": found,
        "epochs": {"photographs": args.epochs, "scenes": args.scenes_epochs},
        "rates": RATES,
        "versions": versions("torch", "timm"),
        "processor": processor(),
    }


if __name__ == "__main__":
    main()
