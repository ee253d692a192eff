"""`manylabel data convert`: a data set in another format, with nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from manylabel.cli.shared import DataOptions, data_options, data_source, progress

if TYPE_CHECKING:
    from manylabel.data.writers.convert import Written

FORMATS: Final = ("table", "coco", "parquet", "webdataset")
"""What `--to` can be: the keys of `data.writers.convert.WRITERS`, which imports too much."""


@click.command()
@data_options(required=True, argument=True)
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Choice(FORMATS),
    help="The format.  [default: by the ending of OUT: .csv, .tsv, .json or .parquet]",
)
@click.option("--overwrite", is_flag=True, help="Replace what an earlier conversion wrote to OUT.")
def convert(data: DataOptions, out: Path, to: str | None, overwrite: bool) -> None:
    """Write DATA as OUT in another format, and read it back to see that nothing was lost.

    OUT is a file, or for coco and webdataset a folder. Images stay where they are and are named by
    paths relative to OUT if they lie beside or below it; webdataset copies them.

    \b
    Example:
      manylabel data convert photos.csv photos.parquet
      manylabel data convert VOCdevkit/VOC2007 voc-shards --to webdataset
    """
    from manylabel.data.read import read
    from manylabel.data.writers.convert import convert as carry_out
    from manylabel.data.writers.convert import plan

    records = read(data_source(data))
    planned = plan(records, out, to=cast("Written | None", to), overwrite=overwrite)
    for note in planned.notes:
        click.echo(f"{note}.")
    with progress("Writing", len(records)) as reporter:
        written = carry_out(planned, on_progress=reporter.done)
    click.echo(f"Wrote {written.summary()}")
    click.echo(f"sha256 of list and targets: {written.fingerprint()}")
