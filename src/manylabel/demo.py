"""The demo: it trains and measures SRN on drawn scenes. `manylabel demo` runs it.

The demo draws a data set and trains SRN in its four steps. As a fair baseline it trains SRN's main
net alone, after step 1, for as many more epochs as steps 2 to 4 have. It measures both models and
plays the pointing game with their maps. Figures and a report are written to a folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from safetensors.torch import load_file
from torch import Tensor

from manylabel.bundle.folder import WEIGHTS_FILE
from manylabel.config import put, read_toml
from manylabel.data.read import DataSource
from manylabel.data.records import Records
from manylabel.data.synthetic import COUNTS, draw_scenes
from manylabel.explain.localisation import PointingGame, score_localisation
from manylabel.models.heads import SRNConfig
from manylabel.predict import Predictor
from manylabel.train.checkpoint import CHECKPOINT
from manylabel.train.config import RunConfig, find_recipe, resolve
from manylabel.train.logs import Reporter
from manylabel.train.outcome import METRICS, Outcome, metrics_of, write_metrics
from manylabel.train.page.build import PAGE, PageAdditions, build_run_page
from manylabel.train.page.content import Result
from manylabel.train.run import load_records, run
from manylabel.train.run_folder import claimed

DEMO_RECIPE: Final = "demo-tiny-srn"


def run_demo(folder: Path, seed: int, reporter: Reporter) -> dict[str, Any]:
    """Run the demo and return the content of its `metrics.json`.

    A demo that was stopped is resumed. A demo that is finished is not run again.

    Args:
        folder: The folder for scenes, bundle, metrics, recipe, pictures and report.
        seed: The seed of the scenes, the initial weights and the order of images.
        reporter: Reports progress.

    Raises:
        CheckpointError: The folder holds another run.
        ConfigError: Another process works in the folder.
        DataError: The folder holds other scenes, or other files.
        RunError: The disk is full, or the run was stopped.
    """
    with claimed(folder):
        return _run_demo(folder, seed, reporter)


def _run_demo(folder: Path, seed: int, reporter: Reporter) -> dict[str, Any]:
    began = time.monotonic()
    config = _recipe(seed, folder)
    records = _scenes(folder / "scenes", config, reporter)
    if (done := _finished(folder, seed)) is not None:
        reporter.say(f"{folder} already holds this demo. Remove it to run the demo again.")
        return done
    srn = _run(config, records, folder, reporter)
    reporter.say("The baseline: the main net alone, trained for as many more epochs.")
    longer = _train_main_net_on(config, srn, records, reporter)
    pointing = _pointing(srn, longer, reporter)
    metrics = {
        **metrics_of(srn, config, seconds=time.monotonic() - began),
        "baseline": srn.results[0],
        "baseline_long": longer.results[-1],
        "srn": srn.results[-1],
        "pointing_game": pointing,
    }
    write_metrics(folder, metrics)
    build_run_page(srn, config, _page_additions(metrics))
    return metrics


def _recipe(seed: int, folder: Path) -> RunConfig:
    path = find_recipe(DEMO_RECIPE)
    values = {
        "seed": seed,
        "data.path": str(folder / "scenes"),
        "cache_folder": str(folder / "cache"),
    }
    return resolve(put(read_toml(path), values), where=str(path))


def _scenes(folder: Path, config: RunConfig, reporter: Reporter) -> Records:
    reporter.begin("drawing scenes", sum(COUNTS.values()))
    drawn = 0

    def advance(done: int) -> None:
        nonlocal drawn
        reporter.advance(done - drawn)
        drawn = done

    draw_scenes(folder, seed=config.seed, on_progress=advance)
    reporter.end()
    records = load_records(DataSource(path=folder), reporter, config)
    reporter.say(records.summary())
    return records


def _train_main_net_on(
    config: RunConfig, srn: Outcome, records: Records, reporter: Reporter
) -> Outcome:
    """Train the main net of step 1 for as many more epochs as steps 2 to 4 have."""
    first, *rest = config.steps
    longer = first.model_copy(update={"epochs": sum(step.epochs for step in rest)})
    tables = config.model_dump(mode="json", exclude_none=True)
    assert isinstance(config.head, SRNConfig), config.head.name
    tables["head"] = {"name": "linear", "pool": config.head.pool}
    tables["steps"] = [longer.model_dump(mode="json", exclude_none=True)]
    baseline = resolve(tables, where="the demo's baseline")
    weights = load_file(srn.steps[0] / WEIGHTS_FILE)
    return _run(baseline, records, srn.folder / "baseline-long", reporter, weights=weights)


def _run(
    config: RunConfig,
    records: Records,
    folder: Path,
    reporter: Reporter,
    *,
    weights: Mapping[str, Tensor] | None = None,
) -> Outcome:
    resume = (folder / CHECKPOINT).exists()
    return run(config, records, folder, reporter, resume=resume, weights=weights)


def _finished(folder: Path, seed: int) -> dict[str, Any] | None:
    """The content of `metrics.json` if the demo with this seed is finished, else None."""
    path = folder / METRICS
    if not path.exists() or not (folder / PAGE).exists():
        return None
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return metrics if "pointing_game" in metrics and metrics["seed"] == seed else None


def _pointing(srn: Outcome, longer: Outcome, reporter: Reporter) -> dict[str, Any]:
    """The shares of hits of U and of class activation maps, and that of chance.

    `cam` is for the class activation maps of the main net inside the trained SRN.
    `cam_baseline_long` is for those of the baseline: the main net that was trained alone.
    """
    reporter.begin("pointing game", len(srn.held_out))
    games = _games(srn)
    alone = _games(longer)
    reporter.end()
    return {
        "srn": games["attention"].share,
        "cam": games["cam"].share,
        "cam_baseline_long": alone["cam"].share,
        "chance": games["attention"].chance,
        "games": {
            "SRN: U": games["attention"].as_dict(),
            "main net inside SRN: CAM": games["cam"].as_dict(),
            "main net trained on: CAM": alone["cam"].as_dict(),
        },
    }


def _games(outcome: Outcome) -> dict[str, PointingGame]:
    return score_localisation(Predictor.load(outcome.bundle), outcome.held_out)


def _page_additions(metrics: Mapping[str, Any]) -> PageAdditions:
    return PageAdditions(
        results=[
            Result("main net", metrics["baseline"], "after step 1"),
            Result("main net, trained longer", metrics["baseline_long"], "as many epochs as SRN"),
        ],
        pointing=metrics["pointing_game"]["games"],
    )
