"""`manylabel data convert`: writes a data set in another format, and checks the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from manylabel.cli.shared import DataOptions, data_options, data_source, progress, say

if TYPE_CHECKING:
    from manylabel.data.writers.convert import Written

FORMATS: Final = ("table", "coco", "parquet", "webdataset")
"""The keys of `data.writers.convert.WRITERS`; importing that module would be slow."""


@click.command()
@data_options(required=True, argument=True)
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Choice(FORMATS),
    help="The format.  [default: from the ending of OUT: .csv, .tsv, .json or .parquet]",
)
@click.option("--overwrite", is_flag=True, help="Replace the result of an earlier conversion.")
@click.option(
    "--allow-outside",
    is_flag=True,
    help="Also copy images from outside the folder of the data set (or of --images).",
)
def convert(
    data: DataOptions, out: Path, to: str | None, overwrite: bool, allow_outside: bool
) -> None:
    """Write DATA as OUT in another format, and read it back to check that nothing is lost.

    OUT is a file, or a folder for coco and webdataset. Images stay where they are, except that
    webdataset copies them. Paths are relative to OUT for images beside or below OUT. If OUT is a
    link, what it points to is written.

    \b
    Example:
      manylabel data convert photos.csv photos.parquet
      manylabel data convert VOCdevkit/VOC2007 voc-shards --to webdataset
    """
    from manylabel.data.read import read
    from manylabel.data.writers.convert import convert as write
    from manylabel.data.writers.convert import plan

    records = read(data_source(data))
    kind = cast("Written | None", to)
    planned = plan(records, out, to=kind, overwrite=overwrite, allow_outside=allow_outside)
    for note in planned.notes:
        say(f"{note}.")
    with progress("Writing", len(records)) as reporter:
        written = write(planned, on_progress=reporter.done)
    say(f"Wrote {written.summary()}")
    say(f"sha256 of list and targets: {written.fingerprint()}")
