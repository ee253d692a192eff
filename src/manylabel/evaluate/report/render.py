"""Writes a report of predictions as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from manylabel.errors import MissingExtraError
from manylabel.evaluate.intervals import decision_in_words
from manylabel.evaluate.receipt import Receipt
from manylabel.evaluate.report.content import Report, ScoredModel
from manylabel.evaluate.report.cooccurrence import measure_cooccurrence
from manylabel.evaluate.report.mistakes import Mistake, false_negatives, false_positives
from manylabel.evaluate.report.payload import MOST_PLOTS, payload
from manylabel.evaluate.report.pictures import BUDGET, Pictures
from manylabel.evaluate.report.plotly import packed_plotly
from manylabel.evaluate.report.suspects import Suspect, Suspects, suspected_errors
from manylabel.html import environment, needed, write_html
from manylabel.labels import PRESENT
from manylabel.metrics.reliability import brier, class_wise_ece, reliability

LETTERS: Final = "AB"
"""The names of the two models on the page."""

COLUMNS: Final = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")

_DIFFERENCES: Final = 6
"""The largest number of pairs of labels named below the heat maps."""
_CHANGED: Final = 10
"""The largest number of labels named below the comparison."""
_TRUE_LABELS: Final = 6
"""The largest number of labels of an image in a caption."""


def write_report(path: Path, report: Report, *, picture_bytes: int = BUDGET) -> Path:
    """Write a report of predictions as one HTML file that opens offline, and return its path.

    Args:
        path: The file.
        report: The content.
        picture_bytes: The limit for all pictures in bytes. Further pictures are left out and
            counted.

    Raises:
        MissingExtraError: plotly is not installed.
        RunError: The file cannot be written.
    """
    return write_html(path, render_report(report, picture_bytes=picture_bytes))


def render_report(report: Report, *, picture_bytes: int = BUDGET) -> str:
    """A report of predictions as HTML."""
    last = report.models[-1]
    pictures = Pictures(report.truth.images, last.overlay, budget=picture_bytes)
    suspects, missing = _suspects(report)
    styles, scripts = needed(report.sections)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            letters=LETTERS[: len(report.models)],
            columns=COLUMNS,
            figures=[_figures(model) for model in report.models],
            definition=_definition(report),
            receipts=[_flat(model.receipt) for model in report.models],
            calibration=[_calibration(model, report) for model in report.models],
            cooccurrence=_cooccurrence(report),
            mistakes=_mistakes(report, pictures),
            suspects=suspects,
            suspected=[_suspect_picture(report, pictures, each) for each in suspects.shown],
            missing=missing,
            pictures=pictures,
            changed=_changed(report),
            plots=len(report.truth.labels) <= MOST_PLOTS,
            payload=payload(report),
            plotly=packed_plotly(),
            styles=["base.css", "report.css", *styles],
            scripts=["figures.js", "table.js", "detail.js", *scripts],
        )
    )


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A picture with its caption; `jpeg` is None if only the caption is shown."""

    jpeg: str | None
    key: str
    label: str
    score: float
    truth: str
    present: bool


def _figures(model: ScoredModel) -> list[float]:
    return [model.measures.mAP, *model.measures.all.as_dict().values()]


def _definition(report: Report) -> str:
    """The definition of the figures; if the models decide differently, how each of them does."""
    words = [decision_in_words(model.decision) for model in report.models]
    each = dict.fromkeys(words)
    if len(each) == 1:
        return report.models[0].measures.definition
    decided = "; ".join(f"{x} decided where {rule}" for x, rule in zip(LETTERS, words, strict=True))
    return report.models[0].measures.profile.defined(decided)


def _flat(receipt: Receipt) -> dict[str, str]:
    """All fields of a receipt by name; fields of inner tables have names such as `input.width`."""
    fields: dict[str, str] = {}
    for name, value in receipt.model_dump(mode="json").items():
        if isinstance(value, dict):
            fields |= {f"{name}.{inner}": str(each) for inner, each in value.items()}
        else:
            fields[name] = "–" if value is None else str(value)
    return fields


