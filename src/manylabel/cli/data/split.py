"""`manylabel data split`: draws train, val and test with equal frequencies of every label."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from manylabel.cli.shared import DataOptions, data_options, data_source, progress, say
from manylabel.errors import ConfigError, ImageError
from manylabel.images import Crop, FilePart, Stored

if TYPE_CHECKING:
    from manylabel.data.records import Records, Split

_SHARES: Final[dict[Split, float]] = {"val": 0.1, "test": 0.2}
"""The default shares of val and test; the rest is train."""

_ENDINGS: Final = (".csv", ".tsv", ".parquet")
"""The endings of files that can hold splits."""


@click.command(short_help="Draw splits with equal frequencies of every label.")
@data_options(required=True, argument=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The table to write: .csv, .tsv or .parquet.",
)
@click.option("--val", type=float, help="The share of val, 0 to 1; 0: no val.  [default: 0.1]")
@click.option("--test", type=float, help="The share of test, 0 to 1; 0: no test.  [default: 0.2]")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The random seed. Equal seeds give equal splits.",
)
@click.option(
    "--keep",
    type=click.Choice(("train", "val", "test")),
    multiple=True,
    help="Keep this split of DATA; shares are of the other images. Can be repeated.",
)
@click.option(
    "--duplicates/--no-duplicates",
    default=True,
    show_default=True,
    help="Put images with equal files (byte for byte) into one split.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def split(
    data: DataOptions,
    out: Path,
    val: float | None,
    test: float | None,
    seed: int,
    keep: tuple[Split, ...],
    duplicates: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw the splits train, val and test of DATA, and write a table with them.

    Iterative stratification gives each split its share of every label. A group goes into one split.
    Existing splits of DATA are replaced, except those of --keep. The printed table shows the labels
    with the largest drift: the difference between a split's share of the positives and its share of
    the images.

    \b
    Example:
      manylabel data split photos.csv --out split.csv --val 0.1 --test 0.2
      manylabel data split VOCdevkit/VOC2007 --out voc.csv --keep test
    """
    from manylabel.data.read import read
    from manylabel.data.splits.drift import drift_of
    from manylabel.data.splits.stratify import stratified

    shares = _shares(val, test, keep)
    records = read(data_source(data))
    _require_writable(records, out, overwrite)
    sets, unread = _equal_files(records) if duplicates else ([], [])
    result = stratified(records, shares, keep=keep, duplicates=sets, seed=seed)
    notes = [*result.notes[len(records.notes) :], *unread]
    drift = drift_of(result)
    notes += _write(result, out, overwrite)
    if as_json:
        found = {"out": str(out), "notes": notes, "fingerprint": result.fingerprint()}
        click.echo(json.dumps({**found, "drift": drift.as_dict()}, indent=2))
        return
    for note in notes:
        say(f"{note}.")
    click.echo(f"\n{drift.table()}\n")
    say(f"Wrote {out}")


def _shares(val: float | None, test: float | None, keep: tuple[Split, ...]) -> dict[Split, float]:
    """The shares of the splits that are drawn; kept splits have none.

    Raises:
        ConfigError: A share is not in 0..1 or is given for a kept split, or nothing is left to
            draw.
    """
    given: dict[Split, float | None] = {"val": val, "test": test}
    for name, share in given.items():
        if share is not None and not 0 <= share < 1:
            raise ConfigError(
                f"{share:g} is not a share.", where=f"--{name}", fix="Give a number from 0 to 1."
            )
        if share is not None and name in keep:
            raise ConfigError(
                f"The split {name!r} is kept, so it has no share.",
                where=f"--{name}",
                fix=f"Leave out --{name} or --keep {name}.",
            )
    drawn: dict[Split, float] = {}
    for name, share in given.items():
        wanted = _SHARES[name] if share is None else share
        if name not in keep and wanted > 0:
            drawn[name] = wanted
    rest = 1 - sum(drawn.values())
    if "train" not in keep:
        if rest <= 1e-9:
            raise ConfigError(
                "Nothing is left to train on.", where="--val, --test", fix="Give smaller shares."
            )
        return {"train": rest, **drawn}
    if not drawn:
        raise ConfigError(
            "Every split is kept or has no share.", where="--keep", fix="Keep fewer splits."
        )
    return {name: share / (1 - rest) for name, share in drawn.items()}


def _require_writable(records: Records, out: Path, overwrite: bool) -> None:
    """Raise errors about the output before the work starts."""
    from manylabel.data.writers.convert import plan

    if out.suffix.lower() not in _ENDINGS:
        raise ConfigError(
            f"The ending {out.suffix!r} is not an ending of a table.",
            where="--out",
            fix=f"Give one of {', '.join(_ENDINGS)}.",
        )
    plan(records, out, overwrite=overwrite)


def _write(records: Records, out: Path, overwrite: bool) -> list[str]:
    """Write the records, and return notes about what the format cannot hold."""
    from manylabel.data.writers.convert import convert, plan

    planned = plan(records, out, overwrite=overwrite)
    with progress("Writing", len(records)) as bar:
        convert(planned, on_progress=bar.done)
    return list(planned.notes)


def _equal_files(records: Records) -> tuple[list[list[str]], list[str]]:
    """Sets of keys of images with equal files, and notes on files that cannot be read.

    The crops of one file are also a set.
    """
    keys: dict[Path | Stored, list[str]] = defaultdict(list)
    for key, place in zip(records.keys, records.images, strict=True):
        keys[place.image if isinstance(place, Crop) else place].append(key)
    sizes = {place: _size(place) for place in keys}
    counts = Counter(sizes.values())
    # If all sizes are known, a file with a size that no other file has need not be read.
    unique = set() if None in counts else {size for size, count in counts.items() if count == 1}
    equal: dict[object, list[str]] = defaultdict(list)
    unread = 0
    with progress("Comparing", len(keys)) as bar:
        for done, place in enumerate(keys, start=1):
            try:
                content = place if sizes[place] in unique else _digest(place)
            except ImageError:
                unread += 1
                content = place
            equal[content] += keys[place]
            bar.done(done)
    notes = [f"Files that cannot be read and were not compared: {unread:,}"] if unread else []
    return [members for members in equal.values() if len(members) > 1], notes


def _size(place: Path | Stored) -> int | None:
    """The bytes of an image's file; None if the size is not known without reading it."""
    if isinstance(place, FilePart):
        return place.size
    if isinstance(place, Stored):
        return None
    try:
        return place.stat().st_size
    except OSError:
        return None


def _digest(place: Path | Stored) -> bytes:
    from manylabel.images.places import file_bytes

    return hashlib.sha256(file_bytes(place)).digest()
