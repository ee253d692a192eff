"""Figures as tables on a terminal; what `evaluate` and `score` print alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from manylabel.cli.shared import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.evaluate.receipt import Receipt
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
    table = _table("%", "mAP", "CP", "CR", "CF1", "OP", "OR", "OF1")
    table.add_row("by threshold", _percent(measures.mAP), *_row(measures.all))
    table.add_row("top 3", "", *_row(measures.top3))
    return table


def _label_figures(measures: Measures) -> Table:
    table = _table("label", "positives", "AP %", "P %", "R %", "F1 %", "threshold")
    for row in measures.per_label:
        figures = map(_percent, (row.AP, row.precision, row.recall, row.F1))
        table.add_row(row.label, f"{row.positives:,}", *figures, f"{row.threshold:.3f}")
    return table


def _table(first: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _row(decisions: Decisions) -> list[str]:
    figures = decisions.as_dict()
    return [_percent(figures[name]) for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")]


def _percent(fraction: float) -> str:
    """In percent; a dash where the figure is not defined."""
    return "-" if fraction != fraction else f"{100 * fraction:.2f}"
