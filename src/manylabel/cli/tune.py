"""`manylabel tune`: finds the thresholds and the calibration of a bundle on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from manylabel.cli.shared import (
    DataOptions,
    ModelOptions,
    data_options,
    data_source,
    keep_trained_option,
    load_predictor,
    model_options,
    part_to_use,
    progress,
    split_option,
    terminal,
)

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.data.records import Records
    from manylabel.evaluate.tuning import Tuning, TuningPlan
    from manylabel.predict import Predictor

RULES: Final = ("f1", "precision", "recall", "cost")
KINDS: Final = ("temperature", "platt", "beta", "isotonic")
"""The kinds of `manylabel.metrics.calibration`; importing that module would be slow."""


@click.command(short_help="Fit a bundle's thresholds and calibration to a data set.")
@model_options
@data_options(required=True)
@split_option("The images to tune on.", "val; if the data set has none, val as training draws it")
@click.option(
    "--rule",
    type=click.Choice(RULES),
    default="f1",
    show_default=True,
    help="What thresholds optimise. f1: the highest F1. precision: the highest recall with at "
    "least the precision --at. recall: the highest precision with at least the recall --at. cost: "
    "the lowest cost.",
)
@click.option(
    "--at", type=float, help="Rules precision and recall: the least precision or recall, 0..1."
)
@click.option(
    "--costs",
    type=(float, float),
    metavar="YES NO",
    help="Rule cost: the cost of a false positive and of a false negative.",
)
@click.option(
    "--calibrate",
    type=click.Choice(("none", *KINDS)),
    default="none",
    show_default=True,
    help="How to calibrate scores, so that they become probabilities.",
)
@click.option(
    "--at-least",
    type=click.IntRange(min=0),
    default=0,
    help="The smallest number of labels of an image.",
)
@click.option(
    "--at-most", type=click.IntRange(min=1), help="The largest number of labels of an image."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="The random seed of the folds.")
@keep_trained_option
@click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be opened.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="BUNDLE2",
    help="The folder of the new bundle. BUNDLE is changed only if it is named here.",
)
def tune(
    model: ModelOptions,
    data: DataOptions,
    split: str | None,
    keep_trained: bool,
    skip_bad_images: bool,
    out: Path,
    **options: Any,
) -> None:
    """Find thresholds and, with --calibrate, a calibration on a data set, and save a new bundle.

    The weights stay the same. The metrics are cross-fitted: the thresholds for an image were found
    without that image. So similar results can be expected on new images. Images that the model was
    trained on are counted and left out, whatever their paths and formats; --split train keeps them.

    \b
    Example:
      manylabel tune runs/demo/bundle --data photos.csv --out tuned
      manylabel tune bundle --data photos.csv --rule precision --at 0.9 --out sure
      manylabel tune bundle --data photos.csv --calibrate platt --at-least 1 --out tuned
    """
    from manylabel.data.read import read
    from manylabel.evaluate.tuning import tune as run
    from manylabel.locks import held, lock_beside
    from manylabel.processes import require_one_process

    require_one_process("tune")
    plan = _plan(**options)
    with held(lock_beside(out)):
        predictor = load_predictor(model)
        records = _part(read(data_source(data)), split, predictor, keep=keep_trained)
        with progress("scoring", len(records)) as bar:
            found = run(
                predictor,
                records,
                plan,
                skip_bad=skip_bad_images,
                keep_trained=keep_trained or split == "train",
                on_progress=bar.done,
            )
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
    parsed = parse(Rule, {"kind": rule, "at": at, "costs": costs}, where=where)
    kind = None if calibrate == "none" else calibrate
    return parse(TuningPlan, {"rule": parsed, "calibrate": kind, **rest}, where=where)


def _part(records: Records, split: str | None, predictor: Predictor, *, keep: bool) -> Records:
    """The images to tune on. Those that the model was trained on have to be asked for."""
    from manylabel.evaluate.tuning import refuse_trained

    taken, _ = part_to_use(records, split, default="val")
    info = predictor.engine.info
    if split != "train" and not keep and info.seen is None:
        refuse_trained(records, taken, info.trained_on)
    return taken


def _print(found: Tuning, was_calibrated: bool, out: Path) -> None:
    screen = terminal()
    tuned = found.tuned
    screen.print(
        f"{len(found.evaluation.keys):,} images of {found.evaluation.source}; "
        f"rule: {found.plan.rule.words}"
    )
    for note in found.evaluation.notes:
        screen.print(f"Note: {note}.")
    screen.print(_table(found))
    screen.print(
        "In percent. 'one for all' and 'tuned' are cross-fitted: expect similar values on new "
        "images."
    )
    if found.calibration is not None or was_calibrated:
        screen.print(
            f"Class-wise ECE {_pair(found.ece)}, Brier score {_pair(found.brier)}, also "
            "cross-fitted."
        )
    low, high = tuned.thresholds.min(), tuned.thresholds.max()
    without = int((tuned.support == 0).sum())
    screen.print(
        f"Thresholds: {low:.3f} to {high:.3f}, shrunk towards the common one, {tuned.common:.3f} "
        f"(strength {tuned.strength:g}). {without:,} labels without positives or negatives take "
        "the common one."
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
    """Other differences between the new and the old bundle, one sentence each."""
    plan, lines = found.plan, list[str]()
    if found.calibration is not None:
        pooled = sum(found.calibration.pooled)
        lines.append(
            f"Scores are now calibrated ({plan.calibrate}). {pooled:,} labels have too few "
            "examples and take the curve of all pairs."
        )
    elif was_calibrated:
        lines.append("Scores are no longer calibrated: --calibrate was not given.")
    if plan.at_least or plan.at_most is not None:
        most = "any number of" if plan.at_most is None else f"at most {plan.at_most}"
        lines.append(f"Each image gets at least {plan.at_least} and {most} labels.")
    return lines


def _pair(values: tuple[float, float]) -> str:
    return f"{values[0]:.4f} -> {values[1]:.4f}"
