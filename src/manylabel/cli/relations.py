"""`manylabel relations`: measures what a bundle learned about labels that go together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from manylabel.cli.shared import (
    DataOptions,
    ModelOptions,
    data_options,
    data_source,
    load_predictor,
    model_options,
    part_to_use,
    progress,
    say,
    split_option,
)

if TYPE_CHECKING:
    from manylabel.explain.relations.measure import Relations
    from manylabel.predict import Predictor


@click.command(
    "relations", short_help="Measure what a bundle learned about labels that go together."
)
@model_options
@data_options(required=True)
@split_option()
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder for the page and the tables. It is created if it does not exist.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    metavar="K",
    help="Print the K strongest relations.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The seed of the images that are drawn, and of the tests.",
)
@click.option("--skip-bad-images", is_flag=True, help="Leave out images that cannot be opened.")
def relations(
    model: ModelOptions,
    data: DataOptions,
    split: str | None,
    folder: Path,
    top: int,
    seed: int,
    skip_bad_images: bool,
) -> None:
    """Measure what BUNDLE learned about labels that go together, and what its units look for.

    The bundle's head must have a branch that reads the maps of all labels: srn or srn-modern. The
    evidence of one label is put out, put in and moved, and the change of every other label's logit
    is measured, beside how often and where the two occur together in the data.

    Writes DIR/relations.html, a page with a graph, a matrix, and pictures of units, which opens
    without a network; DIR/relations.csv, a row for each pair of labels; and DIR/units.csv, a row
    for each unit. Prints the strongest relations.

    \b
    Example:
      manylabel relations runs/demo/bundle --data runs/demo/scenes --out relations
      manylabel relations bundle --data instances_val2014.json --images val2014 --out relations
    """
    from manylabel.data.read import read
    from manylabel.explain.relations.measure import measure_relations
    from manylabel.explain.relations.stream import relation_probe
    from manylabel.files import write_errors

    predictor = load_predictor(model)
    relation_probe(predictor)  # a head without relations is an error before the data are read
    records = read(data_source(data)).relabelled(predictor.labels)
    records, part = part_to_use(records, split, predictor.engine.info.trained_on)
    with write_errors(folder, "The folder"):
        folder.mkdir(parents=True, exist_ok=True)
    say(f"{model.bundle} on {records.source}, split: {part}, seed: {seed}")
    with progress("running", len(records)) as bar:
        found = measure_relations(
            predictor,
            records,
            seed=seed,
            skip_bad=skip_bad_images,
            on_progress=bar.done,
            on_work=bar.say,
        )
    _write(predictor, found, folder, title=f"Relations of {model.bundle}")
    _print(found, folder, top)


def _write(predictor: Predictor, found: Relations, folder: Path, *, title: str) -> None:
    from manylabel.explain.relations.page import make_page, write_relations
    from manylabel.explain.relations.table import write_pairs, write_units

    write_pairs(folder / "relations.csv", found)
    write_units(folder / "units.csv", found)
    write_relations(folder / "relations.html", make_page(predictor, found, title=title))


def _print(found: Relations, folder: Path, top: int) -> None:
    from manylabel.explain.relations.table import notes, pair_lines, unit_lines

    say("")
    say("What the evidence of one label does to the logit of another one, in logits of the branch")
    say(f"of relations (the final logit gets {100 * found.share:.0f} % of them):")
    for line in pair_lines(found, top):
        say(line)
    say("")
    say(f"Units: {len(found.weights.groups):,}. Of these:")
    for line in unit_lines(found):
        say(f"  {line}")
    say("")
    for note in (*found.observed.records.notes, *notes(found)):
        say(f"Note: {note.rstrip('.')}.")
    for name in ("relations.csv", "units.csv", "relations.html"):
        say(f"Wrote {folder / name}")
