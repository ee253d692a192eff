"""`manylabel score`: the figures of predictions that were made anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import click

from manylabel.cli.figures import PROFILES, print_figures
from manylabel.cli.shared import DATA_FORMATS, terminal


@click.command(short_help="Measure predictions that were made anywhere.")
@click.option(
    "--predictions",
    "predictions_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Scores: a table (.csv .tsv .parquet), .npz, COCO results (.json) or lists (.txt).",
)
@click.option(
    "--targets",
    type=click.Path(path_type=Path),
    required=True,
    help="The truth: any data set; as a table a column 'image', then one column a label.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(DATA_FORMATS),
    metavar="KIND",
    help="The kind of data set of the targets.  [default: auto: by what lies there]",
)
@click.option("--split", type=click.Choice(("train", "val", "test")), help="Only these targets.")
@click.option("--logits", is_flag=True, help="The numbers are logits, before the sigmoid.")
@click.option(
    "--image-list", type=click.Path(path_type=Path), help="Lists: the images, a path a line."
)
@click.option("--label-names", type=click.Path(path_type=Path), help="Lists: a label a line.")
@click.option("--common", is_flag=True, help="Measure the images that both sides have.")
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="manylabel",
    show_default=True,
    help="Whose definitions of the figures.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="For all labels: scores that reach it are decisions.  [default: the profile's own]",
)
@click.option("--per-label", is_flag=True, help="Print a table of all labels, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def score(
    predictions_path: Path,
    targets: Path,
    kind: str | None,
    split: str | None,
    logits: bool,
    image_list: Path | None,
    label_names: Path | None,
    common: bool,
    profile: str,
    threshold: float | None,
    per_label: bool,
    as_json: bool,
) -> None:
    """Measure predictions that were made anywhere, by name of image and label.

    \b
    Example:
      manylabel score --predictions scores.csv --targets truth.csv
      manylabel score --predictions results.json --targets instances_val2014.json --profile asl
      manylabel score --predictions pred.txt --image-list test_imglist.txt --logits \\
        --targets truth.csv --profile srn --json
    """
    from manylabel.evaluate.score import score_predictions

    found = score_predictions(
        predictions_path,
        targets,
        kind=kind,
        split=split,
        logits=logits,
        image_list=image_list,
        label_names=label_names,
        common=common,
        profile=profile,
        threshold=threshold,
    )
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    terminal().print(f"{found.receipt.predictions} against {found.receipt.data}")
    print_figures(found.measures, found.notes, found.receipt, per_label=per_label)
