"""`manylabel data draw`: draws a data set of small synthetic scenes."""

from __future__ import annotations

from pathlib import Path

import click

from manylabel.cli.shared import progress, say


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--seed", default=0, show_default=True, help="The random seed. Equal seeds give equal scenes."
)
@click.option("--train", default=3000, show_default=True, help="The number of images in train.")
@click.option("--val", default=300, show_default=True, help="The number of images in val.")
@click.option("--test", default=1000, show_default=True, help="The number of images in test.")
@click.option("--size", default=128, show_default=True, help="The side of an image in pixels.")
def draw(folder: Path, seed: int, train: int, val: int, test: int, size: int) -> None:
    """Draw a data set of small synthetic scenes into FOLDER, in COCO's format.

    An image has any number of labels. Some labels occur together. Some look the same and differ
    only in being above or below another object. Some are small or hidden near a companion, which
    helps to predict them.

    \b
    Example:
      manylabel data draw data/scenes --seed 1
    """
    from manylabel.data.synthetic import LABELS, draw_scenes, scenes_are_drawn

    counts = {"train": train, "val": val, "test": test}
    if scenes_are_drawn(folder, seed=seed, counts=counts, size=size):
        say(f"Already drawn: {folder}")
        return
    total = sum(counts.values())
    with progress("Drawing", total) as reporter:
        draw_scenes(folder, seed=seed, counts=counts, size=size, on_progress=reporter.done)
    say(f"Drew {total:,} images with {len(LABELS)} labels into {folder}")
