"""What relations between labels bring: a ceiling, a dial and controls, on a frozen backbone.

    python -m benchmarks.relations --work DIR [--data PHOTOGRAPHS] [--plot PNG] [--out JSON]

Drawn scenes have a dial: how strongly labels depend on one another, and over which distance. Every
head is trained on the scenes of each setting, and on scenes without relations. The twin that was
trained without relations gives the head's local evidence. An observer who knows the rules, and has
this evidence, says what relations could add at most. The share of it that the head adds is its
figure. The backbone is EfficientNet-Lite0 with ImageNet weights, frozen. Its maps are computed
once. Each head has two learning rates to choose from; the validation split of one seed decides.

With photographs, every head and control is trained on them, too. There is no ceiling there.

The scores of each run are a file in DIR, so that a stopped study can continue.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import processor, versions, write
from benchmarks.photographs import SETS, PhotoSet, frequent
from benchmarks.relations import tables
from benchmarks.relations.cells import Cell, Ground, ground_of, lite0_settings, scenes_ground
from benchmarks.relations.contenders import ALL, CONTENDERS
from benchmarks.relations.shares import (
    Interval,
    average_precisions,
    calibrated,
    draws_of,
    grouped,
)
from manylabel.data.read import DataSource
from manylabel.data.synthetic import LABELS, Relations, Scene, sample_scene
from manylabel.data.synthetic.observer import GROUPS, observe
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records

RATES: Final = (3e-3, 1e-2)
"""The learning rates that each head may choose from, on each data set."""
TUNING_SEED: Final = 0
"""The seed whose validation split chooses. The test split has no say."""
LEAST_GAIN: Final = 10.0
"""The least gain, in points of AP, of which a share is given."""
NONE: Final = Relations(strength=0.0)
DECISIVE: Final = (Relations(1.0, "near"), Relations(1.0, "far"))
PARTLY: Final = (Relations(0.5, "near"), Relations(0.5, "far"))


def main() -> None:
    args = _arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    with Reporter() as reporter:
        scenes = {
            _title(relations): {name: _measure(name, relations, args, reporter) for name in heads}
            for relations, heads in _settings(args)
        }
        photos = {
            photos.name: _photographs(photos, args, reporter)
            for photos in SETS
            if args.data and (args.data / photos.path).exists()
        }
    for title, rows in scenes.items():
        print(tables.scenes(title, rows), end="\n\n")
    for title, rows in photos.items():
        print(tables.photographs(title, rows), end="\n\n")
    if args.plot:
        tables.draw(scenes, args.plot)
    write(_report(scenes, photos, args), args.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.relations", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for scenes, maps, runs")
    parser.add_argument("--data", type=Path, help="the folder of photographs")
    parser.add_argument("--heads", nargs="+", default=list(ALL), choices=list(ALL))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--decisive-only", action="store_true", help="leave out the half dial")
    parser.add_argument("--plot", type=Path, help="write the plot over the dial")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def _settings(args: argparse.Namespace) -> Iterator[tuple[Relations, list[str]]]:
    """The settings of the dial, and the heads that are trained on each."""
    for relations in (NONE, *DECISIVE):
        yield relations, args.heads
    if not args.decisive_only:
        for relations in PARTLY:
            yield relations, [name for name in args.heads if name in CONTENDERS]


def _title(relations: Relations) -> str:
    if relations.strength == 0:
        return "no relations"
    return f"{relations.distance}, strength {relations.strength:g}"


def _measure(
    name: str, relations: Relations, args: argparse.Namespace, reporter: Reporter
) -> dict[str, Any]:
    """A head's AP, floor, ceilings and shares by group, and its AP by label; means of seeds."""
    parts = [_seed(name, relations, seed, args.work, reporter) for seed in args.seeds]
    mean = {key: np.mean([part[key] for part in parts], axis=0) for key in parts[0]}
    groups = {key: _grouped(values) for key, values in mean.items()}
    row: dict[str, Any] = {"labels": dict(zip(LABELS, mean["final"][0].tolist(), strict=True))}
    row["seeds"] = [
        {
            group: float(v[0])
            for group, v in grouped(part["final"], {**GROUPS, "all": LABELS}, LABELS).items()
        }
        for part in parts
    ]
    row["groups"] = {
        group: {key: asdict(Interval.of(groups[key][group])) for key in groups}
        | {"share": asdict(_share(groups, group))}
        for group in (*GROUPS, "all")
    }
    reporter.say(f"{_title(relations)}, {name}: {row['groups']['all']['final']['value']:.1f}")
    return row


