"""`manylabel predict`: gives the labels and scores of images."""

from __future__ import annotations

import csv
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO, final

import click

from manylabel.cli.shared import (
    Bar,
    ModelOptions,
    load_predictor,
    model_options,
    output,
    progress,
    terminal,
)
from manylabel.errors import DataError, ImageError
from manylabel.text import counted, for_spreadsheet, json_line, visible

if TYPE_CHECKING:
    from manylabel.labels import LabelSpace
    from manylabel.predict import Prediction, Predictor


@click.command(short_help="Label images with a bundle.")
@model_options
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "jsonl", "csv")),
    default="table",
    show_default=True,
    help="table: for people. jsonl: one JSON object per line. csv: all scores, one column per "
    "label.",
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
    then 1. With both --top and --threshold, a label must meet both.

    \b
    Example:
      manylabel predict runs/demo/bundle photo.jpg
      manylabel predict runs/demo/bundle photos/ --format csv --out scores.csv
      manylabel predict runs/demo/bundle 'photos/*.jpg' --top 3 --format jsonl
    """
    if form == "csv" and (top is not None or threshold is not None):
        raise click.UsageError(
            "--format csv writes all scores: it cannot be used with --top or --threshold."
        )
    images = find_images(paths)
    predictor = load_predictor(model)
    if threshold is not None:
        predictor = predictor.deciding(predictor.decision.at_threshold(threshold))
    choice = Choice(top, any_score=threshold is None)
    # If lines are printed to a terminal, a progress bar would be mixed with them.
    bar = form == "table" or out is not None or not sys.stdout.isatty()
    with (
        output(out, data=form != "table") as stream,
        progress("scoring", len(images), bar=bar) as report,
    ):
        results = Results(predictor, images, report)
        FORMATS[form](results, predictor.labels, choice, stream)
    if results.bad:
        were = "was" if results.bad == 1 else "were"
        click.echo(f"{results.bad:,} of {counted(len(images), 'image')} {were} skipped.", err=True)
        click.get_current_context().exit(1)


def find_images(paths: Iterable[str]) -> list[Path]:
    """The images that the arguments name, each once, in order.

    A file is used whatever its ending. In folders and for patterns, only files with an ending in
    `images.ENDINGS` that are not hidden are used.

    Raises:
        DataError: There is no image for a folder or a pattern.
    """
    found = [image for path in paths for image in _find_images(path)]
    return list(dict.fromkeys(found))


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """The choice of the labels that are listed for an image.

    Args:
        top: The largest number of labels; None: all predicted labels.
        any_score: List the `top` best labels, whether they are predicted or not.
    """

    top: int | None
    any_score: bool

    def of(self, prediction: Prediction) -> list[tuple[str, float]]:
        """The listed labels of a prediction with their scores, the highest score first."""
        if self.top is not None and self.any_score:
            return prediction.top(self.top)
        return prediction.found()[: self.top]


@final
class Results:
    """Iterates over the predictions. Bad images are reported and counted in `bad`."""

    def __init__(self, predictor: Predictor, images: list[Path], report: Bar) -> None:
        self.bad = 0
        self._predictor, self._images, self._report = predictor, images, report

    def __iter__(self) -> Iterator[Prediction]:
        sources = ((_key(path), path) for path in self._images)
        for done, result in enumerate(self._predictor.predict_many(sources), start=1):
            if isinstance(result, ImageError):
                self.bad += 1
                self._report.say(f"Skipped {result.where}: {result.what} {result.fix}")
            else:
                yield result
            self._report.done(done)


def _write_table(
    results: Iterable[Prediction], labels: LabelSpace, choice: Choice, stream: TextIO
) -> None:
    from rich.table import Table

    table = Table("image", "labels")
    for prediction in results:
        listed = ", ".join(f"{name} {score:.2f}" for name, score in choice.of(prediction))
        table.add_row(prediction.key, listed or "-")
    terminal(stream).print(table)


def _write_jsonl(
    results: Iterable[Prediction], labels: LabelSpace, choice: Choice, stream: TextIO
) -> None:
    for prediction in results:
        listed = [name for name, _ in choice.of(prediction)]
        row = {**prediction.as_dict(), "labels": listed}
        click.echo(json_line(row), file=stream)


def _write_csv(
    results: Iterable[Prediction], labels: LabelSpace, choice: Choice, stream: TextIO
) -> None:
    # A terminal would obey the control characters of names. A file holds the exact names.
    shown = visible if stream.isatty() else str
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", *(shown(for_spreadsheet(label)) for label in labels)])
    for prediction in results:
        scores = (f"{score:.6f}" for score in prediction.scores)
        writer.writerow([shown(for_spreadsheet(prediction.key)), *scores])


Writer = Callable[[Iterable["Prediction"], "LabelSpace", Choice, TextIO], None]

FORMATS: Final[dict[str, Writer]] = {
    "table": _write_table,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}


def _find_images(path: str) -> list[Path]:
    if os.path.isdir(path):
        return _require(_below(path), path, "There is no image in the folder.")
    if os.path.exists(path) or not glob.has_magic(path):
        return [Path(path)]  # a missing image is reported like a bad one
    matches = sorted(glob.glob(path, recursive=True))
    images = [image for match in matches for image in _matched(match)]
    return _require(images, path, "No image matches the pattern.")


def _matched(match: str) -> list[Path]:
    from manylabel.images import has_image_ending

    if os.path.isdir(match):
        return _below(match)
    return [Path(match)] if has_image_ending(match) else []


def _below(folder: str) -> list[Path]:
    """The images in `folder` and its subfolders, sorted; hidden files and folders are skipped."""
    from manylabel.images import has_image_ending

    def refuse(error: OSError) -> None:
        raise DataError(
            f"The folder cannot be read: {error.strerror or error}.",
            where=str(error.filename),
            fix="Check its permissions, or name other folders.",
        )

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [name for name in names if not name.startswith(".")]
        found += [Path(parent, name) for name in shown if has_image_ending(name)]
    return sorted(found)


def _require(images: list[Path], path: str, fault: str) -> list[Path]:
    if images:
        return images
    from manylabel.images import ENDINGS

    raise DataError(fault, where=path, fix=f"Give images that end in {', '.join(ENDINGS)}.")


def _key(path: Path) -> str:
    """The path as valid text, also if its bytes are not valid UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()
