"""Reads and writes files of predictions: keys, labels and numbers, in each format."""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from manylabel.data.formats.arrow import is_number, load_parquet, parquet_module
from manylabel.data.formats.parsing import (
    JsonEntry,
    entries,
    listed_entries,
    load_json,
    load_object,
)
from manylabel.data.formats.room import matrix, require_room
from manylabel.data.readers.coco import coco_id, in_order_of_ids
from manylabel.errors import DataError
from manylabel.evaluate.predictions.csv_table import IMAGE_COLUMN, Numbers, Raw, image_column
from manylabel.files import open_regular, read_errors, read_lines
from manylabel.text import counted, for_spreadsheet

_NPZ_DAMAGE: Final = (
    *(OSError, ValueError, EOFError, KeyError, AttributeError, SyntaxError, MemoryError),
    *(NotImplementedError, RuntimeError, TypeError, OverflowError, zipfile.BadZipFile, zlib.error),
)
"""NumPy and zipfile raise all of these on truncated or mutated files."""
_HEADERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_STRING_BYTES: Final = 64
"""About the memory of a short Python string and of its place in a list."""


def read_parquet(path: Path) -> Raw:
    """Read a Parquet file with the same columns as a table of text."""
    table = load_parquet(path)
    names = table.column_names
    column = image_column(names, path)
    others = [i for i in range(len(names)) if i != column]
    for i in others:
        if not is_number(kind := table.schema.field(i).type):
            raise DataError(
                f"The column {names[i]!r} holds {kind}, not numbers.",
                where=str(path),
                fix="Leave out columns that are not labels.",
            )
    keys = [str(key) for key in table.column(column).to_pylist()]
    labels = [names[i] for i in others]
    columns = [table.column(i).to_numpy() for i in others]
    return keys, labels, np.stack(columns, axis=1) if columns else np.empty((len(keys), 0))


def read_npz(path: Path) -> Raw:
    """Read an NPZ file with the arrays `images`, `labels` and `scores`."""
    with read_errors(path):
        file = open_regular(path)
    try:
        with file, zipfile.ZipFile(file) as archive:
            found = _arrays(archive, path)
    except _NPZ_DAMAGE as error:
        raise DataError(
            f"The file is not an NPZ file of plain arrays: {error}.",
            where=str(path),
            fix="Write it with numpy.savez(images=..., labels=..., scores=...).",
        ) from None
    missing = [name for name in ("images", "labels", "scores") if name not in found]
    if missing:
        raise DataError(
            f"There is no array {missing[0]!r}. The arrays are: {', '.join(found) or 'none'}.",
            where=str(path),
            fix="Write it with numpy.savez(images=..., labels=..., scores=...).",
        )
    images, labels, scores = found["images"], found["labels"], found["scores"]
    if scores.ndim != 2 or scores.shape != (images.size, labels.size) or scores.dtype.kind != "f":
        raise DataError(
            f"The scores are {scores.dtype} {list(scores.shape)}, but the file names "
            f"{counted(images.size, 'image')} and {counted(labels.size, 'label')}.",
            where=str(path),
            fix="Give float scores, with one row per image and one column per label.",
        )
    if not labels.size:
        raise DataError(
            "The array 'labels' is empty.", where=str(path), fix="Give one name for each score."
        )
    return [str(key) for key in images], [str(name) for name in labels], scores


