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
@click.option(
    "--split",
    type=click.Choice(("train", "val", "test", "all")),
    help="Show only the images of this split. If DATA does not have it, it is drawn as in training."
    "  [default: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def show(data: DataOptions, split: str | None, as_json: bool) -> None:
    """Show how DATA is read: images, labels, splits, and what is left out and why.

    The first labels are listed, each with the number of images that have it.
    The last line is a hash of the image list and all targets. Equal hashes mean equal data.

    \b
    Example:
      manylabel data show photos.csv
      manylabel data show photos.csv --split test
      manylabel data show VOCdevkit/VOC2007 --option difficult=absent
    """
    from manylabel.data.outside import files_outside, note_of_outside
    from manylabel.data.read import read

    records = _part(read(data_source(data)), split)
    if outside := files_outside(records):
        records = records.with_notes(note_of_outside(outside))
    counts = _counts(records)
    if as_json:
        click.echo(json.dumps({**records.as_dict(), "label_counts": counts}, indent=2))
        return
    say(records.summary())
    say(_labels(counts))
    say(f"sha256 of list and targets: {records.fingerprint()}")


def _part(records: Records, split: str | None) -> Records:
    """The images of a split; all images for "all" or None.

    Raises:
        DataError: The split has no image.
    """
    from manylabel.data.records import SPLITS
    from manylabel.data.splits.split import with_splits
    from manylabel.errors import DataError

    for name in SPLITS:
        if name == split:
            given = records if name in records.split_names() else with_splits(records)
            records = given.split(name)
    if split and not len(records):
        raise DataError(
            f"The split '{split}' has no image.",
            where=records.source,
            fix="Leave out --split to see which splits there are.",
        )
    return records


def _counts(records: Records) -> dict[str, int]:
    """The number of images that have each label."""
    import numpy as np

    from manylabel.labels import PRESENT

    positives = np.count_nonzero(records.targets == PRESENT, axis=0).tolist()
    return dict(zip(records.labels, positives, strict=True))


def _labels(counts: dict[str, int]) -> str:
    """The first labels with their counts, and the labels that no image has."""
    from manylabel.text import some_names

    shown = [f"{name} {count:,}" for name, count in counts.items()]
    more = f", and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    line = f"Labels, with their images: {', '.join(shown[:_SHOWN])}{more}"
    unused = [name for name, count in counts.items() if not count]
    if unused:
        line += f". Labels that no image has: {len(unused):,} ({some_names(unused)})"
    return line
