"""Cells of the study: one head, one seed and one learning rate on one set; one file for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.heads_study.contenders import ALL
from manylabel.config import put, read_toml
from manylabel.data.records import Records, Split
from manylabel.train.config import RunConfig, resolve
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter
from manylabel.train.run import run

HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Cell:
    """One training run of the study.

    Args:
        data: The set's name.
        head: A key of `ALL`.
        seed: Of weights, order and views; of the scenes, too.
        lr: The highest learning rate.
        epochs: Passes over the training images, all steps together.
    """

    data: str
    head: str
    seed: int
    lr: float
    epochs: int

    def path(self, folder: Path) -> Path:
        """Where the cell's figures are kept."""
        data, head = (text.replace(", ", "-") for text in (self.data, self.head))
        return folder / data / f"{head}-lr{self.lr:g}-seed{self.seed}-{self.epochs}.json"


@dataclass(frozen=True)
class Ground:
    """What the heads are compared on.

    Args:
        recipe: The base recipe.
        settings: Put into it: the backbone.
        records_of: The data set of a seed.
        features: Maps of a frozen backbone, computed once; none where the backbone trains, too.
        small: Take the contenders' settings for the scenes' backbone.
    """

    recipe: str
    settings: Mapping[str, Any]
    records_of: Callable[[int], Records]
    features: Mapping[Split, CachedFeatures] | None = None
    small: bool = False


def recipe_of(cell: Cell, ground: Ground) -> RunConfig:
    """The resolved recipe that a cell is trained by."""
    contender = ALL[cell.head]
    head = {**contender.head, **(contender.on_scenes if ground.small else {})}
    frozen = {} if ground.features is None else {"freeze": ["backbone"]}
    path = HERE / ground.recipe
    tables = put(read_toml(path), {**ground.settings, "seed": cell.seed, "optim.lr": cell.lr})
    tables["head"] = head
    tables["steps"] = [
        {**step, **(frozen if step["kind"] in _TRAIN_BACKBONE else {})}
        for step in contender.steps(cell.epochs)
    ]
    if contender.loss:
        tables["loss"] = {**tables.get("loss", {}), **contender.loss}
    return resolve(tables, where=str(path))


_TRAIN_BACKBONE: Final = (
    "main",
    "joint",
    "joint-released",
    "joint-attention",
    "whole",
    "whole-branches",
)


def figures_of(cell: Cell, ground: Ground, folder: Path, reporter: Reporter) -> dict[str, Any]:
    """A cell's figures: kept ones if there are any, else those of a run made now."""
    path = cell.path(folder)

    def make() -> dict[str, Any]:
        runs = path.with_suffix(".run")
        shutil.rmtree(runs, ignore_errors=True)  # of a study that was stopped
        records = ground.records_of(cell.seed)
        outcome = run(recipe_of(cell, ground), records, runs, reporter, features=ground.features)
        shutil.rmtree(runs)
        return {**vars(cell), **_figures(outcome.results, outcome.history)}

    return kept(path, make)


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the JSON file holds; if there is none, what `make` gives, which is written there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make(), indent=2) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def _figures(results: list[dict[str, Any]], history: list[dict[str, Any]]) -> dict[str, Any]:
    last = results[-1]
    validated = [entry["val_mAP"] or 0.0 for entry in history if entry["step"] == len(results)]
    return {
        "val_mAP": max(validated),
        **{key: last[key] for key in ("mAP", "CF1", "OF1")},
        "branches": last["branches"],
        "seconds": sum(result["seconds"] for result in results),
    }


Measure = Callable[[float], dict[str, Any]]
"""Gives a learning rate's figures."""


def tuned(rates: Sequence[float], measure: Measure) -> tuple[float, list[dict[str, Any]]]:
    """The learning rate of the best mAP on the validation split, and the figures of all tried.

    The three rates in the middle are tried first; then, as long as the best is the last one tried
    in a direction, the next one there. The test split has no say.
    """
    middle = len(rates) // 2
    tried = {place: measure(rates[place]) for place in range(middle - 1, middle + 2)}
    while True:
        best = max(tried, key=lambda place: tried[place]["val_mAP"])
        further = {best - 1, best + 1} - set(tried)
        if not (further := {place for place in further if 0 <= place < len(rates)}):
            return rates[best], [tried[place] for place in sorted(tried)]
        tried |= {place: measure(rates[place]) for place in further}
