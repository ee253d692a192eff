"""The formats in which `manylabel predict` gives labels and scores."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, final
from urllib.parse import quote

import click

from manylabel.text import for_spreadsheet, json_line, visible

if TYPE_CHECKING:
    from manylabel.labels import LabelSpace
    from manylabel.predict import Prediction, Predictor

_CONTROL: Final = "labels"
"""The name of the control of choices in the tasks for Label Studio."""


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

    def names(self, prediction: Prediction) -> list[str]:
        """The listed labels of a prediction, the highest score first."""
        return [name for name, _ in self.of(prediction)]


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """What is written of predictions.

    Args:
        labels: The C labels.
        choice: The labels that are listed for an image.
        model: What the model is called where labels are corrected.
    """

    labels: LabelSpace
    choice: Choice
    model: str

    @classmethod
    def of(cls, predictor: Predictor, choice: Choice) -> Shown:
        """What is written of a predictor's predictions."""
        return cls(predictor.labels, choice, f"manylabel {predictor.engine.weights_sha256[:12]}")


def write_table(results: Iterable[Prediction], shown: Shown, stream: TextIO) -> None:
    """Write a table for the terminal: the images and their labels with scores."""
    from rich.table import Table

    from manylabel.cli.shared import terminal

    table = Table("image", "labels")
    for prediction in results:
        listed = ", ".join(f"{name} {score:.2f}" for name, score in shown.choice.of(prediction))
        table.add_row(prediction.key, listed or "-")
    terminal(stream).print(table)


def write_jsonl(results: Iterable[Prediction], shown: Shown, stream: TextIO) -> None:
    """Write a JSON object for each image, one on a line."""
    for prediction in results:
        row = {**prediction.as_dict(), "labels": shown.choice.names(prediction)}
        click.echo(json_line(row), file=stream)


def write_csv(results: Iterable[Prediction], shown: Shown, stream: TextIO) -> None:
    """Write a table of numbers: for each label whether it is listed, then for each its score."""
    from manylabel.evaluate.predictions.csv_table import listed_column

    row = _row_writer(stream)
    row(["image", *map(listed_column, shown.labels), *shown.labels])
    for prediction in results:
        listed = set(shown.choice.names(prediction))
        flags = [str(int(label in listed)) for label in shown.labels]
        row([prediction.key, *flags, *_scores(prediction)])


def write_spreadsheet(results: Iterable[Prediction], shown: Shown, stream: TextIO) -> None:
    """Write a table that people read: the image, its labels in one cell, then each score."""
    from manylabel.evaluate.predictions.csv_table import LABELS_COLUMN, label_mark

    row, mark = _row_writer(stream), label_mark(shown.labels)
    row(["image", LABELS_COLUMN, *shown.labels])
    for prediction in results:
        listed = f" {mark} ".join(shown.choice.names(prediction))
        row([prediction.key, listed, *_scores(prediction)])


def write_label_studio(results: Iterable[Prediction], shown: Shown, stream: TextIO) -> None:
    """Write a JSON list of tasks for Label Studio, each with the listed labels as a prediction."""
    before = "[\n"
    for prediction in results:
        stream.write(before + json_line(_task(prediction, shown)))
        before = ",\n"
    stream.write("[]\n" if before == "[\n" else "\n]\n")
    say = "Label Studio needs a project with this labelling interface:"
    click.echo(f"{say}\n{visible(_interface(shown.labels))}", err=True)


Writer = Callable[[Iterable["Prediction"], Shown, TextIO], None]

FORMATS: Final[dict[str, Writer]] = {
    "table": write_table,
    "spreadsheet": write_spreadsheet,
    "csv": write_csv,
    "jsonl": write_jsonl,
    "label-studio": write_label_studio,
}
"""The functions that write predictions, by the name of the format."""


def _row_writer(stream: TextIO) -> Callable[[Sequence[str]], object]:
    """Writes rows of texts as CSV."""
    # A terminal would obey the control characters of names. A file holds the exact names.
    shown = visible if stream.isatty() else str
    writer = csv.writer(stream, lineterminator="\n")
    return lambda cells: writer.writerow([shown(for_spreadsheet(cell)) for cell in cells])


def _scores(prediction: Prediction) -> list[str]:
    return [f"{score:.6f}" for score in prediction.scores]


def _task(prediction: Prediction, shown: Shown) -> dict[str, Any]:
    chosen = {
        "from_name": _CONTROL,
        "to_name": "image",
        "type": "choices",
        "value": {"choices": shown.choice.names(prediction)},
    }
    found = {
        "model_version": shown.model,
        "score": _least_sure(prediction),
        "result": [chosen] if chosen["value"]["choices"] else [],
    }
    return {"data": {"image": _address(prediction.key)}, "predictions": [found]}


def _least_sure(prediction: Prediction) -> float:
    """How sure the least sure decision is, 0..1: a label's score, or 1 - score if not predicted."""
    pairs = zip(prediction.scores.tolist(), prediction.decided.tolist(), strict=True)
    return round(min(score if decided else 1 - score for score, decided in pairs), 6)


def _address(key: str) -> str:
    """The address of an image file in Label Studio's local storage.

    A path below the current folder is relative to it. Other paths are relative to the root.
    """
    path = os.path.normpath(key)
    if os.path.isabs(path) or path.startswith(".."):
        path = os.path.abspath(path)
        path = os.path.relpath(path, Path(path).anchor)
    return f"/data/local-files/?d={quote(Path(path).as_posix())}"


def _interface(labels: LabelSpace) -> str:
    """The labelling interface of Label Studio for the tasks, in its XML."""
    from xml.sax.saxutils import quoteattr

    choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in labels)
    return (
        '<View><Image name="image" value="$image"/>'
        f'<Choices name="{_CONTROL}" toName="image" choice="multiple">{choices}</Choices></View>'
    )
