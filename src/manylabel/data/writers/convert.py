"""Writes records in another format, completely or not at all, and checks that nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, final

import numpy as np

from manylabel.atomic.placing import placed
from manylabel.data.outside import files_outside, note_of_outside
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
from manylabel.files import staging_folder, write_errors
from manylabel.locks import held, lock_beside

Written = Literal["table", "coco", "parquet", "webdataset"]


@final
@dataclass(frozen=True)
class Writer:
    """How one format is written.

    Args:
        write: Writes the records to files.
        read: Reads the files back, for the check.
        endings: The endings of a single file. Empty if the format is always a folder.
        folder: Patterns of the names in a folder. Empty if the format is always a file.
        boxes: Whether the format can hold boxes.
        masks: Whether the format can hold masks.
        copies: Whether images are copied into the files. If not, paths refer to them.
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
"""Names of the copies of images that are not files of their own."""


@final
@dataclass(frozen=True)
class ConversionPlan:
    """What a conversion will do, before anything is written.

    Args:
        records: What will be written. The order fits the format, and parts that it cannot hold
            are removed.
        out: The file or folder that will be written.
        writer: The format.
        notes: What is left out or changed, and where copies of images are written, one sentence
            each.
        overwrite: Whether `out` may be replaced.
    """

    records: Records
    out: Path
    writer: Writer
    notes: tuple[str, ...]
    overwrite: bool = False


def plan(
    records: Records,
    out: Path,
    *,
    to: Written | None = None,
    overwrite: bool = False,
    allow_outside: bool = False,
) -> ConversionPlan:
    """Plan a conversion of `records` to `out`. Nothing is written yet.

    Args:
        records: The data set.
        out: The file or folder that will be written. If it is a link, what it points to is written,
            as if that had been named.
        to: The format. If None, the ending of `out` decides.
        overwrite: Whether `out` may be replaced, if it is a data set of this format.
        allow_outside: Whether files outside of the records' folders may be copied.

    Raises:
        ConfigError: The ending of `out` belongs to no format, or does not fit `to`; or `out` exists
            and may not be replaced.
        DataError: A file outside would be copied, and this is not allowed.
    """
    notes = []
    if out.is_symlink():
        out = Path(os.path.realpath(out))
        notes.append(f"The path is a link; what it points to is written: {out}")
    writer = WRITERS[_format(out, to)]
    _require_unused(records, out, writer, overwrite)
    boxes = sum(map(len, records.boxes or ()))
    masks = sum(mask is not None for mask in records.masks or ())
    if boxes and not writer.boxes:
        notes.append(f"Boxes that are left out because the format cannot hold them: {boxes:,}")
        records = replace(records, boxes=None)
    if masks and not writer.masks:
        notes.append(f"Masks that are left out because the format cannot hold them: {masks:,}")
        records = replace(records, masks=None)
    ranks = np.where(records.splits == NO_SPLIT, len(SPLITS), records.splits)
    if not _is_file(out, writer) and (np.diff(ranks) < 0).any():
        notes.append("Images are sorted by split, because each split has files of its own")
        records = records.select(np.argsort(ranks, kind="stable"))
    copies = sum(map(extracted, records.images))
    if copies and not writer.copies:
        folder = _copies_folder(out, writer)
        notes.append(f"Images that are not files of their own, copied into {folder}: {copies:,}")
    if outside := files_outside(records):
        _require_allowed(records, writer, allow_outside)
        notes.append(note_of_outside(outside))
    return ConversionPlan(records, out, writer, tuple(notes), overwrite)


def _require_allowed(records: Records, writer: Writer, allowed: bool) -> None:
    """Refuse to copy files outside of the records' folders, unless it is allowed.

    The copies may be given away, and the one who made the data set chose the files.
    """
    places = enumerate(records.images)
    copied = [row for row, place in places if writer.copies or extracted(place)]
    outside = files_outside(replace(records.select(copied), masks=None))
    if outside and not allowed:
        raise DataError(
            "Images would be copied from outside the folder of the data set: "
            f"{len(outside):,}, for example {outside[0]}.",
            where=records.source,
            fix="Check them. If they belong to the data set, name their folder with --images, or "
            "give manylabel data convert the option --allow-outside.",
        )


def _ignore_progress(count: int) -> None:
    """Report no progress."""


