"""`manylabel predict`: gives the labels and scores of images."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, final

import click

from manylabel.cli.image_files import find_images
from manylabel.cli.predict_formats import FORMATS, Choice, Shown
from manylabel.cli.shared import (
    Bar,
    ModelOptions,
    load_predictor,
    model_options,
    output,
    progress,
)
from manylabel.errors import ImageError
from manylabel.text import counted

if TYPE_CHECKING:
    from manylabel.predict import Prediction, Predictor


@click.command(short_help="Label images with a bundle.")
@model_options
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(FORMATS)),
    default="table",
    show_default=True,
    help="table: for people. spreadsheet: CSV for people, with the labels of each image in one "
    "column and then all scores. csv: numbers alone, for each label 1 or 0 and the score. jsonl: "
    "one JSON object per line. label-studio: tasks to correct in Label Studio.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="K",
    help="List the K labels with the highest scores, whether predicted or not.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="T",
    help="List labels whose score reaches T.  [default: the bundle's threshold of each label]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file.")
def predict(
    model: ModelOptions,
    paths: tuple[str, ...],
    form: str,
    top: int | None,
    threshold: float | None,
    out: Path | None,
) -> None:
    """Label images with BUNDLE.

    PATHS are image files, folders (including their subfolders) and quoted patterns such as
    'photos/**/*.jpg'. An image that cannot be used is reported and skipped, and the exit code is
    then 1; so is a folder or a pattern without an image. Files of a folder that are no images are
    counted on stderr. With both --top and --threshold, a label must meet both.

    \b
    Example:
      manylabel predict runs/demo/bundle photo.jpg
      manylabel predict runs/demo/bundle photos/ --format spreadsheet --out labels.csv
      manylabel predict runs/demo/bundle 'photos/*.jpg' --top 3 --format jsonl
    """
    files = find_images(paths)
    files.require_any()
    predictor = load_predictor(model)
    files.tell()
    if threshold is not None:
        predictor = predictor.deciding(predictor.decision.at_threshold(threshold))
    # If lines are printed to a terminal, a progress bar would be mixed with them.
    bar = form == "table" or out is not None or not sys.stdout.isatty()
    with (
        output(out, data=form != "table") as stream,
        progress("scoring", len(files.images), bar=bar) as report,
    ):
        results = Results(predictor, files.images, report)
        shown = Shown.of(predictor, Choice(top, any_score=threshold is None))
        try:
            FORMATS[form](results, shown, stream)
        except KeyboardInterrupt:
            report.say(_interrupted(results, out))
            raise
    if results.bad:
        were = "was" if results.bad == 1 else "were"
        total = counted(len(files.images), "image")
        click.echo(f"{results.bad:,} of {total} {were} skipped.", err=True)
    if results.bad or files.nothing:
        click.get_current_context().exit(1)


@final
class Results:
    """Iterates over the predictions. Bad images are reported and counted in `bad`."""

    def __init__(self, predictor: Predictor, images: list[Path], report: Bar) -> None:
        self.bad = self.seen = 0
        self.total = len(images)
        self._predictor, self._images, self._report = predictor, images, report

    def __iter__(self) -> Iterator[Prediction]:
        sources = ((_key(path), path) for path in self._images)
        for done, result in enumerate(self._predictor.predict_many(sources), start=1):
            if isinstance(result, ImageError):
                self.bad += 1
                self._report.say(f"Skipped {result.where}: {result.what} {result.fix}")
            else:
                yield result
            self.seen = done
            self._report.done(done)


def _interrupted(results: Results, out: Path | None) -> str:
    lost = "" if out is None else f" {out} is not written."
    return f"Stopped after {results.seen:,} of {counted(results.total, 'image')}.{lost}"


def _key(path: Path) -> str:
    """The path as valid text, also if its bytes are not valid UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()