def _calibration(model: ScoredModel, report: Report) -> dict[str, float]:
    """The calibration metrics of a model: means over labels, and of all pairs pooled."""
    targets = report.truth.targets
    errors, squares = class_wise_ece(model.scores, targets), brier(model.scores, targets)
    bins = reliability(model.scores, targets).pooled()
    return {
        "class-wise ECE": _mean(errors),
        "pooled ECE": float(bins.ece[0]),
        "Brier, mean of the labels": _mean(squares),
    }


def _mean(values: Any) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _cooccurrence(report: Report) -> dict[str, Any]:
    """The heat maps by title, their labels, and the largest errors of the last model."""
    targets = report.truth.targets
    found = [measure_cooccurrence(model.decided, targets) for model in report.models]
    names = [report.truth.labels[i] for i in found[0].labels]
    titles = ["Predicted"] if len(found) == 1 else [f"Predicted by {x}" for x in LETTERS]
    tables = {"True": found[0].true}
    tables |= {title: each.predicted for title, each in zip(titles, found, strict=True)}
    differences = [
        (report.truth.labels[a], report.truth.labels[b], true, predicted)
        for a, b, true, predicted in found[-1].largest_differences(_DIFFERENCES)
    ]
    return {
        "labels": names,
        "tables": {title: table.tolist() for title, table in tables.items()},
        "differences": differences,
    }


def _mistakes(report: Report, pictures: Pictures) -> list[dict[str, Any]]:
    """Both kinds of mistakes of the last model, drawn in turn so that both get pictures."""
    model, targets = report.models[-1], report.truth.targets
    wrong = false_positives(model.scores, model.decided, targets)
    missed = false_negatives(model.scores, model.decided, targets)
    drawn: tuple[list[Shown], list[Shown]] = ([], [])
    for turn in range(max(len(wrong.shown), len(missed.shown))):
        for kind, shown in zip((wrong, missed), drawn, strict=True):
            if turn < len(kind.shown):
                shown.append(_mistake_picture(report, pictures, kind.shown[turn]))
    return [
        {"title": "Predicted, but absent", "shown": drawn[0], "total": wrong.total},
        {"title": "Present, but not predicted", "shown": drawn[1], "total": missed.total},
    ]


def _mistake_picture(report: Report, pictures: Pictures, mistake: Mistake) -> Shown:
    return _shown(report, pictures, mistake.image, mistake.label, mistake.score)


def _suspect_picture(report: Report, pictures: Pictures, suspect: Suspect) -> Shown:
    return _shown(report, pictures, suspect.image, suspect.label, suspect.score)


def _shown(report: Report, pictures: Pictures, image: int, label: int, score: float) -> Shown:
    record, names = report.truth[image], report.truth.labels
    present = names.decode(record.targets)
    more = f" and {len(present) - _TRUE_LABELS} more" if len(present) > _TRUE_LABELS else ""
    return Shown(
        jpeg=pictures.draw(image, label),
        key=record.key,
        label=names[label],
        score=score,
        truth=", ".join(present[:_TRUE_LABELS]) + more if present else "no label",
        present=bool(record.targets[label] == PRESENT),
    )


def _suspects(report: Report) -> tuple[Suspects, MissingExtraError | None]:
    """The targets that cleanlab suspects; without cleanlab none, and the error to show."""
    try:
        return suspected_errors(report.models[-1].scores, report.truth.targets), None
    except MissingExtraError as error:
        return Suspects((), 0, 0), error


def _changed(report: Report) -> Sequence[Any]:
    """The labels whose AP changed by an interval without 0, the largest change first."""
    if report.comparison is None:
        return []
    return [row for row in report.comparison.labels if row.excludes_zero][:_CHANGED]
