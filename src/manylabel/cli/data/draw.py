"""`manylabel data draw`: draws a data set of small synthetic scenes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manylabel.cli.shared import progress, say

if TYPE_CHECKING:
    from manylabel.data.synthetic import Distance


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--seed", default=0, show_default=True, help="The random seed. Equal seeds give equal scenes."
)
@click.option("--train", default=3000, show_default=True, help="The number of images in train.")
@click.option("--val", default=300, show_default=True, help="The number of images in val.")
@click.option("--test", default=1000, show_default=True, help="The number of images in test.")
@click.option("--size", default=128, show_default=True, help="The side of an image in pixels.")
@click.option(
    "--relations",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    metavar="STRENGTH",
    help="How much labels depend on one another: from 0, independent and anywhere, to 1.",
)
@click.option(
    "--distance",
    type=click.Choice(["near", "far"]),
    default="near",
    show_default=True,
    help="Whether an object lies beside its companion, or about half the picture away.",
)
def draw(folder: Path, relations: float, distance: Distance, **settings: int) -> None:
    """Draw a data set of small synthetic scenes into FOLDER, in COCO's format.

    An image has any number of labels. Some labels occur together. Some look the same and differ
    only in being above or below another object. Some are small or hidden near a companion, which
    helps to predict them. --relations and --distance change how much the labels depend on one
    another, and over which distance; each label stays as frequent, and is drawn alike.

    \b
    Examples:
      manylabel data draw data/scenes --seed 1
      manylabel data draw data/unrelated --relations 0
      manylabel data draw data/far --distance far --size 224
    """
    from manylabel.data.synthetic import LABELS, Relations, draw_scenes, scenes_are_drawn

    counts = {split: settings[split] for split in ("train", "val", "test")}
    scenes: dict[str, Any] = {
        "seed": settings["seed"],
        "counts": counts,
        "size": settings["size"],
        "relations": Relations(relations, distance),
    }
    if scenes_are_drawn(folder, **scenes):
        say(f"Already drawn: {folder}")
        return
    total = sum(counts.values())
    with progress("Drawing", total) as reporter:
        draw_scenes(folder, **scenes, on_progress=reporter.done)
    say(
        f"Drew {total:,} images with {len(LABELS)} labels into {folder}: relations of strength "
        f"{relations:g}, {distance}"
    )
