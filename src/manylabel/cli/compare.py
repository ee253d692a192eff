"""`manylabel compare`: predictions under all profiles, or two predictions against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from manylabel.cli.figures import PROFILES, percent, points, print_json, table
from manylabel.cli.score import draws_options, inputs_options
from manylabel.cli.shared import progress, terminal
from manylabel.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.evaluate.compare.files import Compared, Model
    from manylabel.evaluate.compare.paired import Comparison, LabelDifference

_CHANGED: Final = 5
"""The number of labels shown with a gain, and with a loss."""


@click.command(short_help="Compare profiles, or two models.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path), required=False)
@inputs_options
@click.option("--common", is_flag=True, help="Use only the images that are in all files.")
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="manylabel",
    show_default=True,
    help="The profile with which the others are compared.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="The threshold for all labels and profiles.  [default: those that `evaluate` saved with "
    "the predictions, else each profile's own, and 0.5 for intervals]",
)
@click.option("--per-label", is_flag=True, help="With two files: show all labels.")
@draws_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def compare(
    a: Path,
    b: Path | None,
    common: bool,
    profile: str,
    threshold: float | None,
    per_label: bool,
    resamples: int,
    seed: int,
    as_json: bool,
    **inputs: Any,
) -> None:
    """Compare the metrics of A under all profiles, or compare B with A on the same images.

    A and B are files of scores, as for `manylabel score`. With A alone, a table shows its metrics
    by the definitions of every project, and why they differ. With A and B, the output has the
    differences in mAP, CF1 and OF1 with paired bootstrap intervals, a conclusion for each, and the
    labels whose AP changed most.

    \b
    Example:
      manylabel compare scores.csv --targets truth.csv
      manylabel compare before.csv after.csv --targets truth.csv
      manylabel compare before.npz after.npz --targets instances_val2014.json --json
    """
    from manylabel.evaluate.compare.files import compare_files
    from manylabel.evaluate.predictions.score import Inputs

    with progress("resampling, %", 100, bar=b is not None) as bar:
        found = compare_files(
            [a] if b is None else [a, b],
            Inputs(**inputs),
            common=common,
            reference=profile,
            threshold=threshold,
            draws=resamples,
            seed=seed,
            on_progress=lambda done, total: bar.done(100 * done // total),
        )
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found, per_label=per_label)


def _print(found: Compared, *, per_label: bool) -> None:
    console = terminal()
    for name, model in zip("AB", found.models, strict=False):
        console.print(f"{name}: {model.receipt.predictions}")
    receipt = found.models[0].receipt
    size = f"{counted(receipt.images, 'image')}, {counted(receipt.labels, 'label')}"
    console.print(f"targets {receipt.data}: {size}")
    for note in found.notes:
        console.print(f"note: {note}")
    if found.comparison:
        _print_comparison(found.comparison, per_label=per_label)
        console.print(_profiles_of_two(*found.models))
        console.print("To see why profiles differ, use: manylabel compare A (without B)")
    else:
        console.print(_profiles_of_one(found.models[0]))
        _print_reasons(found.models[0])
    for model in found.models:
        for line in model.receipt.lines():
            console.print(line)


def _print_reasons(model: Model) -> None:
    console = terminal()
    reference = next(iter(model.profiles))
    console.print(f"why values differ from those of {reference}:")
    for name, result in model.profiles.items():
        if name != reference:
            console.print(f"  {name}: {result.reason}")


def _print_comparison(found: Comparison, *, per_label: bool) -> None:
    console = terminal()
    figures = table("%", "A", "B", "B - A", "low", "high")
    for name, each in found.differences.items():
        bounds = map(points, (each.value, each.low, each.high))
        figures.add_row(name, percent(found.a[name]), percent(found.b[name]), *bounds)
    console.print(figures)
    for sentence in found.conclusions():
        console.print(sentence)
    console.print(
        f"low to high: the middle 95 % of {found.draws:,} resamples of the images, the same for "
        f"both, seed {found.seed}; profile manylabel, {found.decided_in_words}"
    )
    falling = sorted(found.labels, key=lambda row: -row.difference.value)
    shown = falling if per_label else _largest_changes(falling)
    console.print(_label_table(shown) if shown else "No label has another AP.")


def _largest_changes(falling: list[LabelDifference]) -> list[LabelDifference]:
    """Some labels with a gain and some with a loss, from the largest gain to the largest loss.

    Labels whose interval does not include 0 are chosen first.
    """
    gained = [row for row in falling if row.difference.value > 0]
    lost = [row for row in reversed(falling) if row.difference.value < 0]
    ranked = [sorted(rows, key=lambda row: not row.excludes_zero) for rows in (gained, lost)]
    shown = {row.label for rows in ranked for row in rows[:_CHANGED]}
    return [row for row in falling if row.label in shown]


def _label_table(rows: list[LabelDifference]) -> Table:
    shown = table("label, AP %", "A", "B", "B - A", "low", "high", left=("excludes 0",))
    for row in rows:
        bounds = map(points, (row.difference.value, row.difference.low, row.difference.high))
        answer = "yes" if row.excludes_zero else "no"
        shown.add_row(row.label, percent(row.a), percent(row.b), *bounds, answer)
    return shown


def _profiles_of_one(model: Model) -> Table:
    shown = table("%", "mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "top-3 CF1", "top-3 OF1")
    for name, result in model.profiles.items():
        measures = result.measures
        figures = (
            measures.mAP,
            *measures.all.as_dict().values(),
            measures.top3.CF1,
            measures.top3.OF1,
        )
        shown.add_row(name, *map(percent, figures))
    return shown


def _profiles_of_two(a: Model, b: Model) -> Table:
    """mAP, CF1 and OF1 of two models under every profile."""
    shown = table("%", "mAP A", "mAP B", "CF1 A", "CF1 B", "OF1 A", "OF1 B")
    for name, result in a.profiles.items():
        one, other = result.measures, b.profiles[name].measures
        figures = (one.mAP, other.mAP, one.all.CF1, other.all.CF1, one.all.OF1, other.all.OF1)
        shown.add_row(name, *map(percent, figures))
    return shown
