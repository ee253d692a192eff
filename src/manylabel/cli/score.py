"""`manylabel score`: measures files of predictions, from any source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from manylabel.cli.figures import (
    PROFILES,
    print_additional,
    print_figures,
    print_intervals,
    print_json,
)
from manylabel.cli.shared import DATA_FORMATS, progress, terminal

Command = Callable[..., Any]


def inputs_options(command: Command) -> Command:
    """Adds the options for reading targets and predictions: the fields of `Inputs`."""
    path = click.Path(path_type=Path)
    options = (
        click.option(
            "--targets",
            type=path,
            required=True,
            help="The targets: any data set. A table has a column 'image' and one column per "
            "label.",
        ),
        click.option(
            "--format",
            "kind",
            type=click.Choice(DATA_FORMATS),
            metavar="KIND",
            help="The kind of data set of the targets.  [default: auto: recognised by its files]",
        ),
        click.option(
            "--split", type=click.Choice(("train", "val", "test")), help="Use only this split."
        ),
        click.option("--logits", is_flag=True, help="Predictions are logits (before the sigmoid)."),
        click.option("--image-list", type=path, help="Lists: the images, one path per line."),
        click.option("--label-names", type=path, help="Lists: one label per line."),
    )
    return _with(options, command)


def draws_options(command: Command) -> Command:
    """Adds --resamples and --seed for the bootstrap."""
    options = (
        click.option(
            "--resamples",
            type=click.IntRange(100, 10_000),
            default=1000,
            show_default=True,
            help="The number of bootstrap draws for the intervals.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="The random seed of these draws.",
        ),
    )
    return _with(options, command)


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


@click.command(short_help="Measure a file of predictions.")
@click.option(
    "--predictions",
    "predictions_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Scores: a table (.csv .tsv .parquet), .npz, COCO results (.json) or lists (.txt).",
)
@inputs_options
@click.option("--common", is_flag=True, help="Use only the images that are in both files.")
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="manylabel",
    show_default=True,
    help="The definitions of the metrics.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="The threshold for all labels; a label is predicted if its score reaches it.  "
    "[default: the profile's own]",
)
@click.option(
    "--thresholds",
    "thresholds_path",
    type=click.Path(path_type=Path),
    help="The threshold of each label, from JSON: the .receipt.json of saved predictions, or an "
    "object from label to threshold.",
)
@click.option("--per-label", is_flag=True, help="Also print a table of all labels.")
@click.option("--more", is_flag=True, help="Also print the metrics that no profile has.")
@click.option(
    "--intervals",
    is_flag=True,
    help="Also print bootstrap intervals of mAP, CF1, OF1 and each label's AP.",
)
@draws_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def score(
    predictions_path: Path,
    common: bool,
    profile: str,
    threshold: float | None,
    thresholds_path: Path | None,
    per_label: bool,
    more: bool,
    intervals: bool,
    resamples: int,
    seed: int,
    as_json: bool,
    **inputs: Any,
) -> None:
    """Measure a file of predictions from any source, matched by names of images and labels.

    \b
    Example:
      manylabel score --predictions scores.csv --targets truth.csv
      manylabel score --predictions results.json --targets instances_val2014.json --profile asl
      manylabel score --predictions scores.npz --targets truth.csv --more --intervals --per-label
      manylabel score --predictions pred.txt --image-list test_imglist.txt --logits \\
        --targets truth.csv --profile srn --json
    """
    from manylabel.evaluate.intervals import in_words
    from manylabel.evaluate.predictions.score import Inputs, score_predictions

    if threshold is not None and thresholds_path is not None:
        raise click.UsageError("--threshold and --thresholds cannot be used together.")
    with progress("resampling, %", 100, bar=intervals) as bar:
        found = score_predictions(
            predictions_path,
            Inputs(**inputs),
            common=common,
            profile=profile,
            threshold=thresholds_path or threshold,
            draws=resamples if intervals else 0,
            seed=seed,
            on_progress=lambda done, total: bar.done(100 * done // total),
        )
    if as_json:
        print_json(found.as_dict())
        return
    terminal().print(f"predictions {found.receipt.predictions}, targets {found.receipt.data}")
    print_figures(found.measures, found.notes, found.receipt, per_label=per_label)
    if found.intervals:
        print_intervals(found.intervals, per_label=per_label)
    if more:
        print_additional(found.additional(), in_words(found.threshold))
