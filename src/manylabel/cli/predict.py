"""`manylabel predict`: labels and scores of images."""

from __future__ import annotations

import csv
import glob
import json
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
    help="table: to read; jsonl: one JSON object a line; csv: every score, one column a label.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="K",
    help="List the K labels of the highest scores, decided for or not.",
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

    PATHS are image files, folders (with all below them) and quoted patterns such as
    'photos/**/*.jpg'. An image that cannot be used is reported and skipped; the exit code is then
    1. With --top and --threshold, a label must pass both.

    \b
    Example:
      manylabel predict runs/demo/bundle photo.jpg
      manylabel predict runs/demo/bundle photos/ --format csv --out scores.csv
      manylabel predict runs/demo/bundle 'photos/*.jpg' --top 3 --format jsonl
    """
    if form == "csv" and (top is not None or threshold is not None):
        raise click.UsageError("--format csv holds every score: --top and --threshold choose none.")
    images = find_images(paths)
    predictor = load_predictor(model)
    if threshold is not None:
        predictor = predictor.deciding(predictor.decision.at_threshold(threshold))
    choice = Choice(top, any_score=threshold is None)
    # Lines that stream to a terminal would be torn by a bar.
    bar = form == "table" or out is not None or not sys.stdout.isatty()
    with output(out) as stream, progress("scoring", len(images), bar=bar) as report:
        results = Results(predictor, images, report)
        FORMATS[form](results, predictor.labels, choice, stream)
    if results.bad:
        click.echo(f"{results.bad:,} of {len(images):,} images were skipped.", err=True)
        click.get_current_context().exit(1)


def find_images(paths: Iterable[str]) -> list[Path]:
    """The images that the arguments name, each once, in order.

    A file is taken whatever its ending; of folders and patterns the files with an ending of
    `EXTENSIONS` that are not hidden.

    Raises:
        DataError: A folder or a pattern yields no image.
    """
    found = [image for path in paths for image in _images_of(path)]
    return list(dict.fromkeys(found))


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """Which labels of an image are listed.

    Args:
        top: At most so many; None: all that are decided for.
        any_score: List the best labels whether they are decided for or not.
    """

    top: int | None
    any_score: bool

    def of(self, prediction: Prediction) -> list[tuple[str, float]]:
        """Labels and scores, highest score first."""
        if self.top is not None and self.any_score:
            return prediction.top(self.top)
        return prediction.found()[: self.top]


@final
class Results:
    """The predictions, as they come; bad images are reported and counted in `bad`."""

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
        click.echo(json.dumps(row, ensure_ascii=False), file=stream)


def _write_csv(
    results: Iterable[Prediction], labels: LabelSpace, choice: Choice, stream: TextIO
) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", *labels])
    for prediction in results:
        writer.writerow([prediction.key, *(f"{score:.6f}" for score in prediction.scores)])


Writer = Callable[[Iterable["Prediction"], "LabelSpace", Choice, TextIO], None]

FORMATS: Final[dict[str, Writer]] = {
    "table": _write_table,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}


def _images_of(path: str) -> list[Path]:
    if os.path.isdir(path):
        return _require(_below(path), path, "The folder holds no image.")
    if os.path.exists(path) or not glob.has_magic(path):
        return [Path(path)]  # one that is missing is reported with the bad ones
    matches = sorted(glob.glob(path, recursive=True))
    images = [image for match in matches for image in _matched(match)]
    return _require(images, path, "No image matches the pattern.")


def _matched(match: str) -> list[Path]:
    if os.path.isdir(match):
        return _below(match)
    return [Path(match)] if _is_image(match) else []


def _below(folder: str) -> list[Path]:
    """The images in `folder` and below, by path; hidden files and folders are passed over."""

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
        found += [Path(parent, name) for name in shown if _is_image(name)]
    return sorted(found)


def _is_image(name: str) -> bool:
    from manylabel.images import EXTENSIONS

    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _require(images: list[Path], path: str, fault: str) -> list[Path]:
    if images:
        return images
    from manylabel.images import EXTENSIONS

    raise DataError(
        fault, where=path, fix=f"Name images that end in {', '.join(sorted(EXTENSIONS))}."
    )


def _key(path: Path) -> str:
    """The path as text that any file can hold, whatever bytes its name is of."""
    return str(path).encode(errors="backslashreplace").decode()
