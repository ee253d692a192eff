"""Trains without a recipe: makes a plan, trains its ways, and hands over the best, tuned."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import torch

from manylabel.bundle.folder import read_bundle, write_bundle
from manylabel.config import write_toml
from manylabel.data.records import Records, Split
from manylabel.devices import choose_device
from manylabel.files import write_errors, write_text
from manylabel.locks import held, lock_beside
from manylabel.models.backbones import Backbone
from manylabel.train.auto.compare import SURE, Compared, compare
from manylabel.train.auto.plan import Choice, Plan, make_plan, table
from manylabel.train.auto.saved import as_saved, read_saved
from manylabel.train.auto.scores import scores_of_images, scores_of_maps
from manylabel.train.auto.survey import look_at_machine, survey
from manylabel.train.auto.timing import measure_timings
from manylabel.train.auto.ways import LINEAR, WAYS, Choices, Way, other_ways
from manylabel.train.checkpoint import CHECKPOINT
from manylabel.train.config import RunConfig
from manylabel.train.features import CachedFeatures, MapStore
from manylabel.train.logs import Reporter
from manylabel.train.outcome import Outcome, metrics_of, write_metrics
from manylabel.train.page.build import PageAdditions, build_run_page
from manylabel.train.page.content import Grid
from manylabel.train.random_states import seed_all
from manylabel.train.run import run
from manylabel.train.run_folder import BUNDLE, PAGE, PLAN, RECIPE, claimed, require_free
from manylabel.train.start import require_weights
from manylabel.train.tuned import TunedRun, tune_run
from manylabel.train.views import cache_features

CANDIDATES: Final = "candidates"
"""The folder in which each way has its own run."""

_MAPS: Final = "maps"

Maps = Mapping[Split, CachedFeatures]


@final
@dataclass(frozen=True)
class Best:
    """What training without a recipe gives.

    Args:
        outcome: The run of the best way. Its bundle is that of the whole run, and is tuned.
        page: The page of the run.
        recipe: The complete recipe of the best way.
        plan: The plan.
        way: The best way.
        compared: How each way did on validation, by name.
        test_mAP: The mAP of each way on the split that steps are measured on, by name. It chose
            nothing.
        tuned: How the thresholds were tuned; None: they were not.
    """

    outcome: Outcome
    page: Path
    recipe: RunConfig
    plan: Plan
    way: Way
    compared: Mapping[str, Compared]
    test_mAP: Mapping[str, float]
    tuned: TunedRun | None


def plan_training(
    records: Records,
    folder: Path,
    choices: Choices = Choices(),  # noqa: B008 (it is frozen)
    *,
    minutes: float | None = None,
    ways: Sequence[Way] = WAYS,
    backbone: Backbone | None = None,
) -> Plan:
    """A plan for a data set on this machine. Nothing is trained, written or downloaded.

    Args:
        records: The records, with splits. Only a few of the images are opened.
        folder: The folder of the run; it need not exist.
        choices: What the user chose.
        minutes: The minutes that the plan may take; None: the default.
        ways: The ways to choose from; the first is the linear head.
        backbone: The backbone; by default one without weights, which is as fast.
    """
    machine = look_at_machine(folder, choices.device)
    recipes = {way: choices.recipe(way) for way in ways}
    backbone = backbone or _backbone(_without_weights(recipes[LINEAR]))
    timings = measure_timings(records, recipes, backbone)
    return make_plan(machine, survey(records), timings, recipes, minutes)


def train_best(
    records: Records,
    folder: Path,
    reporter: Reporter,
    choices: Choices = Choices(),  # noqa: B008 (it is frozen)
    *,
    data: Mapping[str, Any] | None = None,
    minutes: float | None = None,
    ways: Sequence[Way] = WAYS,
    tune: bool = True,
    resume: bool = False,
) -> Best:
    """Train as a plan says, and hand over the best model by validation, with tuned thresholds.

    Args:
        records: The records, with splits.
        folder: The run's folder. It gets the bundle, the recipe of the best way, `metrics.json`,
            `run.html`, the plan, and a folder for each way that was trained.
        reporter: Reports the progress.
        choices: What the user chose.
        data: Where the records came from, as the recipe's table `data`.
        minutes: The minutes that the plan may take; None: the default.
        ways: The ways to choose from; the first is the linear head.
        tune: Whether to tune the thresholds.
        resume: Whether to go on with the run in `folder`.

    Raises:
        ConfigError: The folder already holds a run, or the backbone's weights cannot be loaded.
        CheckpointError: There is no such run to resume, or it is of other data.
        DataError: Images that cannot be used.
        MissingExtraError: The package with the backbone's weights is not installed.
        RunError: The run began and could not continue.

    Example:
        `train_best(load_records(source, reporter), Path("runs/mine"), reporter).outcome.bundle`
    """
    with claimed(folder, resume=resume):
        saved = read_saved(folder) if resume else None
        if saved is None:
            require_free(folder)
        training = _Training(records, folder, reporter, choices, data or {}, tuple(ways), tune)
        return training.run(minutes, saved)


@dataclass
class _Training:
    """What the parts of `train_best` share."""

    records: Records
    folder: Path
    reporter: Reporter
    choices: Choices
    data: Mapping[str, Any]
    ways: tuple[Way, ...]
    tune: bool

    def run(self, minutes: float | None, saved: Mapping[str, Any] | None) -> Best:
        began = time.monotonic()
        recipes = {way: self.choices.recipe(way, self.data) for way in self.ways}
        backbone = _backbone(recipes[LINEAR])  # its weights are looked for before images are opened
        plan = plan_training(
            self.records,
            self.folder,
            self.choices,
            minutes=minutes,
            ways=self.ways,
            backbone=backbone,
        )
        if saved is not None:
            plan = as_saved(plan, saved)
        self._show(plan)
        with self.reporter.whole(plan.seconds), _maps_folder(self.folder, plan) as maps_folder:
            maps = self._maps(plan, recipes[LINEAR], backbone, maps_folder)
            self._write_plan(plan)
            outcomes = {choice.way: self._train(choice, recipes, maps) for choice in plan.chosen}
            way, compared = self._choose(outcomes, maps)
            outcome = self._hand_over(way, outcomes, compared)
            self.reporter.share(plan.after)
            tuned = self._tuned(outcome)
        tested = {each.name: found.handed_over["mAP"] for each, found in outcomes.items()}
        best = Best(outcome, self.folder / PAGE, recipes[way], plan, way, compared, tested, tuned)
        self._finish(best, time.monotonic() - began)
        return best

    def _show(self, plan: Plan) -> None:
        self.reporter.say(plan.machine.in_words())
        for line in table(plan):
            self.reporter.say(line)

    def _maps(
        self, plan: Plan, recipe: RunConfig, backbone: Backbone, folder: Path | None
    ) -> dict[Split, CachedFeatures]:
        pooled = plan.storage == "pooled"

        def store(split: Split, images: int) -> MapStore:
            own = None if folder is None else folder / split
            if own is not None:
                own.mkdir(parents=True)
            return MapStore(images, own, pooled=pooled)

        self.reporter.share(plan.map_seconds)
        with self.reporter.whole(plan.survey.total):
            return cache_features(
                recipe,
                self.records,
                backbone,
                choose_device(recipe.device),
                self.reporter,
                store,
                mirrored=plan.mirrored,
            )

    def _train(self, choice: Choice, recipes: Mapping[Way, RunConfig], maps: Maps) -> Outcome:
        way = choice.way
        self.reporter.say(f"{way.name}: {way.title}.")
        self.reporter.share(choice.seconds)
        own = self.folder / CANDIDATES / way.name
        return run(
            recipes[way],
            self.records,
            own,
            self.reporter,
            resume=(own / CHECKPOINT).exists(),
            features=maps if way.frozen else None,
        )

    def _choose(
        self, outcomes: Mapping[Way, Outcome], maps: Maps
    ) -> tuple[Way, dict[str, Compared]]:
        val = outcomes[LINEAR].val
        if val is None:
            self.reporter.say("There is no validation split: the linear head is handed over.")
            return LINEAR, {}
        scores = {
            way.name: scores_of_maps(outcome.bundle, maps["val"])
            if way.frozen
            else scores_of_images(outcome.bundle, val, self.choices.device)
            for way, outcome in outcomes.items()
        }
        best, compared = compare(scores, val.targets, seed=self.choices.seed)
        return next(way for way in outcomes if way.name == best), compared

    def _hand_over(
        self, way: Way, outcomes: Mapping[Way, Outcome], compared: Mapping[str, Compared]
    ) -> Outcome:
        notes = _notes(way, compared)
        for note in notes:
            self.reporter.say(note)
        found, bundle = read_bundle(outcomes[way].bundle), self.folder / BUNDLE
        waiting = f"Waiting for another process that writes {bundle}."
        with held(lock_beside(bundle), on_wait=lambda: self.reporter.say(waiting)):
            write_bundle(bundle, found.weights, found.info)
        return replace(outcomes[way], folder=self.folder, bundle=bundle, notes=tuple(notes))

    def _tuned(self, outcome: Outcome) -> TunedRun | None:
        if not self.tune:
            return None
        images = len(outcome.held_out) + (0 if outcome.val is None else len(outcome.val))
        with self.reporter.whole(images):
            return tune_run(outcome, self.reporter, device=self.choices.device)

    def _write_plan(self, plan: Plan) -> None:
        values = {
            "plan": plan.as_dict(),
            "choices": {**asdict(self.choices), "settings": list(self.choices.settings)},
            "data": dict(self.data),
            "tune": self.tune,
        }
        with write_errors(self.folder / PLAN, "The plan"):
            write_text(self.folder / PLAN, json.dumps(values, indent=2) + "\n")

    def _finish(self, best: Best, seconds: float) -> None:
        """Write what only a finished run has; the page is last, since it says so."""
        with write_errors(self.folder / RECIPE, "The recipe"):
            write_toml(best.recipe, self.folder / RECIPE)
        ways = {
            name: {**best.compared[name].as_dict(), "mAP": value}
            if name in best.compared
            else {"mAP": value}
            for name, value in best.test_mAP.items()
        }
        metrics = {
            **metrics_of(best.outcome, best.recipe, seconds=seconds),
            "plan": best.plan.as_dict(),
            "ways": ways,
            "handed_over": {"way": best.way.name, "notes": list(best.outcome.notes)},
            "tuned": None if best.tuned is None else best.tuned.as_dict(),
        }
        write_metrics(self.folder, metrics)
        build_run_page(best.outcome, best.recipe, _additions(best), best.tuned)
        _remove_leftovers(self.folder / CANDIDATES)


def require_start(recipe: RunConfig) -> None:
    """Check that the backbone's weights are there, before any image is opened.

    Raises:
        ConfigError: They cannot be loaded.
        MissingExtraError: They are in a package that is not installed. The error says which other
            ways there are.
    """
    with other_ways():
        require_weights(recipe)


def _backbone(recipe: RunConfig) -> Backbone:
    """The backbone of all ways. Should it be random, it is as `run` makes it from the same seed."""
    require_start(recipe)
    seed_all(recipe.seed)
    size = (recipe.input.height, recipe.input.width)
    backbone = Backbone(recipe.backbone, size).to(choose_device(recipe.device))
    return backbone.to(memory_format=torch.channels_last)


def _without_weights(recipe: RunConfig) -> RunConfig:
    bare = recipe.backbone.model_copy(update={"pretrained": False, "weights": None})
    return recipe.model_copy(update={"backbone": bare})


@contextmanager
def _maps_folder(folder: Path, plan: Plan) -> Iterator[Path | None]:
    """The folder of the maps, which is removed at the end; None if they are kept in memory."""
    if plan.storage != "disk":
        yield None
        return
    maps = folder / _MAPS
    shutil.rmtree(maps, ignore_errors=True)  # of a run that was killed
    try:
        yield maps
    finally:
        shutil.rmtree(maps, ignore_errors=True)


def _notes(way: Way, compared: Mapping[str, Compared]) -> list[str]:
    """What is handed over and why, and where the others lie in the run's folder, in sentences."""
    if len(compared) < 2:
        return []
    found = [
        f"{name} {100 * each.mAP:.1f}"
        + ("" if name == LINEAR.name else f" (better in {each.better:.0%} of draws)")
        for name, each in compared.items()
    ]
    notes = [f"mAP on val: {', '.join(found)}.", f"Handed over: {way.name}, {way.title}."]
    higher = [name for name, each in compared.items() if each.mAP > compared[way.name].mAP]
    if higher:
        notes.append(
            f"{' and '.join(higher)} had a higher mAP on val, but fewer than {SURE:.0%} of draws "
            "of its images agree, so that may be chance. Its bundle, in the folder of the run: "
            f"{CANDIDATES}/{higher[0]}/{BUNDLE}."
        )
    return notes


def _additions(best: Best) -> PageAdditions:
    """A table of the ways for the page of the run."""
    if len(best.test_mAP) < 2 or not best.compared:
        return PageAdditions()
    split = best.outcome.handed_over["split"]
    rows = {name: (best.compared[name].mAP, value) for name, value in best.test_mAP.items()}
    return PageAdditions(
        grids=[
            Grid(
                title="The ways that were tried",
                note=f"The split val chose the way; {split} had no say. In percent.",
                corner="way",
                columns=("mAP on val", f"mAP on {split}"),
                rows=rows,
            )
        ]
    )


def _remove_leftovers(candidates: Path) -> None:
    """Remove what only resuming needs from the runs of the ways; their bundles stay."""
    for own in candidates.iterdir():
        (own / CHECKPOINT).unlink(missing_ok=True)
        shutil.rmtree(own / "steps", ignore_errors=True)
