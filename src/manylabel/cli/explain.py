"""`manylabel explain`: draws the evidence that a bundle found for the labels of images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manylabel.cli.explain_options import PictureOptions, check_pictures, picture_options
from manylabel.cli.explain_pictures import Pictures
from manylabel.cli.explain_scores import (
    ScoreInputs,
    ScoreOptions,
    check_scores,
    score,
    score_options,
)
from manylabel.cli.explain_subjects import Subject, subjects_of
from manylabel.cli.shared import (
    DataOptions,
    data_options,
    data_source,
    part_to_use,
    progress,
    say,
    split_option,
)
from manylabel.errors import DataError
from manylabel.text import counted

if TYPE_CHECKING:
    from manylabel.data.records import Records
    from manylabel.predict import Predictor


@click.command("explain", short_help="Draw the evidence for the labels of images.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1)
@picture_options()
@data_options(required=False)
@split_option(
    "The images of the data set to use.",
    "test if the data set has it, else val, else all; with PATHS: all",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="The device: auto (a GPU if there is one), cpu, cuda, ...",
)
@click.option(
    "--score",
    "scored",
    is_flag=True,
    help="Draw nothing: measure with the boxes or masks of --data how well the maps show where "
    "the labels are.",
)
@score_options
def explain(
    bundle: Path,
    paths: tuple[str, ...],
    pictures: PictureOptions,
    data: DataOptions,
    split: str | None,
    device: str,
    scored: bool,
    scoring: ScoreOptions,
) -> None:
    """Draw the evidence that BUNDLE found for the labels of images.

    PATHS are image files, folders (including their subfolders) and quoted patterns such as
    'photos/**/*.jpg'. Without PATHS, the images of the data set are drawn. With a data set, the
    pictures say which labels are found, missed or wrongly predicted.

    Writes DIR/NAME-METHOD.png for each image: the image, and for each label the image under the
    map of the evidence. Prints each label's score and the highest point of its map, in pixels of
    the upright image. Without --label or --top, the predicted labels are shown, and at least the
    three best. An image that cannot be used is reported and skipped, and the exit code is then 1.

    With --score, the maps of the images of --data are measured with its boxes or masks: pointing
    game, energy inside, IoU, insertion and deletion, in total and label by label, with intervals,
    beside a map at the centre of the image and chance.

    \b
    Example:
      manylabel explain runs/demo/bundle photo.jpg --out explained --top 5
      manylabel explain bundle photos/ --out explained --contact-sheet --theme dark
      manylabel explain bundle --data coco/instances_val2014.json --boxes --out explained
      manylabel explain bundle photo.jpg --label cat --each-label --style grid --out explained
      manylabel explain bundle --score --data coco/instances_val2014.json --out scores.json
      manylabel explain bundle --score --data clothes.csv --mask-classes classes.txt
    """
    check_scores(click.get_current_context(), scored=scored)
    if scored:
        score(ScoreInputs(bundle, device, data, split), scoring, pictures.folder)
        return
    check_pictures(pictures)
    if not paths and data.path is None:
        raise click.UsageError("Give images, or a data set with --data.")
    if pictures.boxes and data.path is None:
        raise click.UsageError("--boxes needs a data set with boxes: give --data.")
    from manylabel.predict import Predictor

    predictor = Predictor.load(bundle, device=device)
    records = _records(predictor, data, split, pictures, whole=bool(paths))
    subjects, of = subjects_of(paths, records, pictures.limit)
    with progress("drawing", len(subjects), bar=not sys.stdout.isatty()) as report:
        work = Pictures(predictor, pictures, report)
        say(f"Maps: {work.kind.title} (method {work.method}).")
        _say_which(subjects, of, records)
        work.draw(subjects)
    _warn_of_letters(predictor, pictures)
    if work.bad:
        were = "was" if work.bad == 1 else "were"
        click.echo(f"{work.bad:,} of {counted(len(subjects), 'image')} {were} skipped.", err=True)
        click.get_current_context().exit(1)


def _records(
    predictor: Predictor,
    data: DataOptions,
    split: str | None,
    pictures: PictureOptions,
    *,
    whole: bool,
) -> Records | None:
    """The images of the data set, with the columns of the model; None: there is no data set."""
    if data.path is None:
        return None
    from manylabel.data.read import read

    trained_on = predictor.engine.info.trained_on
    default = "all" if whole else None
    records, _ = part_to_use(read(data_source(data)), split, trained_on, default=default)
    if pictures.boxes and records.boxes is None:
        raise DataError(
            "The data set has no boxes.",
            where=records.source,
            fix="Leave out --boxes, or give COCO instances, Pascal VOC, or drawn scenes.",
        )
    return records.relabelled(predictor.labels)


def _say_which(subjects: Sequence[Subject], of: int, records: Records | None) -> None:
    """Say what is drawn, where that is not what was typed."""
    if len(subjects) < of:
        say(f"Drawn: the first {len(subjects):,} of {of:,} images. --limit N draws more or fewer.")
    unknown = sum(subject.record is None for subject in subjects)
    if records is not None and unknown:
        have = "is" if unknown == 1 else "are"
        say(f"{counted(unknown, 'image')} {have} not in the data set: their truth is not known.")


def _warn_of_letters(predictor: Predictor, pictures: PictureOptions) -> None:
    """Say which labels a PNG cannot show, because no font here has their letters."""
    from manylabel.explain.pictures.fonts import not_drawable

    if pictures.picture_format == "svg":
        return
    missing = not_drawable(pictures.names or predictor.labels)
    if missing:
        names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        say(
            f"No font here has all letters of {counted(len(missing), 'label')} ({names}): the "
            "pictures show boxes instead. --picture-format svg keeps the text."
        )
