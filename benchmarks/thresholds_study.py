"""Four kinds of thresholds, fitted on val and measured on test.

    python -m benchmarks.thresholds_study [--data DIR] [--scenes] [--seeds 0 1 2] [--out FILE]

The four are: 0.5; one for all labels; each label's own; and the mixture of the last two ("drawn").
DIR holds the photographs of `benchmarks.real_photos`. `--scenes` draws scenes and trains the recipe
`demo-tiny-srn` on them. Without either, only simulated scores are measured. Thresholds are fitted
to the val split as it is, and also to many random samples of its images, so that no result depends
on one split. A sample is drawn with replacement, and each image is kept once: about 63 % of the
images.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import write
from benchmarks.photographs import BACKBONE, SETS, WEIGHTS, frequent, frozen_maps
from manylabel.bundle.classifier import load_bundle
from manylabel.config import put, read_toml
from manylabel.data.read import DataSource
from manylabel.data.records import Records, Split
from manylabel.data.synthetic import draw_scenes
from manylabel.evaluate.run import evaluate
from manylabel.feed.loaders import InOrder, batches
from manylabel.metrics.thresholds import tune_thresholds
from manylabel.models.backbones import FeatureMaps
from manylabel.predict import Predictor
from manylabel.train.config import RunConfig, find_recipe, resolve
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter
from manylabel.train.outcome import METRICS
from manylabel.train.run import load_records, run

ROWS: Final = ("0.5", "one for all", "each its own", "drawn")
FIGURES: Final = ("macro F1", "micro F1")
RECIPES: Final = Path(__file__).parent / "real_photos"

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """Scores float32 [N, C] and targets int8 [N, C] of a split."""

    scores: NDArray[np.float32]
    targets: NDArray[np.int8]

    def taken(self, images: NDArray[np.int64]) -> Part:
        """Some of the images."""
        return Part(self.scores[images], self.targets[images])


@dataclass(frozen=True, eq=False)
class Case:
    """A model's scores on the split to tune on and the split to measure on."""

    name: str
    val: Part
    test: Part


def main() -> None:
    options = _options()
    found: dict[str, list[Case]] = {}
    with Reporter() as reporter, tempfile.TemporaryDirectory() as temporary:
        for case in _cases(options, options.runs or Path(temporary), reporter):
            found.setdefault(case.name, []).append(case)
    results = {name: _measure(cases, options.draws) for name, cases in found.items()}
    _print(results)
    headline = {
        f"{name}_gain_over_{row}".replace(" ", "_"): result["drawn_bootstrap"]["macro F1"][row]
        for name, result in results.items()
        for row in ROWS[:-1]
    }
    write({"headline": headline, "sets": results}, options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thresholds_study")
    parser.add_argument("--data", type=Path, help="the folder of photographs")
    parser.add_argument("--scenes", action="store_true", help="draw scenes and train on them")
    parser.add_argument("--epochs", type=int, help="epochs of each step, for a quick try")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="keep runs in this folder and reuse them")
    parser.add_argument("--draws", type=int, default=50, help="samples of val for each model")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def _cases(options: argparse.Namespace, folder: Path, reporter: Reporter) -> Iterator[Case]:
    for seed in options.seeds:
        yield _simulated(seed)
    for seed in options.seeds if options.scenes else ():
        yield from _scenes(seed, folder, options.epochs, reporter)
    data: Path | None = options.data
    for photos in SETS if data is not None else ():
        assert data is not None
        if (data / photos.path).exists():
            records = frequent(load_records(DataSource(path=data / photos.path), reporter))
            yield from _photos(photos.name, records, options, folder / photos.name, reporter)


def _simulated(seed: int) -> Case:
    """Eighty labels, rare to common, each shifted away from calibration in its own way."""
    rng = np.random.default_rng(seed)
    prior = np.exp(rng.uniform(np.log(0.005), np.log(0.3), 80))
    apart, shift = rng.uniform(1, 3.5, 80), rng.normal(0, 0.7, 80)

    def draw(images: int) -> Part:
        targets = (rng.random((images, 80)) < prior).astype(np.int8)
        evidence = (rng.normal(size=targets.shape) + apart * targets) * apart - apart**2 / 2
        logits = evidence + np.log(prior / (1 - prior)) + shift
        return Part((1 / (1 + np.exp(-logits))).astype(np.float32), targets)

    return Case("simulated", draw(500), draw(10_000))


def _scenes(seed: int, folder: Path, epochs: int | None, reporter: Reporter) -> Iterator[Case]:
    drawn = folder / f"scenes-{seed}"
    if not drawn.exists():
        draw_scenes(drawn, seed=seed)
    recipe = find_recipe("demo-tiny-srn")
    tables = put(read_toml(recipe), {"seed": seed, "data.path": str(drawn), "cache": False})
    config = resolve(_shortened(tables, epochs), where=str(recipe))
    records = load_records(DataSource(path=drawn), reporter)
    for name, bundle in _trained(config, records, folder / "scenes" / str(seed), reporter):
        predictor = Predictor.load(bundle)
        val, test = (evaluate(predictor, records.split(split)) for split in ("val", "test"))
        yield Case(
            f"scenes, {name}", Part(val.scores, val.targets), Part(test.scores, test.targets)
        )


