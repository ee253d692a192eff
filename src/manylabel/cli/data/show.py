"""`manylabel data show`: shows how a data set is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from manylabel.cli.shared import DataOptions, data_options, data_source, say

if TYPE_CHECKING:
    from manylabel.data.records import Records

_SHOWN: Final = 20
"""How many labels are listed."""


@click.command()
@data_options(required=True, argument=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def show(data: DataOptions, as_json: bool) -> None:
    """Show how DATA is read: images, labels, splits, and what is left out and why.

    The first labels are listed, each with the number of images that have it.
    The last line is a hash of the image list and all targets. Equal hashes mean equal data.

    \b
    Example:
      manylabel data show photos.csv
      manylabel data show VOCdevkit/VOC2007 --option difficult=absent
    """
    from manylabel.data.outside import files_outside, note_of_outside
    from manylabel.data.read import read

    records = read(data_source(data))
    if outside := files_outside(records):
        records = records.with_notes(note_of_outside(outside))
    if as_json:
        click.echo(json.dumps(records.as_dict(), indent=2))
        return
    say(records.summary())
    say(_labels(records))
    say(f"sha256 of list and targets: {records.fingerprint()}")


def _labels(records: Records) -> str:
    """The first labels with the number of images that have each."""
    import numpy as np

    from manylabel.labels import PRESENT

    counts = np.count_nonzero(records.targets[:, :_SHOWN] == PRESENT, axis=0).tolist()
    shown = [f"{name} {count:,}" for name, count in zip(records.labels, counts, strict=False)]
    left = len(records.labels) - len(shown)
    more = f", and {left:,} more" if left else ""
    return f"Labels, with their images: {', '.join(shown)}{more}"
