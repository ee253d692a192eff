"""`manylabel data split`: train, val and test in which every label has its share."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from manylabel.cli.shared import DataOptions, data_options, data_source, progress
from manylabel.errors import ConfigError
from manylabel.images import Crop, FilePart, Stored

if TYPE_CHECKING:
    from manylabel.data.records import Records, Split

_SHARES: Final[dict[Split, float]] = {"val": 0.1, "test": 0.2}
"""Shares of the splits that are drawn unless told otherwise; the rest trains."""

_ENDINGS: Final = (".csv", ".tsv", ".parquet")
"""Of files that have a place for splits."""


@click.command(short_help="Draw splits in which every label has its share.")
@data_options(required=True, argument=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The table to write: .csv, .tsv or .parquet.",
)
@click.option("--val", type=float, help="Share of val, 0 to 1; 0: none.  [default: 0.1]")
@click.option("--test", type=float, help="Share of test, 0 to 1; 0: none.  [default: 0.2]")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The same seed, the same splits.",
)
@click.option(
    "--keep",
    type=click.Choice(("train", "val", "test")),
    multiple=True,
    help="A split of DATA that stays as it is; shares are of the rest. May be repeated.",
)
@click.option(
    "--duplicates/--no-duplicates",
    default=True,
    show_default=True,
    help="Put images whose files are equal, byte for byte, into one split.",
)
@click.option("--overwrite", is_flag=True, help="Replace what lies at OUT.")
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
    """Draw train, val and test of DATA, and write it with them.

    Iterative stratification gives each split its share of every label. Groups go whole into one
    split. What DATA says of splits is replaced, but for --keep. The table printed shows the labels
    that drift most: whose share of positives in a split differs most from the split's share.

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
        told = {"out": str(out), "notes": notes, "fingerprint": result.fingerprint()}
        click.echo(json.dumps({**told, "drift": drift.as_dict()}, indent=2))
        return
    for note in notes:
        click.echo(f"{note}.")
    click.echo(f"\n{drift.table()}\n\nWrote {out}")


def _shares(val: float | None, test: float | None, keep: tuple[Split, ...]) -> dict[Split, float]:
    """The shares of what is drawn; what is kept has none.

    Raises:
        ConfigError: A share is not 0 to 1, is given for a kept split, or nothing is left to draw.
    """
    given: dict[Split, float | None] = {"val": val, "test": test}
    for name, share in given.items():
        if share is not None and not 0 <= share < 1:
            raise ConfigError(
                f"{share:g} is no share.", where=f"--{name}", fix="Give a number from 0 to 1."
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
    """What can be known before the work is done is said before it."""
    from manylabel.data.writers.convert import plan

    if out.suffix.lower() not in _ENDINGS:
        raise ConfigError(
            f"The ending {out.suffix!r} is not that of a table.",
            where="--out",
            fix=f"Give one of {', '.join(_ENDINGS)}.",
        )
    plan(records, out, overwrite=overwrite)


def _write(records: Records, out: Path, overwrite: bool) -> list[str]:
    """Write the records, and give notes on what the format has no place for."""
    from manylabel.data.writers.convert import convert, plan

    planned = plan(records, out, overwrite=overwrite)
    with progress("Writing", len(records)) as bar:
        convert(planned, on_progress=bar.done)
    return list(planned.notes)


def _equal_files(records: Records) -> tuple[list[list[str]], list[str]]:
    """Sets of keys of images whose files are equal, and notes on files that cannot be read.

    Crops of one file are such a set.
    """
    keys: dict[Path | Stored, list[str]] = defaultdict(list)
    for key, place in zip(records.keys, records.images, strict=True):
        keys[place.image if isinstance(place, Crop) else place].append(key)
    sizes = {place: _size(place) for place in keys}
    counts = Counter(sizes.values())
    # A file of a size that no other has need not be read, if the sizes of all are known.
    alone = set() if None in counts else {size for size, count in counts.items() if count == 1}
    equal: dict[object, list[str]] = defaultdict(list)
    unread = 0
    with progress("Comparing", len(keys)) as bar:
        for done, place in enumerate(keys, start=1):
            try:
                content = place if sizes[place] in alone else _digest(place)
            except OSError:
                unread += 1
                content = place
            equal[content] += keys[place]
            bar.done(done)
    notes = [f"Files that cannot be read, and were not compared: {unread:,}"] if unread else []
    return [members for members in equal.values() if len(members) > 1], notes


def _size(place: Path | Stored) -> int | None:
    """Bytes of an image's file; None where that is not known without reading it."""
    if isinstance(place, FilePart):
        return place.size
    if isinstance(place, Stored):
        return None
    try:
        return place.stat().st_size
    except OSError:
        return None


def _digest(place: Path | Stored) -> bytes:
    content = place.read() if isinstance(place, Stored) else place.read_bytes()
    return hashlib.sha256(content).digest()
