"""`manylabel audit`: which labels rest on other labels that are usually beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
    say,
    split_option,
    terminal,
)
from manylabel.files import write_errors
from manylabel.text import counted

if TYPE_CHECKING:
    from manylabel.explain.audit.findings import Audit, Finding
    from manylabel.explain.audit.run import AuditSettings

_PRINTED: Final = 20
"""The largest number of pairs that are printed. The files have all of them."""


@click.command(short_help="Find labels whose scores rest on other labels.")
@model_options
@data_options(required=True)
@split_option()
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder for audit.html, audit.json and audit.csv. It is created if it does not exist.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="NAME", help="Audit this label. Can be repeated."
)
@click.option(
    "--companions",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many companions of each label to look at, the most usual first.",
)
@click.option(
    "--images-per-pair",
    type=click.IntRange(min=2),
    default=100,
    show_default=True,
    help="In how many images of each pair the companion is hidden, at most.",
)
@click.option(
    "--fewest",
    type=click.IntRange(min=3),
    default=20,
    show_default=True,
    help="The fewest images that a figure needs.",
)
@click.option(
    "--fill",
    type=click.Choice(("surroundings", "blur")),
    default="surroundings",
    show_default=True,
    help="What a hidden region is filled with: the colours around it, or the blurred image.",
)
@click.option(
    "--method",
    help="The evidence maps that say where a companion without boxes is, such as attention or "
    "cam.  [default: the head's own attention, or its first method]",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="The number of bootstrap draws for intervals.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The seed of the images, the control regions and the bootstrap.",
)
@keep_trained_option
@click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be opened.")
def audit(
    model: ModelOptions,
    data: DataOptions,
    split: str | None,
    folder: Path,
    keep_trained: bool,
    skip_bad_images: bool,
    **settings: Any,
) -> None:
    """Find labels whose scores rest on another label that is usually beside them.

    For each label and its usual companions in the data, the companion is hidden in images, and the
    fall of the label's score is compared with that for another place of the same size. Images with
    and without the companion are compared, too. Companions are hidden where their boxes are, or
    where their evidence maps are high if the data has no boxes.

    \b
    Example:
      manylabel audit runs/demo/bundle --data scenes --out audit
      manylabel audit bundle --data photos.csv --label fork --label cup --out audit
    """
    from manylabel.explain.audit.run import AuditSettings

    handling = _Handling(skip_bad_images, keep_trained or split == "train")
    found, about = _audit(model, data, split, AuditSettings(**settings), (folder, handling))
    _write(folder, found, about)
    _print(found, about)
    say(f"Page: {folder / 'audit.html'}; figures: audit.json, audit.csv")


class _Handling(NamedTuple):
    """Which images are left out."""

    skip_bad: bool
    keep_trained: bool


def _audit(
    model: ModelOptions,
    data: DataOptions,
    split: str | None,
    settings: AuditSettings,
    output: tuple[Path, _Handling],
) -> tuple[Audit, dict[str, str]]:
    """The audit, and what was audited. All that can be checked is checked before the work."""
    from manylabel.data.read import read
    from manylabel.evaluate.run import evaluate
    from manylabel.explain.audit.run import audit as run
    from manylabel.explain.audit.run import require_auditable

    folder, handling = output
    predictor = load_predictor(model)
    info = predictor.engine.info
    records, part = part_to_use(
        read(data_source(data)), split, info.trained_on, images_known=info.seen is not None
    )
    require_auditable(predictor, records, settings)
    with write_errors(folder, "The audit"):
        folder.mkdir(parents=True, exist_ok=True)
    with progress("scoring", len(records)) as bar:
        scored = evaluate(
            predictor,
            records,
            skip_bad=handling.skip_bad,
            keep_trained=handling.keep_trained,
            on_progress=bar.done,
        )
    good = records.select_keys(set(scored.keys))
    good = good.with_notes(*scored.notes[len(records.notes) :])
    with progress("hiding", len(good)) as bar:
        found = run(predictor, good, scored.scores, settings, bar.done_of)
    about = {"bundle": str(model.bundle), "data": records.source, "split": part}
    return found, {**about, "weights_sha256": predictor.engine.weights_sha256}


def _write(folder: Path, found: Audit, about: dict[str, str]) -> None:
    from manylabel.explain.audit.page import write_page
    from manylabel.explain.audit.tables import write_csv, write_json

    write_json(folder / "audit.json", found, about)
    write_csv(folder / "audit.csv", found)
    write_page(folder / "audit.html", found, about)


def _print(found: Audit, about: dict[str, str]) -> None:
    from manylabel.cli.figures import table
    from manylabel.explain.audit.findings import VERDICTS

    console = terminal()
    console.print(
        f"{about['bundle']} on {about['data']}, split: {about['split']}; "
        f"{counted(found.images, 'image')}, {counted(len(found.findings), 'pair')}, "
        f"seed {found.settings['seed']}"
    )
    for note in found.notes:
        console.print(f"{note}.", style="dim")
    shown = table(
        "label beside companion", "effect", "low", "high", "images", "because", left=("verdict",)
    )
    for each in found.findings[:_PRINTED]:
        shown.add_row(*_row(each))
    console.print(shown)
    if len(found.findings) > _PRINTED:
        console.print(f"The first {_PRINTED} of {len(found.findings):,} pairs.")
    counts = (f"{verdict}: {found.count(verdict)}" for verdict in VERDICTS)
    console.print(", ".join(counts))
    console.print(
        "effect: how much more the score (0 to 1) falls if the companion is hidden than if another "
        "place is, with its 95 % interval; because: wrong predictions of the label that need the "
        "companion, of those examined"
    )
    strongest = [each for each in found.findings if each.verdict == "rests on"]
    for each in strongest[:_PRINTED]:
        console.print(each.words)
    if not strongest:
        console.print(
            "For no label was it shown that it rests on a companion. With few images, this says "
            "little."
        )


def _row(each: Finding) -> tuple[str, ...]:
    hidden = each.hidden
    effect = hidden.effect
    numbers = ("-" if n != n else f"{n:+.3f}" for n in (effect.value, effect.low, effect.high))
    because = f"{len(hidden.because)} of {hidden.false_positives}"
    name = f"{each.label} beside {each.companion}"
    return (name, *numbers, str(hidden.images), because, each.verdict)
