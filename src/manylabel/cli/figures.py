"""Prints metrics on a terminal or as JSON, for `evaluate`, `score` and `compare`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from manylabel.cli.shared import terminal
from manylabel.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.evaluate.intervals import Intervals
    from manylabel.evaluate.receipt import Receipt
    from manylabel.metrics.bootstrap import Interval
    from manylabel.metrics.decisions import Decisions
    from manylabel.metrics.profiles import Measures

PROFILES: Final = (
    "manylabel",
    "srn",
    "asl",
    "ml-gcn",
    "csra",
    "q2l",
    "c-tran",
    "mmpretrain",
    "paddle",
    "sklearn",
    "torchmetrics",
    "voc07",
)
"""The profiles of `manylabel.metrics`; importing that would be slow."""


ADDITIONAL: Final = {
    "mAP_macro": "mean of the labels' AP",
    "mAP_weighted": "mean of the labels' AP, weighted by their positives",
    "AP_micro": "AP of all pairs of image and label in one ranking",
    "LRAP": "AP over the labels of each image (label ranking average precision)",
    "ranking_loss": "pairs of labels of an image in the wrong order; lower is better",
    "coverage_error": "best labels needed to include all present ones; lower is better",
    "one_error": "images whose best label is absent; lower is better",
    "precision_at_1": "present labels among an image's best label",
    "precision_at_3": "present labels among an image's best 3",
    "precision_at_5": "present labels among an image's best 5",
    "recall_at_1": "an image's present labels that are its best label",
    "recall_at_3": "an image's present labels that are among its best 3",
    "recall_at_5": "an image's present labels that are among its best 5",
    "hamming_loss": "pairs of image and label with a wrong decision; lower is better",
    "subset_accuracy": "images with a right decision for every label",
    "mA": "mean over labels of (recall of present + recall of absent) / 2",
    "instance_accuracy": "mean over images: right / (predicted or present)",
    "instance_precision": "mean over images: right / predicted",
    "instance_recall": "mean over images: right / present",
    "instance_F1": "harmonic mean of instance_precision and instance_recall",
}
"""The meaning of each metric of `measure_additional`, in its order."""

_COUNTS: Final = frozenset({"coverage_error"})
"""Metrics that are not fractions and are not printed in percent."""


def print_json(found: Mapping[str, Any]) -> None:
    """Print one JSON object that every parser can read: a metric without a value is null."""
    click.echo(json.dumps(found, indent=2, allow_nan=False))


def print_additional(figures: Mapping[str, float], decided: str) -> None:
    """Print the metrics that no profile has, each with its meaning.

    Args:
        figures: The result of `measure_additional`.
        decided: The decision rule in words.
    """
    shown = table("not in profiles", "%", left=("meaning",))
    for name, words in ADDITIONAL.items():
        value = figures[name]
        shown.add_row(name, f"{value:.2f}" if name in _COUNTS else percent(value), words)
    console = terminal()
    console.print(shown)
    console.print(
        f"coverage_error is a number of labels; decided where {decided}; unknown targets are "
        "ignored"
    )


def print_intervals(found: Intervals, *, per_label: bool) -> None:
    """Print mAP, CF1 and OF1 with their intervals, and with `per_label` the AP of each label."""
    from manylabel.evaluate.intervals import in_words

    shown = table("95 % interval", "%", "low", "high")
    for name, each in found.figures.items():
        shown.add_row(name, *_bounds(each))
    if per_label:
        shown.add_section()
        for name, each in found.labels.items():
            shown.add_row(f"AP {name}", *_bounds(each))
    console = terminal()
    console.print(shown)
    console.print(
        f"the middle 95 % of {found.draws:,} resamples of the images, seed {found.seed}; profile "
        f"manylabel, decided where {in_words(found.threshold)}"
    )


def print_figures(
    measures: Measures, notes: Iterable[str], receipt: Receipt, *, per_label: bool
) -> None:
    """Print metrics with their definition and receipt.

    Args:
        measures: The metrics.
        notes: What was decided or left out, one sentence each.
        receipt: How the metrics were measured.
        per_label: Also print a table of all labels.
    """
    console = terminal()
    images, labels = measures.num_images, len(measures.per_label)
    console.print(f"{counted(images, 'image')}, {counted(labels, 'label')}")
    for note in notes:
        console.print(f"note: {note}")
    console.print(_figures(measures))
    console.print(f"profile {measures.profile.name}: {measures.definition}")
    if measures.skipped:
        names = ", ".join(measures.skipped)
        console.print(f"skipped, no positive: {counted(len(measures.skipped), 'label')} ({names})")
    for remark in measures.remarks:
        console.print(f"note: {remark}")
    if measures.unknown:
        console.print(f"unknown targets: {measures.unknown:,}")
    for line in receipt.lines():
        console.print(line)
    if per_label:
        console.print(_label_figures(measures))


def _figures(measures: Measures) -> Table:
    found = table("%", "mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")
    found.add_row("by threshold", percent(measures.mAP), *_row(measures.all))
    found.add_row("top 3", "", *_row(measures.top3))
    return found


def _label_figures(measures: Measures) -> Table:
    found = table("label", "positives", "AP %", "P %", "R %", "F1 %", "threshold")
    for row in measures.per_label:
        figures = map(percent, (row.AP, row.precision, row.recall, row.F1))
        found.add_row(row.label, f"{row.positives:,}", *figures, f"{row.threshold:.3f}")
    return found


def table(first: str, *columns: str, left: Iterable[str] = ()) -> Table:
    """An empty table: a column of names, then `columns` for numbers, then `left` for words."""
    from rich.table import Table

    found = Table(first)
    for column in columns:
        found.add_column(column, justify="right")
    for column in left:
        found.add_column(column)
    return found


def percent(fraction: float) -> str:
    """The fraction in percent; a dash if it is NaN."""
    return "-" if fraction != fraction else f"{100 * fraction:.2f}"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return "-" if difference != difference else f"{100 * difference:+.2f}"


def _bounds(found: Interval) -> list[str]:
    return [percent(number) for number in (found.value, found.low, found.high)]


def _row(decisions: Decisions) -> list[str]:
    figures = decisions.as_dict()
    return [percent(figures[name]) for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")]
