"""Figures on a terminal or as JSON; what `evaluate`, `score` and `compare` print alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from manylabel.cli.shared import terminal

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
"""Those of `manylabel.metrics`, which would import too much."""


MORE: Final = {
    "mAP_macro": "mean of the labels' AP",
    "mAP_weighted": "the same, each label weighing as much as it has positives",
    "AP_micro": "AP of all pairs of image and label in one ranking",
    "LRAP": "AP along each image's labels (label ranking average precision)",
    "ranking_loss": "pairs of labels of an image in the wrong order; less is better",
    "coverage_error": "labels to take until all that are present are in; less is better",
    "one_error": "images whose best label is absent; less is better",
    "precision_at_1": "of an image's best label: present",
    "precision_at_3": "of its best 3",
    "precision_at_5": "of its best 5",
    "recall_at_1": "of an image's present labels: among its best 1",
    "recall_at_3": "among its best 3",
    "recall_at_5": "among its best 5",
    "hamming_loss": "pairs of image and label decided wrongly; less is better",
    "subset_accuracy": "images with every label decided rightly",
    "mA": "mean over labels of (recall of present + recall of absent) / 2",
    "instance_accuracy": "mean over images: right, of those decided or present",
    "instance_precision": "mean over images: right, of those decided",
    "instance_recall": "mean over images: right, of those present",
    "instance_F1": "harmonic mean of the two",
}
"""What the figures of `measure_additional` say, in its order."""

_COUNTS: Final = frozenset({"coverage_error"})
"""Figures that are no share, and stay as they are."""


def print_json(found: Mapping[str, Any]) -> None:
    """Print one JSON object that every parser takes: a figure without a value is null."""
    click.echo(json.dumps(found, indent=2, allow_nan=False))


def print_more(figures: Mapping[str, float], decided: str) -> None:
    """Print the figures that no profile has, each with what it says.

    Args:
        figures: As `measure_additional` gives them.
        decided: When a label was decided for, in words.
    """
    shown = table("beyond profiles", "%", left=("what it says",))
    for name, words in MORE.items():
        value = figures[name]
        shown.add_row(name, f"{value:.2f}" if name in _COUNTS else percent(value), words)
    console = terminal()
    console.print(shown)
    console.print(
        f"coverage_error counts labels; decided where {decided}; unknown targets count nowhere"
    )


def print_intervals(found: Intervals, *, per_label: bool) -> None:
    """Print the headline figures with their intervals, and on demand each label's AP."""
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
    """Print what was measured, by which definition, and its receipt.

    Args:
        measures: The figures.
        notes: What was decided on the way, a sentence each.
        receipt: What the figures are of.
        per_label: Print a table of all labels, too.
    """
    console = terminal()
    console.print(f"{measures.num_images:,} images, {len(measures.per_label):,} labels")
    for note in notes:
        console.print(f"note: {note}")
    console.print(_figures(measures))
    console.print(f"profile {measures.profile.name}: {measures.profile.definition}")
    if measures.skipped:
        names = ", ".join(measures.skipped)
        console.print(f"skipped, no positive: {len(measures.skipped):,} labels ({names})")
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
    """A table without rows: a column of names, then `columns` of numbers, then `left` of words."""
    from rich.table import Table

    found = Table(first)
    for column in columns:
        found.add_column(column, justify="right")
    for column in left:
        found.add_column(column)
    return found


def percent(fraction: float) -> str:
    """In percent; a dash where the figure is not defined."""
    return "-" if fraction != fraction else f"{100 * fraction:.2f}"


def points(difference: float) -> str:
    """A difference of two fractions in points of percent, with its sign."""
    return "-" if difference != difference else f"{100 * difference:+.2f}"


def _bounds(found: Interval) -> list[str]:
    return [percent(number) for number in (found.value, found.low, found.high)]


def _row(decisions: Decisions) -> list[str]:
    figures = decisions.as_dict()
    return [percent(figures[name]) for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")]
