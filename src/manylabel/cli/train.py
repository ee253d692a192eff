"""`manylabel train`: trains a model by a recipe on a data set, and writes the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manylabel.cli.shared import DataOptions, data_options, say

if TYPE_CHECKING:
    from manylabel.train.config import RunConfig

DEFAULT_RECIPE = "quick-resnet50-srn"


@click.command()
@data_options(required=False)
@click.option(
    "--recipe",
    help=f"A TOML file, or the name of a recipe of manylabel.  [default: {DEFAULT_RECIPE}]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder.  [default: runs/ and the recipe's name]",
)
@click.option(
    "--backbone-weights",
    metavar="FILE|BUNDLE|package",
    help="Pre-trained weights of the backbone, instead of timm's: a file (safetensors or a state "
    "dict), a bundle's folder, or the word 'package': the backbone's package of the Python index.",
)
@click.option(
    "--start-from",
    metavar="BUNDLE",
    help="Start from the weights of a bundle; labels are matched by name. Without --recipe, train "
    "as the bundle was trained.",
)
@click.option("--seed", type=click.IntRange(min=0), help="The seed, instead of the recipe's.")
@click.option("--device", help="The device (auto, cpu, cuda or mps), instead of the recipe's.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another key of the recipe, such as optim.lr=0.01 or steps.0.epochs=3. Can be repeated.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Continue the run in this folder, with its own recipe.",
)
@click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be used.")
def train(
    data: DataOptions,
    recipe: str | None,
    out: Path | None,
    backbone_weights: str | None,
    start_from: str | None,
    seed: int | None,
    device: str | None,
    settings: tuple[str, ...],
    resume: Path | None,
    skip_bad_images: bool,
) -> None:
    """Train a model, and measure it after each step.

    The run's folder then has the bundle, the bundle of each step, metrics.json, the complete
    recipe, run.html, and a checkpoint for --resume.

    \b
    Examples:
      manylabel train --data photos.csv
      manylabel train --data photos.csv --recipe my.toml --set optim.lr=0.001
      manylabel train --data coco/ --recipe coco-resnet101-srn --out runs/coco
      manylabel train --data more.csv --start-from runs/photos/bundle
      manylabel train --resume runs/coco
    """
    from manylabel.processes import require_one_process
    from manylabel.train.config import find_recipe
    from manylabel.train.run_folder import recipe_of

    require_one_process("train")
    given = {
        "seed": seed,
        "device": device,
        "backbone.weights": backbone_weights,
        "start_from": start_from,
        "skip_bad_images": True if skip_bad_images else None,
    }
    values = {key: value for key, value in given.items() if value is not None}
    if resume is not None:
        _refuse_beside_resume(recipe, out, values, settings)
        folder, path = resume, recipe_of(resume)
    elif recipe is None and start_from is not None:
        folder, path = out or Path("runs") / "start-from", Path(start_from)
    else:
        path = find_recipe(recipe or DEFAULT_RECIPE)
        folder = out or Path("runs") / path.stem
    of_bundle = resume is None and recipe is None and start_from is not None

    def config() -> RunConfig:
        return _recipe(_tables(path, of_bundle), data, values, settings, where=str(path))

    _run(path, folder, config, resume=resume is not None)


def _run(path: Path, folder: Path, config_of: Callable[[], RunConfig], *, resume: bool) -> None:
    """Run the recipe in a folder that no other process works in, and print where the results lie.

    Args:
        path: Where the recipe comes from.
        folder: The folder of the run.
        config_of: Reads the recipe.
        resume: Whether to continue the run in the folder.
    """
    from manylabel.train.logs import Reporter
    from manylabel.train.page.build import build_run_page
    from manylabel.train.run import load_records, run
    from manylabel.train.run_folder import claimed, require_free
    from manylabel.train.start import require_weights

    with claimed(folder), Reporter() as reporter:
        if not resume:
            require_free(folder)
        config = config_of()
        assert config.data is not None
        if not resume:
            require_weights(config)
        records = load_records(config.data, reporter, config)
        reporter.say(records.summary())
        reporter.say(_describe(path, config))
        outcome = run(config, records, folder, reporter, resume=resume)
        page = build_run_page(outcome, config)
    say(f"Bundle: {outcome.bundle}")
    say(f"Page: {page}")


def _tables(path: Path, of_bundle: bool) -> dict[str, Any]:
    """The tables of a recipe, or of how the bundle at `path` was trained."""
    from manylabel.config import read_toml
    from manylabel.train.start import recipe_of_bundle

    return recipe_of_bundle(path) if of_bundle else read_toml(path)


def _recipe(
    tables: Mapping[str, Any],
    data: DataOptions,
    values: Mapping[str, object],
    settings: tuple[str, ...],
    *,
    where: str,
) -> RunConfig:
    """The recipe of `tables`, changed by the data set, values and settings of the command line."""
    from manylabel.config import put
    from manylabel.errors import ConfigError
    from manylabel.train.changes import check_changed
    from manylabel.train.config import resolve

    def check(changed: dict[str, Any]) -> RunConfig:
        changed["data"] = {**changed.get("data", {}), **data.settings()}
        if not changed["data"]:
            raise ConfigError(
                "No data set is given.",
                where="--data",
                fix="Give a table, a COCO JSON file or a folder, such as --data photos.csv.",
            )
        return resolve(changed, where=where)

    return check_changed(check, put(tables, values), settings)


def _refuse_beside_resume(
    recipe: str | None, out: Path | None, values: Mapping[str, object], settings: tuple[str, ...]
) -> None:
    if recipe or out or values or settings:
        raise click.UsageError(
            "--resume continues with the run's own recipe: leave out --recipe, --out, --seed, "
            "--device, --backbone-weights, --start-from, --skip-bad-images and --set."
        )


def _describe(path: Path, config: RunConfig) -> str:
    from manylabel.models.weights import describe_weights
    from manylabel.train.start import starting_model

    steps = ", ".join(f"{step.kind} {step.epochs}" for step in config.steps)
    backbone = starting_model(config).backbone
    weights = describe_weights(backbone.name, backbone.weights)
    if backbone.weights is None and not backbone.pretrained:
        weights = "no pre-trained weights"
    return (
        f"Recipe {path.stem}: {config.head.name} over {config.backbone.name} ({weights}), "
        f"{config.input.width}x{config.input.height} pixels, epochs: {steps}; seed {config.seed}, "
        f"batches of {config.batch_size}."
    )
