"""`manylabel evaluate`: a bundle's figures on a data set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from manylabel.cli.figures import PROFILES, print_figures
from manylabel.cli.shared import (
    DataOptions,
    ModelOptions,
    data_options,
    data_source,
    load_predictor,
    model_options,
    progress,
    terminal,
)

if TYPE_CHECKING:
    from manylabel.data.records import Records


@click.command(short_help="Measure a bundle on a data set.")
@model_options
@data_options(required=True)
@click.option(
    "--split",
    type=click.Choice(("test", "val", "train", "all")),
    help="The images to measure.  [default: test if the data set has it, else val, else all]",
)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="manylabel",
    show_default=True,
    help="Whose definitions of the figures.",
)
@click.option("--per-label", is_flag=True, help="Print a table of all labels, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be opened.")
def evaluate(
    model: ModelOptions,
    data: DataOptions,
    split: str | None,
    profile: str,
    per_label: bool,
    as_json: bool,
    skip_bad_images: bool,
) -> None:
    """Measure BUNDLE on a data set: mAP, precision, recall and F1, by threshold and of the top 3.

    The data set's labels are matched with the model's by name.

    \b
    Example:
      manylabel evaluate runs/demo/bundle --data photos.csv
      manylabel evaluate bundle --data coco/instances_val2014.json --images val2014 --profile srn
      manylabel evaluate bundle --data VOC2007 --split test --json > test.json
    """
    from manylabel.data.read import read
    from manylabel.evaluate.run import evaluate as run

    predictor = load_predictor(model)
    trained_on = predictor.bundle.info.provenance.get("trained_on")
    records, part = _part(read(data_source(data)), split, trained_on)
    with progress("scoring", len(records)) as report:
        found = run(
            predictor,
            records,
            profile=profile,
            skip_bad=skip_bad_images,
            on_progress=report.done,
        )
    about = {
        "bundle": str(model.bundle),
        "weights_sha256": predictor.bundle.weights_sha256,
        "split": part,
    }
    if as_json:
        click.echo(json.dumps({**about, **found.as_dict()}, indent=2))
    else:
        terminal().print(f"{about['bundle']} on {found.source}, split: {part}")
        print_figures(found.measures, found.notes, found.receipt, per_label=per_label)


def _part(records: Records, split: str | None, trained_on: str | None) -> tuple[Records, str]:
    """The images to measure, and what that part of the data set is called."""
    from manylabel.data.records import SPLITS
    from manylabel.evaluate.run import held_out, take_split

    if split is None:
        return held_out(records, trained_on=trained_on)
    for name in SPLITS:
        if name == split:
            return take_split(records, name), name
    return records, "all"