def convert(
    plan: ConversionPlan, *, on_progress: Callable[[int], None] = _ignore_progress
) -> Records:
    """Carry out a plan and return the written data set, as it was read back.

    The written data set is compared with the planned one: the label names in order, and the key,
    targets, split, group, boxes and mask of each image. If anything differs or fails, all new files
    are removed, and what was there before is put back.

    Args:
        plan: The plan.
        on_progress: Called with the number of images done so far.

    Raises:
        ConfigError: Another process is writing `out`, or has written it meanwhile.
        ImageError: An image that must be opened or copied cannot be read.
        DataError: The format cannot hold a name, or the data set that was read back differs.
        MissingExtraError: A package that the format needs is not installed.
        RunError: The files cannot be written.
    """
    out, writer = plan.out, plan.writer
    home = out.parent if _is_file(out, writer) else out
    with (
        held(lock_beside(out)),
        write_errors(out, "The data set"),
        staging_folder(out.parent) as staging,
    ):
        built = staging if home == out.parent else staging / out.name
        images = _copies_folder(out, writer).relative_to(home).as_posix()
        writer.write(plan.records, Target(home, built, out.name, images, on_progress))
        _require_unused(plan.records, out, writer, plan.overwrite)
        with placed(staging, out.parent):
            return _read_back(plan)


def _format(out: Path, to: Written | None) -> Written:
    by_ending: dict[str, Written] = {
        ending: name for name, writer in WRITERS.items() for ending in writer.endings
    }
    by_name = by_ending.get(out.suffix.lower())
    if to is None and by_name is None:
        raise ConfigError(
            f"The ending {out.suffix!r} belongs to no format.",
            where=str(out),
            fix=f"Use one of {', '.join(by_ending)}; for a folder, give --to coco or "
            "--to webdataset.",
        )
    name = to or by_name
    assert name is not None
    writer = WRITERS[name]
    if (by_name is not None and by_name != name) or (by_name is None and not writer.folder):
        wanted = " or ".join([*writer.endings, *(["a folder"] if writer.folder else [])])
        raise ConfigError(
            f"The name does not fit the format {name}.",
            where=str(out),
            fix=f"This format is written as {wanted}.",
        )
    return name


def _is_file(out: Path, writer: Writer) -> bool:
    return out.suffix.lower() in writer.endings


def _copies_folder(out: Path, writer: Writer) -> Path:
    """The folder for copies of images."""
    return out.with_name(f"{out.stem}-images") if _is_file(out, writer) else out / "images"


def _require_unused(records: Records, out: Path, writer: Writer, overwrite: bool) -> None:
    """Refuse a path that exists, unless `overwrite` is set and a conversion made what is there."""
    file = _is_file(out, writer)
    places = {out: (None if file else writer.folder)}
    if file and any(map(extracted, records.images)):
        places[_copies_folder(out, writer)] = _COPIES
    for place, patterns in places.items():
        if not os.path.lexists(place):
            continue
        if not (place.is_file() or place.is_dir() or place.is_symlink()):
            raise ConfigError(
                "The path is a pipe or a device. A conversion writes files and reads them back.",
                where=str(place),
                fix="Give the path of a file or folder that does not exist.",
            )
        if not overwrite:
            raise ConfigError(
                "The file or folder exists already.",
                where=str(place),
                fix="Give another path, or replace it with --overwrite.",
            )
        if not _is_replaceable(place, patterns):
            raise ConfigError(
                "The path holds something that a conversion to this format did not write.",
                where=str(place),
                fix="Give another path, or move what is there to another place.",
            )
        _require_outside(records, place)


def _is_replaceable(place: Path, patterns: tuple[str, ...] | None) -> bool:
    """Whether `place` is a file; with `patterns`, whether it is a folder of such names only.

    Devices and pipes are neither. They cannot be replaced, and could not be read back.
    """
    if patterns is None or not place.is_dir():
        return patterns is None and place.is_file()
    for entry in place.iterdir():
        if not any(entry.match(pattern) for pattern in patterns):
            return False
        if entry.is_dir() and not _is_replaceable(entry, _COPIES):
            return False
    return True


def _require_outside(records: Records, place: Path) -> None:
    """Refuse to replace a file or folder that has an image or mask of the data set in it."""
    folder = os.path.abspath(place)
    for file in (*records.images, *(records.masks or ())):
        if isinstance(file, Path) and Path(os.path.abspath(file)).is_relative_to(folder):
            raise ConfigError(
                "An image of the data set is in the folder that would be replaced.",
                where=str(file),
                fix="Give another path.",
            )


def _read_back(plan: ConversionPlan) -> Records:
    """The written data set, read back and compared with the planned one.

    Raises:
        DataError: The two differ.
    """
    written = plan.writer.read(plan.out)
    difference = first_difference(plan.records, written)
    if difference is not None:
        raise DataError(
            "The written data set differs when it is read back: "
            f"{difference}. It was removed again.",
            where=str(plan.out),
            fix="Rename what the message names, or convert to Parquet, which can hold any name.",
        )
    return written
