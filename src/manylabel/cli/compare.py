"""`manylabel compare`: predictions under all profiles, and two of them against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from manylabel.cli.figures import PROFILES, percent, points, print_json, table
from manylabel.cli.score import draws_options, inputs_options
from manylabel.cli.shared import progress, terminal

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.evaluate.compare.files import Compared, Model
    from manylabel.evaluate.compare.paired import Comparison, LabelDifference

_MOVED: Final = 5
"""Labels that are shown of those that gained, and of those that lost."""


@click.command(short_help="Set profiles, or two models, side by side.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path), required=False)
@inputs_options
@click.option("--common", is_flag=True, help="Compare the images that all have.")
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="manylabel",
    show_default=True,
    help="The profile that the others are set against.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="For all labels and profiles.  [default: each profile's own; 0.5 for intervals]",
)
@click.option("--per-label", is_flag=True, help="Two files: show all labels, not only some.")
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
    """Set the predictions A under all profiles side by side; or B against A on the same images.

    A and B are files of scores as `manylabel score` takes them. With A alone the table says what
    every project's definitions make of it, and why. With B come the differences in mAP, CF1 and
    OF1 with paired bootstrap intervals, what may be concluded, and the labels that moved.

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
    console.print(f"against {receipt.data}: {receipt.images:,} images, {receipt.labels:,} labels")
    for note in found.notes:
        console.print(f"note: {note}")
    if found.comparison:
        _print_comparison(found.comparison, per_label=per_label)
        console.print(_both(*found.models))
        console.print("why profiles differ: manylabel compare A, without B")
    else:
        console.print(_profiles(found.models[0]))
        _print_reasons(found.models[0])
    for model in found.models:
        for line in model.receipt.lines():
            console.print(line)


def _print_reasons(model: Model) -> None:
    console = terminal()
    reference = next(iter(model.profiles))
    console.print(f"why figures differ from those of {reference}:")
    for name, side in model.profiles.items():
        if name != reference:
            console.print(f"  {name}: {side.reason}")


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
        f"both, seed {found.seed}; profile manylabel, decided where score >= {found.threshold:g}"
    )
    falling = sorted(found.labels, key=lambda row: -row.difference.value)
    console.print(_moved(falling if per_label else _ends(falling)))


def _ends(falling: list[LabelDifference]) -> list[LabelDifference]:
    """Some labels that gained and some that lost, those told apart before others, best to worst."""
    gained = [row for row in falling if row.difference.value > 0]
    lost = [row for row in reversed(falling) if row.difference.value < 0]
    told_apart_first = [sorted(rows, key=lambda row: not row.certain) for rows in (gained, lost)]
    shown = {row.label for rows in told_apart_first for row in rows[:_MOVED]}
    return [row for row in falling if row.label in shown]


def _moved(rows: list[LabelDifference]) -> Table:
    shown = table("label, AP %", "A", "B", "B - A", "low", "high", left=("told apart",))
    for row in rows:
        bounds = map(points, (row.difference.value, row.difference.low, row.difference.high))
        said = "yes" if row.certain else "no"
        shown.add_row(row.label, percent(row.a), percent(row.b), *bounds, said)
    return shown


def _profiles(model: Model) -> Table:
    shown = table("%", "mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "top-3 CF1", "top-3 OF1")
    for name, side in model.profiles.items():
        measures = side.measures
        figures = (
            measures.mAP,
            *measures.all.as_dict().values(),
            measures.top3.CF1,
            measures.top3.OF1,
        )
        shown.add_row(name, *map(percent, figures))
    return shown


def _both(a: Model, b: Model) -> Table:
    """The headline figures of two models under every profile."""
    shown = table("%", "mAP A", "mAP B", "CF1 A", "CF1 B", "OF1 A", "OF1 B")
    for name, side in a.profiles.items():
        one, other = side.measures, b.profiles[name].measures
        figures = (one.mAP, other.mAP, one.all.CF1, other.all.CF1, one.all.OF1, other.all.OF1)
        shown.add_row(name, *map(percent, figures))
    return shown