def _photos(
    name: str, records: Records, options: argparse.Namespace, folder: Path, reporter: Reporter
) -> Iterator[Case]:
    """Over a frozen backbone, as `benchmarks.real_photos` trains them."""
    recipe = _shortened(read_toml(RECIPES / "srn.toml"), options.epochs)
    weights = str(options.data / WEIGHTS)
    recipe = put(recipe, {"backbone.name": BACKBONE, "backbone.weights": weights})
    features = None
    for seed in options.seeds:
        config = resolve(put(recipe, {"seed": seed}), where="srn.toml")
        if features is None:
            kept = folder.with_name(f"{name}-maps.pt")
            features = frozen_maps(config, records, kept, reporter)
        for head, bundle in _trained(config, records, folder / str(seed), reporter, features):
            val, test = (_score(bundle, features[split]) for split in ("val", "test"))
            yield Case(f"{name}, {head}", val, test)


def _trained(
    config: RunConfig,
    records: Records,
    folder: Path,
    reporter: Reporter,
    features: Mapping[Split, CachedFeatures] | None = None,
) -> list[tuple[str, Path]]:
    """The bundles of a run's first step and of its last: of a run that stands, or of a new one."""
    if not (folder / METRICS).exists():
        shutil.rmtree(folder, ignore_errors=True)  # it was stopped
        run(config, records, folder, reporter, features=features)
    return [("linear", folder / "steps" / "1-main"), ("SRN", folder / "bundle")]


def _shortened(tables: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    if epochs is None:
        return dict(tables)
    steps = range(len(tables["steps"]))
    return put(tables, {f"steps.{step}.epochs": epochs for step in steps})


@torch.no_grad()
def _score(folder: Path, features: CachedFeatures) -> Part:
    """A bundle's scores from the maps of its frozen backbone."""
    bundle = load_bundle(folder)
    scores = list[NDArray[np.float32]]()
    for batch in batches(features, InOrder(len(features)), batch_size=32, workers=0):
        output = bundle.classifier.head(FeatureMaps(*(part.float() for part in batch.inputs)))
        logits = output.select(bundle.info.scores_from)
        scores.append(torch.sigmoid(logits.float()).numpy())
    return Part(np.concatenate(scores), features.records.targets)


def _measure(cases: list[Case], draws: int) -> dict[str, Any]:
    """Figures on test: of val as it is, a mean over seeds; and gains over draws of val."""
    as_it_is = np.array([_figures(case.val, case.test, 0)[0] for case in cases])
    drawn, expected = list[Floats](), list[float]()
    for number, case in enumerate(cases):
        for draw in range(draws):
            rng = np.random.default_rng([number, draw])
            images = rng.integers(0, len(case.val.scores), len(case.val.scores))
            drawn.append(_figures(case.val.taken(np.unique(images)), case.test, draw)[0])
        expected.append(_figures(case.val, case.test, 0)[1])
    gains = np.array(drawn)[:, -1:, :] - np.array(drawn)
    return {
        "images": {"val": len(cases[0].val.scores), "test": len(cases[0].test.scores)},
        "labels": cases[0].val.scores.shape[1],
        "mean": _named(as_it_is.mean(axis=0)),
        "by_seed": [_named(each) for each in as_it_is],
        "expected_macro_F1": float(np.mean(expected)),
        "drawn_bootstrap": _named(gains.mean(axis=0)),
        "drawn_wins": _named((gains > 0).mean(axis=0)),
        "draws": len(drawn),
    }


def _figures(val: Part, test: Part, seed: int) -> tuple[Floats, float]:
    """[rows, figures] on test, and what tuning said to expect of its macro F1."""
    found = tune_thresholds(val.scores, val.targets, seed=seed)
    rows = (0.5, found.common, found.naive, found.thresholds)
    return np.array([_f1(test, np.asarray(row)) for row in rows]), found.expected["tuned"]


def _f1(part: Part, thresholds: Floats) -> tuple[float, float]:
    """Macro F1 of the labels with a positive, and micro F1; unknown targets left out."""
    decided = (part.scores >= thresholds.astype(np.float32)) & (part.targets >= 0)
    present = part.targets == 1
    right, either = (decided & present).sum(axis=0), decided.sum(axis=0) + present.sum(axis=0)
    some = present.any(axis=0)
    return float((2 * right / either.clip(1))[some].mean()), float(2 * right.sum() / either.sum())


def _named(table: Floats) -> dict[str, dict[str, float]]:
    return {
        figure: dict(zip(ROWS, table[:, column].tolist(), strict=True))
        for column, figure in enumerate(FIGURES)
    }


def _print(results: Mapping[str, Any]) -> None:
    for name, result in results.items():
        images = result["images"]
        print(f"\n{name}: {result['labels']} labels, {images['val']} val, {images['test']} test")
        print(f"  {'':14}" + "".join(f"{row:>14}" for row in ROWS))
        for figure in FIGURES:
            values = result["mean"][figure]
            print(f"  {figure:14}" + "".join(f"{100 * values[row]:14.1f}" for row in ROWS))
        print(f"  drawn over each, {result['draws']} draws of val (share of draws won)")
        for figure in FIGURES:
            gain, wins = result["drawn_bootstrap"][figure], result["drawn_wins"][figure]
            each = (f"{100 * gain[row]:+6.1f} ({100 * wins[row]:3.0f}%)" for row in ROWS[:-1])
            print(f"  {figure:14}" + "".join(f"{text:>14}" for text in each))
        print(f"  expected macro F1 of drawn: {100 * result['expected_macro_F1']:.1f}")


if __name__ == "__main__":
    main()
