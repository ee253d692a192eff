"""A page as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from manylabel.errors import MissingExtraError
from manylabel.evaluate.receipt import Receipt
from manylabel.evaluate.report.content import Page, ScoredModel
from manylabel.evaluate.report.cooccurrence import together
from manylabel.evaluate.report.mistakes import Mistake, false_negatives, false_positives
from manylabel.evaluate.report.payload import MOST_PLOTS, payload
from manylabel.evaluate.report.pictures import BUDGET, Pictures
from manylabel.evaluate.report.plotly import packed_plotly
from manylabel.evaluate.report.suspects import Suspect, Suspects, suspected_errors
from manylabel.html import environment, write_html
from manylabel.labels import PRESENT
from manylabel.metrics.reliability import brier, class_wise_ece, reliability

LETTERS: Final = "AB"
"""What the page calls its models."""

COLUMNS: Final = ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")

_GAPS: Final = 6
_MOVED: Final = 10
_TRUE_LABELS: Final = 6
"""Labels of an image that a caption names."""


def write_page(path: Path, page: Page, *, picture_bytes: int = BUDGET) -> Path:
    """Write a report of predictions as one HTML file that opens offline; gives its path back.

    Args:
        path: The file.
        page: What it tells.
        picture_bytes: What all pictures together may take; those beyond are left out and counted.

    Raises:
        MissingExtraError: plotly is not installed.
        RunError: The file cannot be written.
    """
    return write_html(path, render_page(page, picture_bytes=picture_bytes))


def render_page(page: Page, *, picture_bytes: int = BUDGET) -> str:
    """A report of predictions as HTML."""
    last = page.models[-1]
    pictures = Pictures(page.truth.images, last.overlay, budget=picture_bytes)
    suspects, missing = _suspects(page)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            page=page,
            letters=LETTERS[: len(page.models)],
            columns=COLUMNS,
            figures=[_figures(model) for model in page.models],
            receipts=[_flat(model.receipt) for model in page.models],
            calibration=[_calibration(model, page) for model in page.models],
            together=_together(page),
            mistakes=_mistakes(page, pictures),
            suspects=suspects,
            suspected=[_of_suspect(page, pictures, each) for each in suspects.shown],
            missing=missing,
            pictures=pictures,
            moved=_moved(page),
            plots=len(page.truth.labels) <= MOST_PLOTS,
            payload=payload(page),
            plotly=packed_plotly(),
        )
    )


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A picture with what is told under it; without a JPEG the words stand alone."""

    jpeg: str | None
    key: str
    label: str
    score: float
    truth: str
    present: bool


def _figures(model: ScoredModel) -> list[float]:
    return [model.measures.mAP, *model.measures.all.as_dict().values()]


def _flat(receipt: Receipt) -> dict[str, str]:
    """All fields of a receipt by name; those of its tables as `input.width`."""
    fields: dict[str, str] = {}
    for name, value in receipt.model_dump(mode="json").items():
        if isinstance(value, dict):
            fields |= {f"{name}.{inner}": str(each) for inner, each in value.items()}
        else:
            fields[name] = "–" if value is None else str(value)
    return fields


def _calibration(model: ScoredModel, page: Page) -> dict[str, float]:
    """The four figures of a model's calibration: of the labels on average, and of all pairs."""
    targets = page.truth.targets
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


def _together(page: Page) -> dict[str, Any]:
    """The heat maps by title, the labels of their rows, and where each model is furthest off."""
    targets = page.truth.targets
    found = [together(model.decided, targets) for model in page.models]
    names = [page.truth.labels[i] for i in found[0].labels]
    titles = ["Predicted"] if len(found) == 1 else [f"Predicted by {x}" for x in LETTERS]
    tables = {"True": found[0].true}
    tables |= {title: each.predicted for title, each in zip(titles, found, strict=True)}
    gaps = [
        (page.truth.labels[a], page.truth.labels[b], true, predicted)
        for a, b, true, predicted in found[-1].gaps(_GAPS)
    ]
    return {"labels": names, "tables": {k: v.tolist() for k, v in tables.items()}, "gaps": gaps}


def _mistakes(page: Page, pictures: Pictures) -> list[dict[str, Any]]:
    """Both kinds of mistakes of the last model, drawn in turns so that both have pictures."""
    model, targets = page.models[-1], page.truth.targets
    wrong = false_positives(model.scores, model.decided, targets)
    missed = false_negatives(model.scores, model.decided, targets)
    drawn: tuple[list[Shown], list[Shown]] = ([], [])
    for turn in range(max(len(wrong.shown), len(missed.shown))):
        for kind, shown in zip((wrong, missed), drawn, strict=True):
            if turn < len(kind.shown):
                shown.append(_of_mistake(page, pictures, kind.shown[turn]))
    return [
        {"title": "Predicted, but absent", "shown": drawn[0], "total": wrong.total},
        {"title": "Present, but not predicted", "shown": drawn[1], "total": missed.total},
    ]


def _of_mistake(page: Page, pictures: Pictures, mistake: Mistake) -> Shown:
    return _shown(page, pictures, mistake.image, mistake.label, mistake.score)


def _of_suspect(page: Page, pictures: Pictures, suspect: Suspect) -> Shown:
    return _shown(page, pictures, suspect.image, suspect.label, suspect.score)


def _shown(page: Page, pictures: Pictures, image: int, label: int, score: float) -> Shown:
    record, names = page.truth[image], page.truth.labels
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


def _suspects(page: Page) -> tuple[Suspects, MissingExtraError | None]:
    """What cleanlab suspects; without it nothing, and what is missing."""
    try:
        return suspected_errors(page.models[-1].scores, page.truth.targets), None
    except MissingExtraError as error:
        return Suspects((), 0, 0), error


def _moved(page: Page) -> Sequence[Any]:
    """The labels whose AP certainly moved, those first that moved most."""
    if page.comparison is None:
        return []
    return [row for row in page.comparison.labels if row.certain][:_MOVED]
