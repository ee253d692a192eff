"""`manylabel data check`: finds problems of a data set before training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from manylabel.cli.shared import (
    Bar,
    DataOptions,
    data_options,
    data_source,
    output,
    progress,
    say,
)
from manylabel.text import counted, visible

if TYPE_CHECKING:
    from manylabel.data.doctor.findings import Diagnosis, Finding

_MANY: Final = 1000
"""From so many labels on, a line says that they are compared."""
_COLOURS: Final = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command(short_help="Find problems of a data set.")
@data_options(required=True, argument=True)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all findings as JSON, with all images that they concern.",
)
@click.option(
    "--html",
    "html_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write an HTML page with the findings and pictures of duplicates.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="The number of threads that open images.  [default: one per processor]",
)
@click.option("--quick", is_flag=True, help="Check names, labels and splits only; open no image.")
@click.option("--strict", is_flag=True, help="Also exit with 1 if there are warnings.")
@click.pass_context
def check(
    context: click.Context,
    data: DataOptions,
    json_path: Path | None,
    html_path: Path | None,
    workers: int | None,
    quick: bool,
    strict: bool,
) -> None:
    """Find problems of DATA: damaged images, leaks between splits, doubtful labels.

    Every image is opened once. The exit code is 1 if there are errors (or, with --strict,
    warnings), and otherwise 0.

    \b
    Example:
      manylabel data check photos.csv --html check.html
      manylabel data check coco/ --quick
    """
    from manylabel.data.doctor.check import check as run
    from manylabel.data.read import read

    records = read(data_source(data))
    with progress("Opening", len(records)) as report:
        found = run(
            records,
            workers=workers,
            open_images=not quick,
            on_progress=report.done,
            on_labels=_labels_reporter(report),
        )
    say(found.summary)
    for finding in found.findings:
        _print(finding)
    click.echo(f"\n{_last_line(found)}")
    if json_path is not None:
        with output(json_path) as stream:
            stream.write(json.dumps(found.as_dict(), indent=2) + "\n")
    if html_path is not None:
        from manylabel.data.doctor.page import write_page

        say(f"Page: {write_page(html_path, found, records)}")
    if found.count("error") or (strict and found.count("warning")):
        context.exit(1)


def _labels_reporter(report: Bar) -> Callable[[int, int], None]:
    """Shows how far the comparison of labels is; of many labels it takes a while."""

    def compared(done: int, total: int) -> None:
        if done == 0 and total >= _MANY:
            report.say(f"Comparing {total:,} labels with one another")
        report.doing("Comparing labels")
        report.done_of(done, total)

    return compared


def _print(finding: Finding) -> None:
    from manylabel.data.doctor.findings import SHOWN

    name = click.style(finding.severity, fg=_COLOURS[finding.severity], bold=True)
    click.echo(f"\n{name}  {visible(finding.what)}  [{finding.kind}]")
    for example in finding.examples:
        say(f"    {example}")
    if finding.count > len(finding.examples) == SHOWN:
        say(f"    ... {finding.count:,} in all")
    say(f"  fix:  {finding.fix}")


def _last_line(found: Diagnosis) -> str:
    from manylabel.data.doctor.findings import SEVERITIES

    counts = ", ".join(counted(found.count(severity), severity) for severity in SEVERITIES)
    rate = found.images_per_second
    how = (
        f"{counted(found.opened, 'image')} opened in {found.seconds:.1f} s, {rate:,.0f} per second"
        if rate
        else "no image opened"
    )
    return f"{counts}; {how}."
