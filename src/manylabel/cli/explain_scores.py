"""`manylabel explain --score`: measures evidence maps with the boxes or masks of a data set."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import click
from click.core import ParameterSource

from manylabel.cli.explain_options import PictureOptions
from manylabel.cli.figures import table
from manylabel.cli.shared import (
    Command,
    DataOptions,
    data_source,
    grouped,
    part_to_use,
    progress,
    terminal,
)
from manylabel.files import write_errors, write_text
from manylabel.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.explain.scores.scoring import ExplanationScores, ScoreSettings
    from manylabel.explain.scores.summary import LabelScore, MethodScore
    from manylabel.metrics.bootstrap import Interval

_SIGNS: Final = (
    "+ better than the map at the centre and than chance, - worse than one of them, = not told "
    "apart: the interval of a difference includes zero"
)


@final
@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """The options of `explain` that are for --score alone."""

    methods: str | None
    mask_classes: Path | None
    deletion_pairs: int
    resamples: int
    seed: int


@final
@dataclass(frozen=True, slots=True)
class ScoreInputs:
    """The model and the data set to score, by the options that pictures have, too."""

    bundle: Path
    device: str
    data: DataOptions
    split: str | None


def score_options(command: Command) -> Command:
    """Adds the options of --score; the command gets `scoring`, a `ScoreOptions`."""
    options = (
        click.option(
            "--methods",
            metavar="NAME,NAME",
            help="--score: the methods of evidence maps.  [default: the model's best, and cam and "
            "grad-cam if it has them]",
        ),
        click.option(
            "--mask-classes",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="--score: use the masks of the data set, not its boxes. The file names the "
            "classes in the masks, one a line from class 0.",
        ),
        click.option(
            "--deletion-pairs",
            type=click.IntRange(min=0),
            default=200,
            show_default=True,
            metavar="P",
            help="--score: how many pairs of image and label are drawn for insertion and deletion, "
            "which take most of the time; 0 leaves them out.",
        ),
        click.option(
            "--resamples",
            type=click.IntRange(100, 10_000),
            default=1000,
            show_default=True,
            help="--score: the number of bootstrap draws for the intervals.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="--score: the seed of everything that is drawn.",
        ),
    )
    return grouped("scoring", ScoreOptions, options)(command)


def check_scores(context: click.Context, *, scored: bool) -> None:
    """Refuse options of pictures together with --score, and options of --score without it.

    Raises:
        UsageError: One was given.
    """
    pictures = {field.name for field in fields(PictureOptions)} - {"folder"} | {"paths"}
    unwanted = pictures if scored else {field.name for field in fields(ScoreOptions)}
    for parameter in context.command.params:
        name = parameter.name or ""
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name in unwanted and typed and context.params[name] != ():
            words = parameter.opts[0] if isinstance(parameter, click.Option) else "PATHS"
            why = "is for pictures, and --score draws none" if scored else "needs --score"
            raise click.UsageError(f"{words} {why}.")


def score(inputs: ScoreInputs, options: ScoreOptions, out: Path | None) -> None:
    """Score the evidence maps of a bundle on a data set, print the result, and write it to `out`.

    Raises:
        ManylabelError: The bundle, the data set or an option cannot be used, or `out` cannot be
            written.
    """
    from manylabel.data.read import read
    from manylabel.explain.scores.scoring import chosen_methods, score_explanations
    from manylabel.predict import Predictor

    bundle, data = inputs.bundle, inputs.data
    if data.path is None:
        raise click.UsageError("--score needs --data: a data set with boxes or masks.")
    settings = _settings(options)
    predictor = Predictor.load(bundle, device=inputs.device)
    methods = chosen_methods(predictor.engine, settings.methods)
    _require_file(out)
    records, part = part_to_use(
        read(data_source(data)), inputs.split, predictor.engine.info.trained_on
    )
    console = terminal()
    console.print(f"{bundle} on {records.source}, split: {part}, methods: {', '.join(methods)}")
    found = score_explanations(predictor, records, settings, stage=progress)
    about = {
        "bundle": str(bundle),
        "weights_sha256": predictor.engine.weights_sha256,
        "data": records.source,
        "data_fingerprint": records.fingerprint(),
        "split": part,
    }
    if out is not None:
        with write_errors(out):
            write_text(out, json.dumps(about | found.as_dict(), indent=2, allow_nan=False) + "\n")
    print_scores(found, records.notes)
    if out is not None:
        console.print(f"All figures: {out}")
    if found.bad:
        were = "was" if len(found.bad) == 1 else "were"
        click.echo(f"{counted(len(found.bad), 'image')} {were} skipped.", err=True)
        click.get_current_context().exit(1)


def print_scores(found: ExplanationScores, notes: Iterable[str] = ()) -> None:
    """Print the scores of explanations: in total, against the baselines, and label by label."""
    from manylabel.explain.scores.pairs import CENTRE

    console = terminal()
    for note in (*notes, *found.notes):
        console.print(f"note: {note}")
    console.print(
        f"{counted(found.pairs, 'pair')} of an image and a label that is present and has a region "
        f"there, in {counted(found.images, 'image')}; insertion and deletion on "
        f"{counted(found.removal_pairs, 'pair')}"
    )
    console.print(_totals(found))
    shares = ", ".join(f"{method} {share:g}" for method, share in found.shares.items())
    console.print(f"IoU at best: the threshold as a share of the map's maximum is {shares}")
    console.print(_comparison(found))
    for method in (*found.methods, CENTRE):
        console.print(_labels(found, method))
    resampling = found.settings.resampling
    console.print(
        f"[low, high]: the middle 95 % of {resampling.draws:,} resamples of the images, seed "
        f"{resampling.seed}"
    )
    console.print(_SIGNS)


def _settings(options: ScoreOptions) -> ScoreSettings:
    from manylabel.explain.scores.masks import MaskClasses
    from manylabel.explain.scores.removal import RemovalPlan
    from manylabel.explain.scores.scoring import ScoreSettings
    from manylabel.explain.scores.summary import Resampling

    names = options.methods
    classes = options.mask_classes
    return ScoreSettings(
        methods=None if names is None else tuple(name.strip() for name in names.split(",")),
        mask_classes=None if classes is None else MaskClasses.read(classes),
        removal_pairs=options.deletion_pairs,
        removal=RemovalPlan(seed=options.seed),
        resampling=Resampling(options.resamples, options.seed),
    )


def _require_file(out: Path | None) -> None:
    """Refuse a folder before the work, not after it."""
    from manylabel.errors import ConfigError

    if out is not None and out.is_dir():
        raise ConfigError(
            "With --score, --out is a file, and this is a folder.",
            where=str(out),
            fix=f"Give a file, such as {out / 'scores.json'}.",
        )


def _totals(found: ExplanationScores) -> Table:
    """The measures in rows, and the methods and baselines in columns."""
    from manylabel.explain.scores.pairs import CENTRE

    methods = list(next(iter(found.summary.values())))
    shown = table("% over all pairs", *methods)
    for name, scores in found.summary.items():
        shown.add_row(_title(name), *(_total_cell(scores[m]) for m in methods))
    shown.add_section()
    for name, scores in found.summary.items():
        if isnan(scores[CENTRE].mean_of_labels.value):
            continue
        cells = (_range(scores[m].mean_of_labels) for m in methods)
        shown.add_row(f"{_title(name)}, mean of labels", *cells)
    return shown


def _comparison(found: ExplanationScores) -> Table:
    """How each method compares with the baselines, in points and in labels."""
    from manylabel.explain.scores.pairs import BASELINES

    over = (f"points over {name}" for name in BASELINES)
    columns = (*over, "labels +", "labels -", "labels =")
    shown = table("against the baselines", *columns, left=("passes",))
    for method in found.methods:
        for name, scores in found.summary.items():
            one = scores[method]
            points = (_points(one.over[baseline]) for baseline in BASELINES)
            counts = (str(one.count(sign)) for sign in ("+", "-", "="))
            passes = "too few pairs" if one.sign is None else "yes" if one.sign == "+" else "no"
            shown.add_row(f"{method}, {_title(name)}", *points, *counts, passes)
        shown.add_section()
    return shown


def _labels(found: ExplanationScores, method: str) -> Table:
    """The labels in rows: those with enough pairs by their first measure, then the others."""
    from manylabel.explain.scores.summary import MIN_PAIRS

    columns = {_title(name): scores[method].labels for name, scores in found.summary.items()}
    shown = table(f"{method}: label", "pairs", *columns)
    first = next(iter(columns.values()))
    enough = {name for name, each in first.items() if each.pairs >= MIN_PAIRS}
    many = sorted(enough, key=lambda name: (-first[name].found.value, name))
    few = [name for name in first if name not in enough]
    for names in (many, few):
        for name in names:
            cells = (_label_cell(labels.get(name)) for labels in columns.values())
            shown.add_row(name, f"{first[name].pairs:,}", *cells)
        shown.add_section()
    return shown


def _title(measure: str) -> str:
    from manylabel.explain.scores.measures import MEASURES

    lower = "" if MEASURES[measure].higher_is_better else " (lower is better)"
    return MEASURES[measure].title + lower


def _total_cell(score: MethodScore) -> str:
    return f"{_range(score.all_pairs)} {score.sign or ' '}"


def _label_cell(score: LabelScore | None) -> str:
    """The value with interval and sign; with the number of pairs alone if there are too few."""
    from manylabel.explain.scores.summary import MIN_PAIRS

    if score is None:
        return "-"
    value, low, high = (_short(x) for x in (score.found.value, score.found.low, score.found.high))
    if score.pairs < MIN_PAIRS:
        return f"{value} of {score.pairs}"
    return f"{value} [{low}, {high}] {score.sign or ' '}"


def _short(fraction: float) -> str:
    """In percent, with two digits that matter: small objects have small figures."""
    return f"{100 * fraction:.0f}" if fraction >= 0.0995 else f"{100 * fraction:.1f}"


def _range(found: Interval) -> str:
    if isnan(found.value):
        return "-"
    value, low, high = (f"{100 * x:.1f}" for x in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _points(found: Interval) -> str:
    value, low, high = (f"{100 * x:+.1f}" for x in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
