"""Runs the demo: draws, computes the maps, trains four heads, measures, and writes the results."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from manylabel.bundle.classifier import load_bundle
from manylabel.data.read import DataSource
from manylabel.data.records import Records, Split
from manylabel.data.synthetic import Distance, Relations, draw_scenes, scenes_are_drawn
from manylabel.demo.figures import (
    ALL_GROUPS,
    MAPS,
    by_group,
    gain_of,
    in_words,
    pointing_by_group,
)
from manylabel.demo.heads import ATTENTION, CONTENDERS, SRN, Contender, srn_recipe
from manylabel.demo.page import page_additions
from manylabel.devices import choose_device
from manylabel.explain.localisation import PointingGame, score_localisation
from manylabel.models.backbones import Backbone, FeatureMaps
from manylabel.predict import Predictor
from manylabel.train.checkpoint import CHECKPOINT, load_checkpoint
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures
from manylabel.train.logs import Reporter
from manylabel.train.outcome import METRICS, Outcome, metrics_of, write_metrics
from manylabel.train.page.build import PAGE, build_run_page
from manylabel.train.run import identity_of, load_records, run
from manylabel.train.run_folder import claimed
from manylabel.train.start import require_weights
from manylabel.train.views import cache_features

DISTANCE: Final[Distance] = "far"
"""The distance of related objects. The package's docstring says why."""
RELATIONS: Final = Relations(strength=1.0, distance=DISTANCE)
COUNTS: Final[Mapping[Split, int]] = {"train": 2000, "val": 300, "test": 1000}

SCENES: Final = "scenes"
BASELINES: Final = "baselines"

_AT_ONCE: Final = 100
"""The number of images whose logits are computed at once."""

Maps = Mapping[Split, CachedFeatures]


def run_demo(folder: Path, seed: int, reporter: Reporter) -> dict[str, Any]:
    """Run the demo and return the content of its `metrics.json`.

    A demo that was stopped is resumed. A demo that is finished is not run again.

    Args:
        folder: The folder for scenes, bundles, metrics, recipe, pictures and report. It is the
            folder of SRN's run; those of the baselines are within it.
        seed: The seed of the scenes, the initial weights and the order of images.
        reporter: Reports progress.

    Raises:
        CheckpointError: The folder holds another run.
        ConfigError: Another process works in the folder.
        DataError: The folder holds other scenes, or other files.
        MissingExtraError: The package with the backbone's weights is not installed.
        RunError: The disk is full, or the run was stopped.
    """
    with claimed(folder):
        if (done := _finished(folder, seed)) is not None:
            reporter.say(f"{folder} already holds this demo. Remove it to run the demo again.")
            return done
        return _run_demo(folder, seed, reporter)


def _run_demo(folder: Path, seed: int, reporter: Reporter) -> dict[str, Any]:
    began = time.monotonic()
    srn = _recipe(seed, folder)
    scenes_are_drawn(folder / SCENES, **_drawing(srn))  # other scenes are refused before work
    require_weights(srn)
    records = _scenes(folder / SCENES, srn, reporter)
    _require_own_runs(folder, srn, records)
    maps = _maps(srn, records, reporter)
    outcomes = _train(srn, records, maps, folder, reporter)
    reporter.say("Part 4 of 4: measuring and drawing. About half a minute.")
    metrics = {
        **metrics_of(outcomes[SRN.name], srn, seconds=0),
        **_figures(outcomes, maps["test"], reporter),
        "seconds": round(time.monotonic() - began, 1),
    }
    build_run_page(outcomes[SRN.name], srn, page_additions(metrics))
    write_metrics(folder, metrics)  # last, since it says that the demo is finished
    return metrics


def _finished(folder: Path, seed: int) -> dict[str, Any] | None:
    """The content of `metrics.json` if the demo with this seed is finished, else None."""
    path = folder / METRICS
    if not path.exists() or not (folder / PAGE).exists():
        return None
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    asked = {"relations": asdict(RELATIONS), "seed": seed}
    return metrics if all(metrics.get(key) == value for key, value in asked.items()) else None


def _recipe(seed: int, folder: Path) -> RunConfig:
    return srn_recipe(seed, folder / SCENES)


def _drawing(config: RunConfig) -> dict[str, Any]:
    """The settings that the scenes are drawn with."""
    size = config.input.height
    return {"seed": config.seed, "counts": COUNTS, "size": size, "relations": RELATIONS}


