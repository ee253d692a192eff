"""`manylabel data`: make data sets."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(name="data")
def data() -> None:
    """Make data sets."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="The same seed, the same scenes.")
@click.option("--train", default=3000, show_default=True, help="Images to train on.")
@click.option("--val", default=300, show_default=True, help="Images to choose by.")
@click.option("--test", default=1000, show_default=True, help="Images to score on.")
@click.option("--size", default=128, show_default=True, help="Side of an image in pixels.")
def draw(folder: Path, seed: int, train: int, val: int, test: int, size: int) -> None:
    """Draw a multi-label data set of little scenes into FOLDER, in COCO's format.

    Some of its labels go together, some are told apart only by what is above or below, and some
    are small or hidden beside a companion that gives them away.

    Example: manylabel data draw data/scenes --seed 1
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from manylabel.data.synthetic import LABELS, draw_scenes, scenes_are_drawn

    counts = {"train": train, "val": val, "test": test}
    if scenes_are_drawn(folder, seed=seed, counts=counts, size=size):
        click.echo(f"Already drawn: {folder}")
        return
    columns = (
        TextColumn("Drawing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("draw", total=sum(counts.values()))
        draw_scenes(
            folder,
            seed=seed,
            counts=counts,
            size=size,
            on_progress=lambda done: progress.update(task, completed=done),
        )
    click.echo(f"Drew {sum(counts.values()):,} images with {len(LABELS)} labels into {folder}")
