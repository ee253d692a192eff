"""Writes records in another format, whole or not at all, and proves that nothing was lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, final

import numpy as np

from manylabel.data.readers.coco import read_coco
from manylabel.data.readers.parquet import read_parquet
from manylabel.data.readers.table import read_table
from manylabel.data.readers.webdataset import read_webdataset
from manylabel.data.records import NO_SPLIT, SPLITS, Records
from manylabel.data.writers.coco import write_coco
from manylabel.data.writers.parquet import write_parquet
from manylabel.data.writers.proof import first_difference
from manylabel.data.writers.references import Target, extracted
from manylabel.data.writers.table import write_table
from manylabel.data.writers.webdataset import write_webdataset
from manylabel.errors import ConfigError, DataError
from manylabel.files import placed, staging_folder, write_errors

Written = Literal["table", "coco", "parquet", "webdataset"]


@final
@dataclass(frozen=True)
class Writer:
    """How one format is written.

    Args:
        write: From records to files.
        read: The reader that the files are proved with.
        endings: Of a single file; none where it is always a folder.
        folder: What a folder holds, as patterns of names; none where it is always a file.
        boxes: Whether boxes have a place in it.
        masks: Whether masks have one.
        copies: Whether images are copied into it, rather than named by paths.
    """

    write: Callable[[Records, Target], None]
    read: Callable[[Path], Records]
    endings: tuple[str, ...] = ()
    folder: tuple[str, ...] = ()
    boxes: bool = True
    masks: bool = True
    copies: bool = False


WRITERS: Final[Mapping[Written, Writer]] = {
    "table": Writer(write_table, read_table, endings=(".csv", ".tsv"), boxes=False),
    "coco": Writer(
        write_coco, read_coco, endings=(".json",), folder=("instances_*.json", "images")
    ),
    "parquet": Writer(write_parquet, read_parquet, endings=(".parquet",)),
    "webdataset": Writer(
        write_webdataset,
        read_webdataset,
        folder=("*.tar", "labels.json"),
        masks=False,
        copies=True,
    ),
}
"""The formats by name."""

_COPIES: Final = ("[0-9]" * 8 + ".*",)
"""Names of the copies of images that are no files of their own."""


@final
@dataclass(frozen=True)
class ConversionPlan:
    """What a conversion is going to do, before anything is written.

    Args:
        records: What will be written: in the order and with the parts that the format has.
        out: The file or folder to be.
        writer: The format.
        notes: What is left out or changed, and where copies of images go, a sentence each.
    """

    records: Records
    out: Path
    writer: Writer
    notes: tuple[str, ...]


def plan(
    records: Records, out: Path, *, to: Written | None = None, overwrite: bool = False
) -> ConversionPlan:
    """What converting `records` to `out` is going to do; nothing is written yet.

    Args:
        records: The data set.
        out: The file or folder to be.
        to: The format; by the ending of `out` if None.
        overwrite: What lies at `out` may be replaced, if it is a data set of this format.

    Raises:
        ConfigError: The ending says nothing, or something else than `to`; or `out` is there.
    """
    writer = WRITERS[_format(out, to)]
    _require_free(records, out, writer, overwrite)
    notes = []
    boxes = sum(map(len, records.boxes or ()))
    masks = sum(mask is not None for mask in records.masks or ())
    if boxes and not writer.boxes:
        notes.append(f"Boxes, which the format has no place for, are left out: {boxes:,}")
        records = replace(records, boxes=None)
    if masks and not writer.masks:
        notes.append(f"Masks, which the format has no place for, are left out: {masks:,}")
        records = replace(records, masks=None)
    ranks = np.where(records.splits == NO_SPLIT, len(SPLITS), records.splits)
    if not _is_file(out, writer) and (np.diff(ranks) < 0).any():
        notes.append("Images are ordered by their split: it decides which file they come into")
        records = records.select(np.argsort(ranks, kind="stable"))
    copies = sum(map(extracted, records.images))
    if copies and not writer.copies:
        folder = _images(out, writer)
        notes.append(f"Images that are no files of their own are copied into {folder}: {copies:,}")
    return ConversionPlan(records, out, writer, tuple(notes))


def _none(count: int) -> None:
    """Progress that nobody looks at."""


def convert(plan: ConversionPlan, *, on_progress: Callable[[int], None] = _none) -> Records:
    """Carry out a plan; gives the written data set as it was read back.

    What was written is compared with what was to be: label names in order, and each image's key,
    targets, split, group, boxes and mask. If anything differs, or anything fails, nothing is left
    behind, and what lay there before is put back.

    Raises:
        ImageError: An image that has to be opened or copied cannot be read.
        DataError: The format cannot hold a name, or something was lost.
        MissingExtraError: A package that the format needs is not installed.
        RunError: The files cannot be written.
    """
    out, writer = plan.out, plan.writer
    home = out.parent if _is_file(out, writer) else out
    with (
        write_errors(out, "The data set"),
        staging_folder(out.parent) as staging,
    ):
        built = staging if home == out.parent else staging / out.name
        images = _images(out, writer).relative_to(home).as_posix()
        writer.write(plan.records, Target(home, built, out.name, images, on_progress))
        with placed(staging, out.parent):
            return _proved(plan)


def _format(out: Path, to: Written | None) -> Written:
    by_ending: dict[str, Written] = {
        ending: name for name, writer in WRITERS.items() for ending in writer.endings
    }
    said = by_ending.get(out.suffix.lower())
    if to is None and said is None:
        raise ConfigError(
            f"The ending {out.suffix!r} says no format.",
            where=str(out),
            fix=f"Give one of {', '.join(by_ending)}, or for a folder --to coco or webdataset.",
        )
    name = to or said
    assert name is not None
    writer = WRITERS[name]
    if (said is not None and said != name) or (said is None and not writer.folder):
        wanted = " or ".join([*writer.endings, *(["a folder"] if writer.folder else [])])
        raise ConfigError(
            f"The name does not fit the format {name}.", where=str(out), fix=f"Name it {wanted}."
        )
    return name


def _is_file(out: Path, writer: Writer) -> bool:
    return out.suffix.lower() in writer.endings


def _images(out: Path, writer: Writer) -> Path:
    """The folder for copies of images."""
    return out.with_name(f"{out.stem}-images") if _is_file(out, writer) else out / "images"


def _require_free(records: Records, out: Path, writer: Writer, overwrite: bool) -> None:
    """Nothing lies where something will, or only what manylabel wrote there itself."""
    file = _is_file(out, writer)
    places = {out: (None if file else writer.folder)}
    if file and any(map(extracted, records.images)):
        places[_images(out, writer)] = _COPIES
    for place, patterns in places.items():
        if not os.path.lexists(place):
            continue
        if not overwrite:
            raise ConfigError(
                "There is something already.",
                where=str(place),
                fix="Name another place, or replace it with --overwrite.",
            )
        if not _replaceable(place, patterns):
            raise ConfigError(
                "What lies there was not written by a conversion to this format alone.",
                where=str(place),
                fix="Name another place, or move away what is there.",
            )
        _require_outside(records, place)


def _replaceable(place: Path, patterns: tuple[str, ...] | None) -> bool:
    """Whether `place` is a file, or with `patterns` a folder of nothing else than these."""
    if patterns is None or not place.is_dir():
        return patterns is None and not place.is_dir()
    for entry in place.iterdir():
        if not any(entry.match(pattern) for pattern in patterns):
            return False
        if entry.is_dir() and not _replaceable(entry, _COPIES):
            return False
    return True


def _require_outside(records: Records, place: Path) -> None:
    """No image would be thrown away with what is replaced."""
    folder = os.path.abspath(place)
    for file in (*records.images, *(records.masks or ())):
        if isinstance(file, Path) and Path(os.path.abspath(file)).is_relative_to(folder):
            raise ConfigError(
                "An image of the data set lies in what would be replaced.",
                where=str(file),
                fix="Name another place.",
            )


def _proved(plan: ConversionPlan) -> Records:
    """The written data set, read back and equal to what was to be written.

    Raises:
        DataError: It differs.
    """
    written = plan.writer.read(plan.out)
    difference = first_difference(plan.records, written)
    if difference is not None:
        raise DataError(
            f"What was written is not read back as it was: {difference}. It was removed again.",
            where=str(plan.out),
            fix="Rename what is named there, or convert to Parquet, which any name fits.",
        )
    return written
