"""`manylabel tune`: a bundle with thresholds, and a calibration, that fit a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from manylabel.cli.shared import (
    DataOptions,
    ModelOptions,
    data_options,
    data_source,
    load_predictor,
    model_options,
    progress,
    terminal,
)

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.data.records import Records
    from manylabel.evaluate.tuning import Tuning, TuningPlan

RULES: Final = ("f1", "precision", "recall", "cost")
KINDS: Final = ("temperature", "platt", "beta", "isotonic")
"""Those of `manylabel.metrics.calibration`, which would import too much."""


@click.command(short_help="Fit a bundle's thresholds and calibration to a data set.")
@model_options
@data_options(required=True)
@click.option(
    "--split",
    type=click.Choice(("val", "test", "train", "all")),
    help="The images to tune on.  [default: val, drawn as training draws it if not given]",
)
@click.option(
    "--rule",
    type=click.Choice(RULES),
    default="f1",
    show_default=True,
    help="What a label's threshold seeks: F1; recall at a precision or precision at a recall "
    "(the one that is named is kept); the least cost.",
)
@click.option("--at", type=float, help="Rules precision and recall: the figure to keep, 0..1.")
@click.option(
    "--costs",
    type=(float, float),
    metavar="YES NO",
    help="Rule cost: what a wrong yes and a wrong no cost.",
)
@click.option(
    "--calibrate",
    type=click.Choice(("none", *KINDS)),
    default="none",
    show_default=True,
    help="How scores are made to say how often they are right.",
)
@click.option("--at-least", type=click.IntRange(min=0), default=0, help="Labels an image gets.")
@click.option("--at-most", type=click.IntRange(min=1), help="Labels an image gets, the best.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the folds.")
@click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be opened.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="BUNDLE2",
    help="Where the new bundle is saved; BUNDLE itself stays, unless it is named here.",
)
def tune(
    model: ModelOptions,
    data: DataOptions,
    split: str | None,
    skip_bad_images: bool,
    out: Path,
    **sought: Any,
) -> None:
    """Save BUNDLE anew with thresholds, and a calibration if asked for, that fit a data set.

    The weights stay. The figures are cross-fitted: what decides on an image was found without it,
    so they are what to expect of new images.

    \b
    Example:
      manylabel tune runs/demo/bundle --data photos.csv --out tuned
      manylabel tune bundle --data photos.csv --rule precision --at 0.9 --out sure
      manylabel tune bundle --data photos.csv --calibrate platt --at-least 1 --out tuned
    """
    from manylabel.data.read import read
    from manylabel.evaluate.tuning import tune as run

    plan = _plan(**sought)
    predictor = load_predictor(model)
    records = _part(read(data_source(data)), split, predictor.engine.info.trained_on)
    with progress("scoring", len(records)) as bar:
        found = run(predictor, records, plan, skip_bad=skip_bad_images, on_progress=bar.done)
    found.save(model.bundle, out)
    _print(found, predictor.decision.calibration is not None, out)


def _plan(
    rule: str, at: float | None, costs: tuple[float, float] | None, calibrate: str, **rest: Any
) -> TuningPlan:
    from manylabel.config import parse
    from manylabel.evaluate.tuning import TuningPlan
    from manylabel.metrics.threshold_rules import Rule
    from manylabel.metrics.thresholds import check_limits

    where = "the options of tune"
    check_limits(rest["at_least"], rest["at_most"])
    sought = parse(Rule, {"kind": rule, "at": at, "costs": costs}, where=where)
    kind = None if calibrate == "none" else calibrate
    return parse(TuningPlan, {"rule": sought, "calibrate": kind, **rest}, where=where)


def _part(records: Records, split: str | None, trained_on: str | None) -> Records:
    from manylabel.data.records import SPLITS
    from manylabel.evaluate.run import take_split
    from manylabel.evaluate.tuning import refuse_trained

    taken = records
    for name in SPLITS:
        if name == (split or "val"):
            taken = take_split(records, name)
    if split != "train":
        refuse_trained(records, taken, trained_on)
    return taken


def _print(found: Tuning, was_calibrated: bool, out: Path) -> None:
    screen = terminal()
    tuned = found.tuned
    screen.print(
        f"{len(found.evaluation.keys):,} images of {found.evaluation.source}; "
        f"sought: {found.plan.rule.words}"
    )
    for note in found.evaluation.notes:
        screen.print(f"Note: {note}.")
    screen.print(_table(found))
    screen.print("Percent; 'one for all' and 'tuned' out of fold: what to expect of new images.")
    if found.calibration is not None or was_calibrated:
        screen.print(
            f"Class-wise ECE {_pair(found.ece)}, Brier score {_pair(found.brier)}, likewise."
        )
    low, high = tuned.thresholds.min(), tuned.thresholds.max()
    without = int((tuned.support == 0).sum())
    screen.print(
        f"Thresholds: {low:.3f} to {high:.3f}, drawn towards {tuned.common:.3f} "
        f"(strength {tuned.strength:g}); {without:,} labels without both sides take that."
    )
    for line in _changes(found, was_calibrated):
        screen.print(line)
    screen.print(f"Saved: {out}")


def _table(found: Tuning) -> Table:
    from rich.table import Table

    names = ("CP", "CR", "CF1", "OP", "OR", "OF1")
    table = Table("thresholds", *names)
    for row, figures in found.figures.items():
        table.add_row(row, *(f"{100 * getattr(figures, name):.2f}" for name in names))
    return table


def _changes(found: Tuning, was_calibrated: bool) -> list[str]:
    """What else the new bundle does and the old one did not, or the reverse."""
    plan, lines = found.plan, list[str]()
    if found.calibration is not None:
        pooled = sum(found.calibration.pooled)
        lines.append(
            f"Scores are calibrated now: {plan.calibrate}, of which {pooled:,} labels take the "
            "curve of all pairs for want of examples."
        )
    elif was_calibrated:
        lines.append("Scores are no longer calibrated: --calibrate was not given.")
    if plan.at_least or plan.at_most is not None:
        most = "any number of" if plan.at_most is None else f"at most {plan.at_most}"
        lines.append(f"Each image gets at least {plan.at_least} and {most} labels.")
    return lines


def _pair(values: tuple[float, float]) -> str:
    return f"{values[0]:.4f} -> {values[1]:.4f}"
