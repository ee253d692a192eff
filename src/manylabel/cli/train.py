"""`manylabel train`: trains a model on a data set, by a recipe or by a plan that fits both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import click

from manylabel.cli.shared import DataOptions, data_options, grouped, say

if TYPE_CHECKING:
    from manylabel.train.auto.ways import Choices
    from manylabel.train.config import RunConfig
    from manylabel.train.logs import Reporter


@final
@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """What is trained, and how. What was not given is None, empty or False."""

    recipe: str | None
    backbone_weights: str | None
    seed: int | None
    device: str | None
    settings: tuple[str, ...]
    skip_bad_images: bool

    @property
    def values(self) -> dict[str, object]:
        """The given values, by the recipe's keys."""
        given = {
            "seed": self.seed,
            "device": self.device,
            "backbone.weights": self.backbone_weights,
            "skip_bad_images": True if self.skip_bad_images else None,
        }
        return {key: value for key, value in given.items() if value is not None}


_RECIPE_OPTIONS = (
    click.option(
        "--recipe",
        help="A TOML file, or the name of a recipe of manylabel.  [default: a plan that fits the "
        "machine and the data]",
    ),
    click.option(
        "--backbone-weights",
        metavar="FILE|BUNDLE|package",
        help="Pre-trained weights of the backbone, instead of the recipe's: a file (safetensors or "
        "a state dict), a bundle's folder, or the word 'package': the backbone's package of the "
        "Python index.",
    ),
    click.option("--seed", type=click.IntRange(min=0), help="The seed, instead of the recipe's."),
    click.option("--device", help="The device (auto, cpu, cuda or mps), instead of the recipe's."),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Another key of the recipe, such as optim.lr=0.01 or steps.0.epochs=3. Can be "
        "repeated.",
    ),
    click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be used."),
)


@click.command()
@data_options(required=False)
@grouped("what", RecipeOptions, _RECIPE_OPTIONS)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder.  [default: runs/ and the name of the recipe, or that of the data set]",
)
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Print the plan and what each choice would take, and train nothing. Without --recipe.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="The minutes that the plan may take. Without --recipe.  [default: 5, or 60 with a GPU; "
    "with many images twice what the simplest choice takes]",
)
@click.option("--no-tune", is_flag=True, help="Leave all thresholds at 0.5.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Continue the run in this folder, with its own recipe or plan.",
)
def train(
    data: DataOptions,
    what: RecipeOptions,
    out: Path | None,
    only_plan: bool,
    minutes: float | None,
    no_tune: bool,
    resume: Path | None,
) -> None:
    """Train a model, and measure it.

    Without --recipe, train times a few batches, prints a plan that fits this machine and these
    images, tries one or more heads, and hands over the best on the validation split. With --recipe,
    it does what the recipe says, and hands over its best step. Thresholds are tuned at the end.

    The run's folder then has the bundle, metrics.json, the complete recipe, run.html, and what
    --resume needs.

    \b
    Examples:
      manylabel train --data photos.csv
      manylabel train --data photos.csv --plan
      manylabel train --data photos.csv --recipe my.toml --set optim.lr=0.001
      manylabel train --data coco/ --recipe coco-resnet101-srn --out runs/coco
      manylabel train --resume runs/coco
    """
    from manylabel.processes import require_one_process
    from manylabel.train.logs import Reporter

    require_one_process("train")
    if resume is not None:
        _refuse_beside_resume(what, out, only_plan, minutes)
        if _is_finished(resume):
            return
    if what.recipe is not None and (only_plan or minutes is not None):
        raise click.UsageError(
            "--plan and --minutes are for training without --recipe. A recipe says by itself what "
            "is trained."
        )
    with Reporter() as reporter:
        if only_plan:
            _print_plan(data, what, out, minutes, reporter)
        elif what.recipe is None and (resume is None or _has_plan(resume)):
            _train_best(data, what, out or resume, minutes, no_tune, resume is not None, reporter)
        else:
            _train_recipe(data, what, out, no_tune, resume, reporter)


def _train_recipe(
    data: DataOptions,
    what: RecipeOptions,
    out: Path | None,
    no_tune: bool,
    resume: Path | None,
    reporter: Reporter,
) -> None:
    from manylabel.train.config import find_recipe
    from manylabel.train.page.build import build_run_page
    from manylabel.train.run import load_records, run
    from manylabel.train.run_folder import claimed, recipe_of, require_free
    from manylabel.train.start import require_weights
    from manylabel.train.tuned import record_tuning, tune_run

    if resume is not None:
        folder, path = resume, recipe_of(resume)
    else:
        path = find_recipe(what.recipe or "")
        folder = out or Path("runs") / path.stem
    with claimed(folder, resume=resume is not None):
        if resume is None:
            require_free(folder)
        config = _recipe(path, data, what.values, what.settings)
        assert config.data is not None
        if resume is None:
            require_weights(config)
        records = load_records(config.data, reporter, config)
        reporter.say(records.summary())
        named = f"The run in {folder}" if resume is not None else f"Recipe {path.stem}"
        reporter.say(_describe(named, config))
        outcome = run(config, records, folder, reporter, resume=resume is not None)
        tuned = None if no_tune else tune_run(outcome, reporter, device=config.device)
        record_tuning(outcome.folder, tuned)
        page = build_run_page(outcome, config, tuned=tuned)  # last: it says that the run is done
    say(f"Bundle: {outcome.bundle}")
    say(f"Page: {page}")


