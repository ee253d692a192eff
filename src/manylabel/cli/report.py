"""`manylabel report`: writes metrics, curves and mistakes of a model as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manylabel.cli.report_sections import named_sections, plan_sections, with_sections
from manylabel.cli.shared import (
    DataOptions,
    ModelOptions,
    data_options,
    data_source,
    keep_trained_option,
    load_predictor,
    part_to_use,
    progress,
    say,
    split_option,
)

if TYPE_CHECKING:
    from PIL import Image

    from manylabel.evaluate.report.content import Report
    from manylabel.evaluate.report.pictures import Overlay
    from manylabel.predict import Predictor

_PATH = click.Path(path_type=Path)


@click.command(short_help="Write a report of one model or two as one HTML file.")
@click.argument("bundles", metavar="[BUNDLE [BUNDLE2]]", nargs=-1, type=_PATH)
@data_options(required=False)
@split_option()
@click.option(
    "--predictions",
    type=_PATH,
    help="A file of scores instead of a bundle, as for `manylabel score`.",
)
@click.option("--predictions2", type=_PATH, help="The scores of a second model.")
@click.option("--targets", type=_PATH, help="The data set with the targets of the predictions.")
@click.option("--logits", is_flag=True, help="Predictions are logits (before the sigmoid).")
@click.option(
    "--image-list", type=_PATH, help="Predictions in lists: the images, one path per line."
)
@click.option("--label-names", type=_PATH, help="Predictions in lists: one label per line.")
@click.option(
    "--add",
    metavar="NAME,NAME",
    help="Also show what is known about the inside of the models: explanations (do the maps point "
    "at the objects?), relations (what was learned about labels that go together), audit (labels "
    "that rest on other labels), or all. The model runs again for each; docs/report.md says how "
    "often.",
)
@click.option("--out", type=_PATH, default="report.html", show_default=True, help="The file.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="The device: auto (a GPU if there is one), cpu, ...",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="The number of images in a batch.",
)
@keep_trained_option
@click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be opened.")
def report(
    bundles: tuple[Path, ...],
    data: DataOptions,
    split: str | None,
    predictions: Path | None,
    predictions2: Path | None,
    targets: Path | None,
    logits: bool,
    image_list: Path | None,
    label_names: Path | None,
    add: str | None,
    out: Path,
    device: str,
    batch_size: int,
    keep_trained: bool,
    skip_bad_images: bool,
) -> None:
    """Write a report of one model, or of two models for comparison, as one HTML file.

    The file opens without a network. It has the metrics and how they were measured, a table of
    labels to sort and filter, the curve of each label with a threshold that can be moved,
    calibration, co-occurrence, the most confident mistakes, and targets that may be wrong. With
    --add, it also says where the model looks, and which labels depend on which other ones. Images
    that a model was trained on are counted and left out, whatever their paths and formats.

    \b
    Example:
      manylabel report runs/demo/bundle --data photos.csv
      manylabel report runs/demo/bundle --data runs/demo/scenes --add all
      manylabel report runs/a/bundle runs/b/bundle --data VOC2007 --out a-and-b.html
      manylabel report --predictions scores.csv --targets truth.csv
    """
    from manylabel.evaluate.report.plotly import packed_plotly

    _require_one_way(bundles, predictions, predictions2, targets)
    if add is not None and not bundles:
        raise click.UsageError("--add needs a bundle: it is about the inside of a model.")
    wanted = () if add is None else named_sections(add)
    packed_plotly()  # if plotly is missing, the error comes before the work
    source = replace(data, path=targets or data.path)
    if source.path is None:
        raise click.UsageError("Give the data set: --data, or --targets.")
    if predictions is None:
        models = [ModelOptions(bundle, device, batch_size) for bundle in bundles]
        keep = keep_trained or split == "train"
        content = _from_bundles(
            models, source, split, wanted, skip_bad=skip_bad_images, keep_trained=keep
        )
    else:
        files = [predictions] if predictions2 is None else [predictions, predictions2]
        content = _from_files(files, source, split, logits, image_list, label_names)
    from manylabel.evaluate.report.render import write_report

    say(f"Report: {write_report(out, content)}")


def _require_one_way(
    bundles: Sequence[Path],
    predictions: Path | None,
    predictions2: Path | None,
    targets: Path | None,
) -> None:
    if bool(bundles) == bool(predictions):
        raise click.UsageError("Give one bundle or two, or --predictions.")
    if len(bundles) > 2:
        raise click.UsageError(f"Give one bundle or two, not {len(bundles)}.")
    if predictions2 and not predictions:
        raise click.UsageError("Give the first model's scores as --predictions.")
    if targets and bundles:
        raise click.UsageError("Give a bundle's data set as --data, not as --targets.")


def _from_bundles(
    models: Sequence[ModelOptions],
    data: DataOptions,
    split: str | None,
    wanted: Sequence[str],
    **handling: bool,
) -> Report:
    from manylabel.data.read import read
    from manylabel.evaluate.report.sources import report_from_bundles

    predictors = [(str(model.bundle), load_predictor(model)) for model in models]
    info = predictors[0][1].engine.info
    records, part = part_to_use(
        read(data_source(data)), split, info.trained_on, images_known=info.seen is not None
    )
    plan = plan_sections(wanted, predictors, records)
    say(f"{' and '.join(name for name, _ in predictors)} on {records.source}, split: {part}")
    with progress("scoring", len(models) * len(records)) as bar:
        found = report_from_bundles(
            predictors, records, overlay=_overlay, on_progress=bar.done, **handling
        )
    return with_sections(found, plan, predictors)


def _from_files(
    files: Sequence[Path],
    data: DataOptions,
    split: str | None,
    logits: bool,
    image_list: Path | None,
    label_names: Path | None,
) -> Report:
    from manylabel.data.read import read, recognise
    from manylabel.evaluate.predictions.saving import with_saved
    from manylabel.evaluate.predictions.table import read_predictions
    from manylabel.evaluate.report.sources import report_from_predictions

    assert data.path is not None
    truth, _ = part_to_use(read(data_source(data)), split, default="all")
    kind, path = recognise(data.path)
    instances = path if kind == "coco" and path.is_file() else None
    found = [
        with_saved(
            read_predictions(
                file,
                logits=logits,
                image_list=image_list,
                label_names=label_names,
                instances=instances,
            ),
            file,
        )
        for file in files
    ]
    return report_from_predictions(found, truth)


def _overlay(predictor: Predictor, columns: Sequence[int]) -> Overlay:
    """A function that draws the evidence for a label of the report; `columns` are the model's."""
    from manylabel.evaluate.report.pictures import SIDE
    from manylabel.explain.explaining import explain_image
    from manylabel.explain.pictures.overlay import blend

    def draw(image: Image.Image, label: int) -> Image.Image:
        found = explain_image(predictor, image, labels=[predictor.labels[columns[label]]])
        small = image.copy()
        small.thumbnail((SIDE, SIDE))
        return blend(small, found.scaled[0])

    return draw
