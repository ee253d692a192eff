"""`manylabel data draw`: a data set of little scenes."""

from __future__ import annotations

from pathlib import Path

import click

from manylabel.cli.shared import progress


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="The same seed, the same scenes.")
@click.option("--train", default=3000, show_default=True, help="Images to train on.")
@click.option("--val", default=300, show_default=True, help="Images to choose by.")
@click.option("--test", default=1000, show_default=True, help="Images to score on.")
@click.option("--size", default=128, show_default=True, help="Side of an image in pixels.")
def draw(folder: Path, seed: int, train: int, val: int, test: int, size: int) -> None:
    """Draw a data set of little scenes into FOLDER, in COCO's format.

    An image has any number of labels. Some go together, some are told apart only by what is above
    or below, and some are small or hidden beside a companion that gives them away.

    \b
    Example:
      manylabel data draw data/scenes --seed 1
    """
    from manylabel.data.synthetic import LABELS, draw_scenes, scenes_are_drawn

    counts = {"train": train, "val": val, "test": test}
    if scenes_are_drawn(folder, seed=seed, counts=counts, size=size):
        click.echo(f"Already drawn: {folder}")
        return
    total = sum(counts.values())
    with progress("Drawing", total) as reporter:
        draw_scenes(folder, seed=seed, counts=counts, size=size, on_progress=reporter.done)
    click.echo(f"Drew {total:,} images with {len(LABELS)} labels into {folder}")
