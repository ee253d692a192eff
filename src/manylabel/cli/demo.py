"""`manylabel demo`: what relations between labels bring, in one command and without downloads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from manylabel.train.page.content import Grid


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="The folder for all results.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The random seed of scenes, weights and order.",
)
def demo(out: Path, seed: int) -> None:
    """Show what relations between labels bring: draw scenes, train SRN and three baselines.

    In the scenes, some labels depend on other labels far away in the picture. A main net, a plain
    head on both maps, attention alone, and SRN learn from the same maps of one frozen backbone, for
    as many epochs each. The report has the average precision of each group of labels, and the maps
    that show where SRN looked.

    The demo takes about four minutes on two processor cores, and downloads nothing. If it was
    stopped, call it again to continue. It needs: pip install -e '.[demo]'.

    \b
    Example:
      manylabel demo --seed 1 --out runs/demo-1
    """
    from manylabel.demo import run_demo
    from manylabel.processes import require_one_process
    from manylabel.train.logs import Reporter

    require_one_process("demo")
    with Reporter() as reporter:
        metrics = run_demo(out, seed, reporter)
    _print(metrics, out)


def _print(metrics: dict[str, Any], out: Path) -> None:
    from manylabel.cli.shared import terminal
    from manylabel.demo.page import average_precision_grid, pointing_grid

    console = terminal()
    images = f"{metrics['data']['images']:,} test scenes"
    console.print(
        _table(f"Average precision on {images}, in percent", average_precision_grid(metrics))
    )
    console.print(metrics["in_words"])
    console.print(_table(f"Pointing game on {images}, in percent", pointing_grid(metrics)))
    console.print(f"{metrics['seconds']:.0f} seconds. Open {out / 'run.html'}")


def _table(title: str, grid: Grid) -> Table:
    from rich.table import Table

    from manylabel.html import percent

    table = Table(title=title)
    table.add_column("")
    for name in grid.columns:
        table.add_column(name, justify="right")
    for name, values in grid.rows.items():
        table.add_row(name, *map(percent, values))
    return table
