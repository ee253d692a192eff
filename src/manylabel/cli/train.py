"""`manylabel train`: trains a model by a recipe on a data set, and writes the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
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
    type=click.Path(path_type=Path),
    help="Pre-trained weights of the backbone, instead of timm's: safetensors or a state dict.",
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
    backbone_weights: Path | None,
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
      manylabel train --resume runs/coco
    """
    from manylabel.processes import require_one_process
    from manylabel.train.config import find_recipe
    from manylabel.train.logs import Reporter
    from manylabel.train.page.build import build_run_page
    from manylabel.train.run import load_records, run
    from manylabel.train.run_folder import claimed, recipe_of, require_free

    require_one_process("train")
    weights = None if backbone_weights is None else str(backbone_weights)
    skip = True if skip_bad_images else None
    given = {
        "seed": seed,
        "device": device,
        "backbone.weights": weights,
        "skip_bad_images": skip,
    }
    values = {key: value for key, value in given.items() if value is not None}
    if resume is not None:
        _refuse_beside_resume(recipe, out, values, settings)
        folder, path = resume, recipe_of(resume)
    else:
        path = find_recipe(recipe or DEFAULT_RECIPE)
        folder = out or Path("runs") / path.stem
    with claimed(folder), Reporter() as reporter:
        if resume is None:
            require_free(folder)
        config = _recipe(path, data, values, settings)
        assert config.data is not None
        records = load_records(config.data, reporter, config)
        reporter.say(records.summary())
        reporter.say(_describe(path, config))
        outcome = run(config, records, folder, reporter, resume=resume is not None)
        page = build_run_page(outcome, config)
    say(f"Bundle: {outcome.bundle}")
    say(f"Page: {page}")


def _recipe(
    path: Path, data: DataOptions, values: Mapping[str, object], settings: tuple[str, ...]
) -> RunConfig:
    """The recipe at `path`, changed by the data set, values and settings of the command line."""
    from manylabel.config import put, read_toml
    from manylabel.errors import ConfigError
    from manylabel.train.changes import check_changed
    from manylabel.train.config import resolve

    def check(tables: dict[str, Any]) -> RunConfig:
        tables["data"] = {**tables.get("data", {}), **data.settings()}
        if not tables["data"]:
            raise ConfigError(
                "No data set is given.",
                where="--data",
                fix="Give a table, a COCO JSON file or a folder, such as --data photos.csv.",
            )
        return resolve(tables, where=str(path))

    return check_changed(check, put(read_toml(path), values), settings)


def _refuse_beside_resume(
    recipe: str | None, out: Path | None, values: Mapping[str, object], settings: tuple[str, ...]
) -> None:
    if recipe or out or values or settings:
        raise click.UsageError(
            "--resume continues with the run's own recipe: leave out --recipe, --out, --seed, "
            "--device, --backbone-weights, --skip-bad-images and --set."
        )


def _describe(path: Path, config: RunConfig) -> str:
    steps = ", ".join(f"{step.kind} {step.epochs}" for step in config.steps)
    weights = config.backbone.weights or (
        "timm's pre-trained weights" if config.backbone.pretrained else "no pre-trained weights"
    )
    return (
        f"Recipe {path.stem}: {config.head.name} over {config.backbone.name} ({weights}), "
        f"{config.input.width}x{config.input.height} pixels, epochs: {steps}; seed {config.seed}, "
        f"batches of {config.batch_size}."
    )