def _train_best(
    data: DataOptions,
    what: RecipeOptions,
    folder: Path | None,
    minutes: float | None,
    no_tune: bool,
    resume: bool,
    reporter: Reporter,
) -> None:
    from manylabel.config import parse
    from manylabel.data.read import DataSource
    from manylabel.train.auto.run import require_start, train_best
    from manylabel.train.auto.saved import saved_choices
    from manylabel.train.auto.ways import LINEAR
    from manylabel.train.run import load_records
    from manylabel.train.run_folder import claimed, require_free

    folder = folder or _default_folder(data)
    choices, given, tune = _choices(what), data.settings(), not no_tune
    with claimed(folder, resume=resume):
        if resume and (saved := saved_choices(folder)) is not None:
            choices, tables, tune = saved
            given = {**tables, **given}
            tune = tune and not no_tune
        else:
            require_free(folder)
        _require_data(given)
        config = choices.recipe(LINEAR, given)
        require_start(config)
        source = parse(DataSource, given, where="the options of the data set")
        records = load_records(source, reporter, config)
        reporter.say(records.summary())
        best = train_best(
            records,
            folder,
            reporter,
            choices,
            data=given,
            minutes=minutes,
            tune=tune,
            resume=resume,
        )
    say(f"Bundle: {best.outcome.bundle}")
    say(f"Page: {best.page}")


def _print_plan(
    data: DataOptions,
    what: RecipeOptions,
    out: Path | None,
    minutes: float | None,
    reporter: Reporter,
) -> None:
    from manylabel.cli.shared import data_source
    from manylabel.data.read import read
    from manylabel.data.splits.split import check_trainable, with_splits
    from manylabel.errors import MissingExtraError
    from manylabel.train.auto.plan import table
    from manylabel.train.auto.run import plan_training, require_start
    from manylabel.train.auto.ways import LINEAR

    _require_data(data.settings())
    folder = out or _default_folder(data)
    records = with_splits(read(data_source(data)))
    check_trainable(records)
    reporter.say("Timing a few batches.")
    choices = _choices(what)
    plan = plan_training(records, folder, choices, minutes=minutes)
    say(records.summary())
    say(plan.machine.in_words())
    for line in table(plan):
        say(line)
    say("Nothing was trained. Leave out --plan to train the chosen ways.")
    try:
        require_start(choices.recipe(LINEAR))
    except MissingExtraError as error:
        say(f"Before that: {error.what} {error.fix}")


def _default_folder(data: DataOptions) -> Path:
    name = "" if data.path is None else data.path.absolute().stem
    return Path("runs") / (name or "mine")


def _choices(what: RecipeOptions) -> Choices:
    from manylabel.train.auto.ways import Choices

    return Choices(
        seed=what.seed or 0,
        device=what.device or "auto",
        weights=what.backbone_weights,
        settings=what.settings,
        skip_bad_images=what.skip_bad_images,
    )


def _has_plan(folder: Path) -> bool:
    from manylabel.train.run_folder import PLAN

    return (folder / PLAN).exists()


def _is_finished(folder: Path) -> bool:
    """Whether the run in the folder is finished; a line then says so."""
    from manylabel.train.run_folder import BUNDLE, is_finished

    if not is_finished(folder):
        return False
    say(f"The run in {folder} is finished: there is nothing to resume.")
    say(f"Bundle: {folder / BUNDLE}")
    return True


def _recipe(
    path: Path, data: DataOptions, values: Mapping[str, object], settings: tuple[str, ...]
) -> RunConfig:
    """The recipe at `path`, changed by the data set, values and settings of the command line."""
    from manylabel.config import override, put, read_toml
    from manylabel.train.config import resolve

    tables = override(put(read_toml(path), values), settings)
    tables["data"] = {**tables.get("data", {}), **data.settings()}
    _require_data(tables["data"])
    return resolve(tables, where=str(path))


def _require_data(settings: Mapping[str, Any]) -> None:
    from manylabel.errors import ConfigError

    if not settings:
        raise ConfigError(
            "No data set is given.",
            where="--data",
            fix="Give a table, a COCO JSON file or a folder, such as --data photos.csv.",
        )


def _refuse_beside_resume(
    what: RecipeOptions, out: Path | None, only_plan: bool, minutes: float | None
) -> None:
    if what.recipe or out or what.values or what.settings or only_plan or minutes:
        raise click.UsageError(
            "--resume continues with the run's own recipe or plan: leave out --recipe, --out, "
            "--seed, --device, --backbone-weights, --skip-bad-images, --set, --plan and --minutes."
        )


def _describe(named: str, config: RunConfig) -> str:
    from manylabel.models.weights import describe_weights

    steps = ", ".join(f"{step.kind} {step.epochs}" for step in config.steps)
    weights = "no pre-trained weights"
    if config.backbone.pretrained or config.backbone.weights is not None:
        weights = describe_weights(config.backbone.name, config.backbone.weights)
    return (
        f"{named}: {config.head.name} over {config.backbone.name} ({weights}), "
        f"{config.input.width}x{config.input.height} pixels, epochs: {steps}; seed {config.seed}, "
        f"batches of {config.batch_size}."
    )