def _grouped(by_label: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return grouped(by_label, {**GROUPS, "all": LABELS}, LABELS)


def _share(groups: Mapping[str, Mapping[str, NDArray[np.float64]]], group: str) -> Interval:
    """The share, in percent, of what the spatial observer gains over local evidence alone.

    NaN if that is less than `LEAST_GAIN`: the quotient of two small differences says nothing.
    """
    floor = groups["floor"][group]
    attainable = groups["spatial"][group] - floor
    gained = groups["final"][group] - floor
    if attainable[0] < LEAST_GAIN:
        return Interval(*[float("nan")] * 3)
    return Interval.of(100 * gained / attainable)


def _seed(
    name: str, relations: Relations, seed: int, work: Path, reporter: Reporter
) -> dict[str, NDArray[np.float64]]:
    """AP [B, C] of the head, of its local evidence, and of both observers."""
    ground = _ground(seed, relations, work, reporter)
    lr = _rate(name, relations, work, reporter)
    scores = Cell(ground, name, lr, seed, work / "cells").scores(reporter)
    targets = ground.records.split("test").targets
    drawn = draws_of(len(targets))
    found = {"final": average_precisions(scores["test final"], targets, drawn)}
    evidence = _local_evidence(name, ground, seed, work, reporter)
    seen = observe(evidence, _test_scenes(seed, relations, len(targets)), relations)
    found["floor"] = average_precisions(seen.local, targets, drawn)
    found["semantic"] = average_precisions(seen.semantic, targets, drawn)
    found["spatial"] = average_precisions(seen.spatial, targets, drawn)
    return found


_ground = cache(scenes_ground)


@cache
def _rate(name: str, relations: Relations, work: Path, reporter: Reporter) -> float:
    """The learning rate with the best validation mAP at the tuning seed."""
    return _best_rate(name, _ground(TUNING_SEED, relations, work, reporter), work, reporter)


def _best_rate(name: str, ground: Ground, work: Path, reporter: Reporter) -> float:
    targets = ground.records.split("val").targets
    once = np.ones((1, len(targets)), dtype=np.int64)

    def found(lr: float) -> float:
        scores = Cell(ground, name, lr, TUNING_SEED, work / "cells").scores(reporter)
        return float(np.nanmean(average_precisions(scores["val final"], targets, once)))

    return max(RATES, key=found)


@cache
def _test_scenes(seed: int, relations: Relations, count: int) -> list[Scene]:
    return [sample_scene(seed, "test", index, relations) for index in range(count)]


def _local_evidence(
    name: str, ground: Ground, seed: int, work: Path, reporter: Reporter
) -> NDArray[np.float64]:
    """Calibrated scores of the head's twin, which was trained where there are no relations."""
    without = _ground(seed, NONE, work, reporter)
    twin = Cell(without, name, _rate(name, NONE, work, reporter), seed, work / "cells")
    val = without.records.split("val").targets
    own, here = twin.scores(reporter), twin.scores(reporter, on=ground)
    return calibrated(own["val final"], val, here["test final"])


def _photographs(
    photos: PhotoSet, args: argparse.Namespace, reporter: Reporter
) -> dict[str, dict[str, Any]]:
    """Each head's test mAP on photographs, and its gain over attention alone."""
    settings = lite0_settings()
    records = frequent(load_records(DataSource(path=args.data / photos.path), reporter))
    ground = ground_of(photos.name, records, settings, args.work, reporter)
    targets = records.split("test").targets
    drawn = draws_of(len(targets))
    found: dict[str, dict[str, Any]] = {}
    seeds: dict[str, NDArray[np.float64]] = {}
    for name in args.heads:
        lr = _best_rate(name, ground, args.work, reporter)
        cells = [Cell(ground, name, lr, seed, args.work / "cells") for seed in args.seeds]
        scores = [cell.scores(reporter) for cell in cells]
        branches = [key for key in scores[0] if key.startswith("test ")]
        by_seed = {
            key.removeprefix("test "): np.stack(
                [average_precisions(each[key], targets, drawn) for each in scores]
            )
            for key in branches
        }
        seeds[name] = by_seed["final"].mean(0)  # [B, C]
        found[name] = _photograph_row(by_seed, seeds.get(_BASE), seeds[name], records.labels.names)
        reporter.say(f"{photos.name}, {name}: {found[name]['final']['value']:.1f}")
    return found


_BASE: Final = "srn-att"
"""Attention alone, which the gains on photographs are over."""


def _photograph_row(
    by_seed: Mapping[str, NDArray[np.float64]],
    base: NDArray[np.float64] | None,
    own: NDArray[np.float64],
    labels: Sequence[str],
) -> dict[str, Any]:
    return {
        "final": asdict(Interval.of(np.nanmean(own, axis=1))),
        "seeds": np.nanmean(by_seed["final"][:, 0], axis=1).tolist(),
        "gain": None if base is None else asdict(Interval.of(np.nanmean(own - base, axis=1))),
        "labels": dict(zip(labels, own[0].tolist(), strict=True)),
        **{
            key: float(np.nanmean(values[:, 0]))
            for key, values in by_seed.items()
            if key != "final"
        },
    }


def _report(
    scenes: Mapping[str, Any], photos: Mapping[str, Any], args: argparse.Namespace
) -> dict[str, Any]:
    shares = {
        f"{title}_{group}_{name}": row["groups"][group]["share"]["value"]
        for title, rows in scenes.items()
        for name, row in rows.items()
        for group in ("told apart by layout", "hidden or tiny")
    }
    on_photos = {
        f"{title}_{name}": row["final"]["value"]
        for title, rows in photos.items()
        for name, row in rows.items()
    }
    return {
        "headline": shares | on_photos,
        "scenes": scenes,
        "photographs": photos,
        "seeds": args.seeds,
        "versions": versions("torch", "timm"),
        "processor": processor(),
    }


if __name__ == "__main__":
    main()