def _scenes(folder: Path, config: RunConfig, reporter: Reporter) -> Records:
    total = sum(COUNTS.values())
    reporter.say(f"Part 1 of 4: drawing {total:,} scenes. About half a minute on two cores.")
    reporter.begin("drawing scenes", total)
    drawn = 0

    def advance(done: int) -> None:
        nonlocal drawn
        reporter.advance(done - drawn)
        drawn = done

    draw_scenes(folder, **_drawing(config), on_progress=advance)
    reporter.end()
    records = load_records(DataSource(path=folder), reporter, config)
    reporter.say(records.summary())
    return records


def _folder_of(contender: Contender, folder: Path) -> Path:
    return folder if contender is SRN else folder / BASELINES / contender.name


def _require_own_runs(folder: Path, srn: RunConfig, records: Records) -> None:
    """Check that each run in the folder is the demo's, before the long work.

    Raises:
        CheckpointError: A run is another one, or it is damaged.
    """
    for each in CONTENDERS:
        if (path := _folder_of(each, folder) / CHECKPOINT).exists():
            load_checkpoint(path, identity=identity_of(each.recipe(srn), records))


def _maps(config: RunConfig, records: Records, reporter: Reporter) -> Maps:
    """The backbone's maps of each split, which all heads are trained on."""
    reporter.say(
        f"Part 2 of 4: the maps of {config.backbone.name}, which stays frozen. About two minutes "
        "on two cores."
    )
    device = choose_device(config.device)
    backbone = Backbone(config.backbone, (config.input.height, config.input.width)).to(device)
    backbone = backbone.to(memory_format=torch.channels_last)
    return cache_features(config, records, backbone, device, reporter)


def _train(
    srn: RunConfig, records: Records, maps: Maps, folder: Path, reporter: Reporter
) -> dict[str, Outcome]:
    """The outcome of each head's run, by name; a run that was stopped is resumed."""
    reporter.say(f"Part 3 of 4: training {len(CONTENDERS)} heads. A minute or two on two cores.")
    outcomes = {}
    for each in CONTENDERS:
        reporter.say(f"{each.title[0].upper()}{each.title[1:]}:")
        own = _folder_of(each, folder)
        resume = (own / CHECKPOINT).exists()
        outcomes[each.name] = run(
            each.recipe(srn), records, own, reporter, resume=resume, features=maps
        )
    return outcomes


def _figures(
    outcomes: Mapping[str, Outcome], maps: CachedFeatures, reporter: Reporter
) -> dict[str, Any]:
    """The figures of all heads, ready for JSON."""
    measured = {name: outcome.results[-1] for name, outcome in outcomes.items()}
    logits = {name: _logits(outcomes[name].bundle, maps) for name in (ATTENTION.name, SRN.name)}
    gain = gain_of(measured, logits, maps.records.targets)
    games = _games(outcomes[SRN.name], reporter)
    return {
        "relations": asdict(RELATIONS),
        "groups": {group: list(names) for group, names in ALL_GROUPS.items()},
        "heads": measured,
        "average_precision": {name: by_group(each) for name, each in measured.items()},
        "gain": gain.as_dict(),
        "in_words": in_words(measured, gain),
        "pointing_game": {
            "groups": pointing_by_group(games),
            "games": {title: games[method].as_dict() for method, title in MAPS.items()},
        },
    }


@torch.no_grad()
def _logits(bundle: Path, maps: CachedFeatures) -> NDArray[np.float32]:
    """The logits [N, C] that a bundle's head computes from the backbone's maps."""
    loaded = load_bundle(bundle)
    head, scores_from = loaded.classifier.head, loaded.info.scores_from
    mid, final_map = maps.views[0]
    parts = [
        head(FeatureMaps(mid[rows].float(), final_map[rows].float())).select(scores_from).numpy()
        for rows in (slice(start, start + _AT_ONCE) for start in range(0, len(mid), _AT_ONCE))
    ]
    return np.concatenate(parts)


def _games(srn: Outcome, reporter: Reporter) -> dict[str, PointingGame]:
    reporter.begin("pointing game", len(srn.held_out))
    games = score_localisation(Predictor.load(srn.bundle), srn.held_out)
    reporter.end()
    return games
