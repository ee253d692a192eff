"""`manylabel evaluate`: a bundle's figures on a data set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

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
    from rich.table import Table

    from manylabel.data.records import Records
    from manylabel.evaluate.run import Evaluation
    from manylabel.metrics.decisions import Decisions
    from manylabel.metrics.profiles import Measures

PROFILES: Final = ("manylabel", "srn")
"""Those of `manylabel.metrics`, which would import too much."""


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
        _print(about, found, per_label=per_label)


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


def _print(about: dict[str, Any], found: Evaluation, *, per_label: bool) -> None:
    console, measures = terminal(), found.measures
    console.print(f"{about['bundle']} on {found.source}, split: {about['split']}")
    console.print(f"{measures.num_images:,} images, {len(measures.per_label):,} labels")
    for note in found.notes:
        console.print(f"note: {note}")
    console.print(_figures(measures))
    console.print(f"profile {measures.profile.name}: {measures.profile.definition}")
    if measures.skipped:
        names = ", ".join(measures.skipped)
        console.print(f"skipped, no positive: {len(measures.skipped):,} labels ({names})")
    if measures.unknown:
        console.print(f"unknown targets: {measures.unknown:,}")
    if per_label:
        console.print(_label_figures(measures))


def _figures(measures: Measures) -> Table:
    table = _table("%", "mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")
    table.add_row("by threshold", _percent(measures.mAP), *_row(measures.all))
    table.add_row("top 3", "", *_row(measures.top3))
    return table


def _label_figures(measures: Measures) -> Table:
    table = _table("label", "positives", "AP %", "P %", "R %", "F1 %", "threshold")
    for row in measures.per_label:
        figures = map(_percent, (row.AP, row.precision, row.recall, row.F1))
        table.add_row(row.label, f"{row.positives:,}", *figures, f"{row.threshold:.3f}")
    return table


def _table(first: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _row(decisions: Decisions) -> list[str]:
    figures = decisions.as_dict()
    return [_percent(figures[name]) for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")]


def _percent(fraction: float) -> str:
    """In percent; a dash where the figure is not defined."""
    return "-" if fraction != fraction else f"{100 * fraction:.2f}"