def _arrays(archive: zipfile.ZipFile, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an NPZ file by name, after a look at what all of them need.

    Raises:
        DataError: They do not fit into memory: a small file may unpack to a thousand times more.
        Exception: One of `_NPZ_DAMAGE`.
    """
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    require_room(sum(_needed(archive, name) for name in names), "The arrays", str(path))
    found = {}
    for name in names:
        with archive.open(name) as part:
            found[name.removesuffix(".npy")] = npy.read_array(part, allow_pickle=False)
    return found


def _needed(archive: zipfile.ZipFile, name: str) -> int:
    """The bytes of an array and, if it holds texts, of the strings that are made of it."""
    with archive.open(name) as part:
        read_header = _HEADERS[npy.read_magic(part)]
        shape, _, dtype = read_header(part)
    if not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"the values of {name} have no size")
    text = 0 if dtype.kind in "fiu" else _STRING_BYTES
    return math.prod(shape) * (dtype.itemsize + text)


def read_lists(path: Path, image_list: Path | None, label_names: Path | None) -> Raw:
    """Read a text file with C numbers per line, a list of images, and a list of labels if given."""
    if image_list is None:
        raise DataError(
            "The file holds numbers only; it does not name the images.",
            where=str(path),
            fix="Give a list of images with --image-list: one path per line, in the same order.",
        )
    keys = [line.split()[0] for _, line in read_lines(image_list)]
    lines = read_lines(path)
    if len(lines) != len(keys):
        raise DataError(
            f"There are {len(lines):,} lines of numbers, but {len(keys):,} images.",
            where=f"{path} and {image_list}",
            fix="Give the list that belongs to the numbers.",
        )
    rows = [_numbers(line, f"{path}, line {number}") for number, line in lines]
    width = len(rows[0]) if rows else 0
    for (number, _), row in zip(lines, rows, strict=True):
        if len(row) != width:
            raise DataError(
                f"The line has {len(row)} numbers, but the first line has {width}.",
                where=f"{path}, line {number}",
                fix="Give a number for each label in every line.",
            )
    names = [str(i + 1) for i in range(width)]
    if label_names is not None:
        names = [line for _, line in read_lines(label_names)]
        if len(names) != width:
            raise DataError(
                f"There are {len(names)} label names for {width} columns.",
                where=f"{label_names} and {path}",
                fix="Give one label per line, in the order of the columns.",
            )
    return keys, names, np.array(rows, dtype=np.float64).reshape(len(keys), width)


def _numbers(line: str, where: str) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise DataError(
            f"The line holds something that is not a number: {error}.",
            where=where,
            fix="Give one number for each label in each line, separated by spaces.",
        ) from None


def read_coco_results(
    path: Path, instances: Path | None
) -> tuple[list[str], list[str], Numbers, tuple[str, ...]]:
    """Read COCO results: image names, labels, scores and notes.

    A pair of image and label without a result has the score 0. If there are several results for one
    image and category, as from a detector, the highest score counts.

    Args:
        path: The file of results.
        instances: The COCO instances file that defines the ids.
    """
    if instances is None:
        raise DataError(
            "COCO results contain ids of images and categories, but no file defines these ids.",
            where=str(path),
            fix="Give the COCO instances file as the targets.",
        )
    document = load_object(instances, "a COCO instances file")
    names = list(
        in_order_of_ids(
            {
                coco_id(entry, "id"): entry.text("name")
                for entry in entries(document, "categories", instances)
            }
        ).items()
    )
    images = [
        (coco_id(entry, "id"), entry.text("file_name"))
        for entry in entries(document, "images", instances)
    ]
    column_of = {number: column for column, (number, _) in enumerate(names)}
    row_of = {number: row for row, (number, _) in enumerate(images)}
    listed = load_json(path)
    if not isinstance(listed, list):
        raise DataError(
            "The file does not hold a JSON list.",
            where=str(path),
            fix="Give a list of objects with image_id, category_id and score.",
        )
    scores = matrix(len(images), len(names), 0, str(instances), np.float64)
    given = np.zeros(scores.shape, dtype=np.bool_)
    for entry in listed_entries(listed, "results", path):
        row = _position(entry, "image_id", row_of)
        column = _position(entry, "category_id", column_of)
        scores[row, column] = max(scores[row, column], entry.number("score"))
        given[row, column] = True
    note = f"Pairs of image and label with score 0, without a result: {int((~given).sum()):,}"
    notes = (note,) if not given.all() else ()
    return [file for _, file in images], [name for _, name in names], scores, notes


def _position(entry: JsonEntry, key: str, positions: dict[str, int]) -> int:
    position = positions.get(coco_id(entry, key))
    if position is None:
        raise entry.unfit(key, "an id of the instances file")
    return position


def write_csv(path: Path, keys: Sequence[str], labels: Sequence[str], scores: Numbers) -> None:
    """Write a table of text, separated by commas, or by tabs if the suffix is .tsv."""
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow([IMAGE_COLUMN, *map(for_spreadsheet, labels)])
        for key, row in zip(keys, scores, strict=True):
            writer.writerow([for_spreadsheet(key), *map(repr, row.tolist())])


def write_parquet(path: Path, keys: Sequence[str], labels: Sequence[str], scores: Numbers) -> None:
    """Write a Parquet file with the same columns."""
    pyarrow, parquet = parquet_module("predictions")
    columns: dict[str, Any] = {IMAGE_COLUMN: list(keys)}
    columns |= {name: scores[:, column] for column, name in enumerate(labels)}
    parquet.write_table(pyarrow.table(columns), path)


def write_npz(path: Path, keys: Sequence[str], labels: Sequence[str], scores: Numbers) -> None:
    """Write an NPZ file with the arrays `images`, `labels` and `scores`."""
    with path.open("wb") as file:
        np.savez_compressed(file, images=np.array(keys), labels=np.array(labels), scores=scores)


WRITERS: Final[Mapping[str, Callable[[Path, Sequence[str], Sequence[str], Numbers], None]]] = {
    ".csv": write_csv,
    ".tsv": write_csv,
    ".parquet": write_parquet,
    ".npz": write_npz,
}
"""The functions that write predictions, by the suffix of the path."""
