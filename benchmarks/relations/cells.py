"""One training run: its test scores, kept in a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.photographs import frozen_maps
from benchmarks.relations.contenders import ALL, Contender, changed
from manylabel.bundle.classifier import load_bundle
from manylabel.config import put, read_toml
from manylabel.data.read import DataSource
from manylabel.data.records import Records, Split
from manylabel.data.synthetic import Relations, draw_scenes
from manylabel.models.backbones import FeatureMaps, pretrained_input
from manylabel.models.packaged import LITE0, PACKAGE
from manylabel.train.config import RunConfig, resolve
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter
from manylabel.train.run import load_records, run

RECIPE: Final = Path(__file__).parent.parent / "heads_study" / "frozen.toml"
SIZE: Final = 224
COUNTS: Final = {"train": 2000, "val": 300, "test": 1000}
_AT_ONCE: Final = 100

Scores = Mapping[str, NDArray[np.float32]]
"""Logits [N, C] by branch: `val` and `test` of each, as `val final`, `test att`."""


@dataclass(frozen=True)
class Ground:
    """A data set with the maps of a frozen backbone.

    Args:
        name: The name of the folder of its cells.
        records: The data set, with splits.
        features: Gives the maps of each split; they are computed when a cell needs them.
        settings: Put into the recipe: the backbone, and what it needs.
    """

    name: str
    records: Records
    features: Callable[[], Mapping[Split, CachedFeatures]]
    settings: Mapping[str, Any]


def scenes_ground(seed: int, relations: Relations, work: Path, reporter: Reporter) -> Ground:
    """Drawn scenes of one seed and dial, with the maps of EfficientNet-Lite0."""
    name = f"scenes-{relations.distance}-{relations.strength:g}-seed{seed}"
    folder = draw_scenes(work / name, seed=seed, counts=COUNTS, size=SIZE, relations=relations)
    records = load_records(DataSource(path=folder), reporter)
    settings = lite0_settings()
    return ground_of(name, records, settings, work, reporter)


def ground_of(
    name: str, records: Records, settings: Mapping[str, Any], work: Path, reporter: Reporter
) -> Ground:
    """A data set and the maps that the recipe's backbone gives of it."""

    @cache
    def features() -> Mapping[Split, CachedFeatures]:
        return frozen_maps(plain_recipe(settings), records, work / f"{name}-maps.pt", reporter)

    return Ground(name, records, features, settings)


def lite0_settings() -> dict[str, Any]:
    """The keys of a recipe with EfficientNet-Lite0 and its ImageNet weights."""
    inputs = {f"input.{key}": value for key, value in pretrained_input(LITE0).items()}
    return {"backbone.name": LITE0, "backbone.weights": PACKAGE, "workers": 0, **inputs}


def plain_recipe(settings: Mapping[str, Any]) -> RunConfig:
    """The recipe that a backbone's maps are computed by."""
    steps = [{"kind": "main", "epochs": 1, "freeze": ["backbone"]}]
    return resolve({**put(read_toml(RECIPE), settings), "steps": steps}, where=str(RECIPE))


@dataclass(frozen=True)
class Cell:
    """One training run of a contender on a data set.

    Args:
        ground: What it is trained on.
        name: The contender's name.
        lr: The highest learning rate.
        seed: Of weights, order and views.
        folder: Where bundles and scores are kept.
    """

    ground: Ground
    name: str
    lr: float
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """The folder of its bundle."""
        name = self.name.replace(", ", "-").replace(" ", "_")
        return self.folder / self.ground.name / f"{name}-lr{self.lr:g}-seed{self.seed}"

    def scores(self, reporter: Reporter, *, on: Ground | None = None) -> Scores:
        """The logits of the trained head on its own data set, or on another one."""
        ground = on or self.ground
        path = self.path.with_name(f"{self.path.name}-on-{ground.name}.npz")
        if not path.exists():
            bundle = self._bundle(reporter)
            with changed(ALL[self.name].change):
                np.savez(path, allow_pickle=False, **_logits(bundle, ground))
        with np.load(path) as kept:
            return dict(kept)

    def _bundle(self, reporter: Reporter) -> Path:
        if not self.path.exists():
            runs = self.path.with_name(f"{self.path.name}.run")
            shutil.rmtree(runs, ignore_errors=True)  # of a study that was stopped
            contender = ALL[self.name]
            config = self._recipe(contender)
            with changed(contender.change):
                outcome = run(
                    config, self.ground.records, runs, reporter, features=self.ground.features()
                )
            shutil.move(outcome.bundle, self.path)
            shutil.rmtree(runs)
        return self.path

    def _recipe(self, contender: Contender) -> RunConfig:
        values = {**self.ground.settings, "optim.lr": self.lr, "seed": self.seed}
        tables = put(read_toml(RECIPE), values)
        tables["head"], tables["steps"] = dict(contender.head), contender.tables()
        return resolve(tables, where=str(RECIPE))


@torch.no_grad()
def _logits(bundle: Path, ground: Ground) -> dict[str, NDArray[np.float32]]:
    head = load_bundle(bundle, device="cpu").classifier.head
    features = ground.features()
    torch.manual_seed(0)  # a control draws its order anew
    found: dict[str, list[NDArray[np.float32]]] = {}
    for split in ("val", "test"):
        mid, final_map = features[split].views[0]
        for start in range(0, len(mid), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            output = head(FeatureMaps(mid[rows].float(), final_map[rows].float()))
            for branch, logits in {"final": output.logits, **output.branches}.items():
                found.setdefault(f"{split} {branch}", []).append(logits.numpy())
    return {key: np.concatenate(parts) for key, parts in found.items()}
