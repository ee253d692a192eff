"""`manylabel demo`: a complete training and evaluation, without downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


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
    """Draw a data set, train SRN and its baseline on it, and report the results.

    SRN is trained in its four steps. The report has metrics and attention maps. The demo takes a
    few minutes on two processor cores and downloads nothing. If it was stopped, call it again to
    continue.

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
    from rich.table import Table

    from manylabel.cli.shared import terminal

    console = terminal()
    table = Table(title="Held-out scenes, in percent")
    columns = ("mAP", "CF1", "OF1")
    for column in ("", *columns):
        table.add_column(column, justify="left" if not column else "right")
    rows = {
        "main net, after step 1": metrics["steps"]["1"],
        "attention, after step 2": metrics["steps"]["2"],
        "SRN, after step 3": metrics["steps"]["3"],
        "main net, trained on as long as SRN": metrics["baseline_long"],
        "SRN, after step 4": metrics["srn"],
    }
    for name, measures in rows.items():
        table.add_row(name, *(f"{100 * measures[column]:.1f}" for column in columns))
    console.print(table)
    pointing = metrics["pointing_game"]
    console.print(
        f"Pointing game: SRN's U {100 * pointing['srn']:.1f} %, class activation maps "
        f"{100 * pointing['cam']:.1f} %, chance {100 * pointing['chance']:.1f} %."
    )
    console.print(f"{metrics['seconds']:.0f} seconds. Open {out / 'run.html'}")
