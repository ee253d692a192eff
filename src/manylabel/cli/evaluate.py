"""`manylabel evaluate`: measures a bundle on a data set."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from manylabel.cli.figures import PROFILES, print_figures, print_json
from manylabel.cli.shared import (
    DataOptions,
    ModelOptions,
    data_options,
    data_source,
    keep_trained_option,
    load_predictor,
    model_options,
    part_to_use,
    progress,
    split_option,
    terminal,
)
from manylabel.errors import ManylabelError

if TYPE_CHECKING:
    from manylabel.data.records import Records
    from manylabel.predict import Predictor
    from manylabel.processes import Processes


@click.command(short_help="Measure a bundle on a data set.")
@model_options
@data_options(required=True)
@split_option()
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="manylabel",
    show_default=True,
    help="The definitions of the metrics.",
)
@click.option("--per-label", is_flag=True, help="Also print a table of all labels.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@keep_trained_option
@click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be opened.")
@click.option(
    "--save-predictions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Save the scores (.csv .tsv .parquet .npz), and targets and receipt in files beside it.",
)
def evaluate(
    model: ModelOptions,
    data: DataOptions,
    split: str | None,
    profile: str,
    per_label: bool,
    as_json: bool,
    keep_trained: bool,
    skip_bad_images: bool,
    save_predictions: Path | None,
) -> None:
    """Measure BUNDLE on a data set: mAP, and precision, recall and F1 by threshold and top 3.

    The labels of the data set and the model are matched by name. Images that the model was trained
    on are counted and left out, whatever their paths and formats; --split train keeps them. Under
    torchrun, the processes share the work, and the metrics are the same to the last bit.

    \b
    Example:
      manylabel evaluate runs/demo/bundle --data photos.csv
      manylabel evaluate bundle --data coco/instances_val2014.json --images val2014 --profile srn
      manylabel evaluate bundle --data VOC2007 --split test --json > test.json
      manylabel evaluate bundle --data photos.csv --save-predictions scores.csv
      torchrun --standalone --nproc-per-node 4 -m manylabel evaluate bundle --data photos.csv
    """
    from manylabel.evaluate.predictions.saving import save_evaluation
    from manylabel.evaluate.run import evaluate as run
    from manylabel.processes import agreed, joined, launched_count, require_one_process

    if save_predictions is not None and launched_count() == 1:  # torchrun's share the work
        require_one_process("evaluate --save-predictions")
    with joined() as together, _reported_once(together):
        job = agreed(lambda: _prepare(model, data, split, save_predictions, together))
        with progress("scoring", len(job.records), bar=together.leads) as report:
            found = run(
                job.predictor,
                job.records,
                profile=profile,
                skip_bad=skip_bad_images,
                keep_trained=keep_trained or split == "train",
                on_progress=report.done,
            )
        if not together.leads:
            return
        if save_predictions is not None:
            save_evaluation(save_predictions, found, job.predictor.labels)
        about = {
            "bundle": str(model.bundle),
            "weights_sha256": job.predictor.engine.weights_sha256,
            "split": job.part,
        }
        if as_json:
            print_json({**about, **found.as_dict()})
        else:
            terminal().print(f"{about['bundle']} on {found.source}, split: {job.part}")
            print_figures(found.measures, found.notes, found.receipt, per_label=per_label)
        sys.stdout.flush()  # while the other processes wait: none ends well if this fails


class _Job(NamedTuple):
    """What to measure."""

    predictor: Predictor
    records: Records
    part: str


def _prepare(
    model: ModelOptions,
    data: DataOptions,
    split: str | None,
    save_predictions: Path | None,
    together: Processes,
) -> _Job:
    """The model and the images; first it is checked that the predictions can be saved."""
    from manylabel.data.read import read
    from manylabel.evaluate.predictions.saving import check_saving

    predictor = load_predictor(replace(model, device=together.device(model.device)))
    info = predictor.engine.info
    records, part = part_to_use(
        read(data_source(data)), split, info.trained_on, images_known=info.seen is not None
    )
    if save_predictions is not None and together.leads and len(records):
        check_saving(save_predictions, records, read_from=[data.path])
    return _Job(predictor, records, part)


@contextmanager
def _reported_once(together: Processes) -> Iterator[None]:
    """Only the leading process reports errors; the others end without a message and with success.

    If another process ended with an error, the launcher would stop all of them, and the leading
    process could not report why.
    """
    try:
        yield
    except ManylabelError:
        if together.leads:
            raise
