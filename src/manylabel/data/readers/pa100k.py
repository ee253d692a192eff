"""PA-100K: 26 attributes of pedestrians, in its MATLAB file or in Kaggle's three tables.

    PA-100K/
        annotation.mat                 attributes, {train,val,test}_images_name, {...}_label
        train.csv val.csv test.csv     or these: Image, and a column for each attribute
        data/000001.jpg                or in release_data/release_data, as the archive unpacks

Source: Liu et al., HydraPlus-Net: Attentive Deep Features for Pedestrian Analysis, ICCV 2017, and
the release of the data set.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.lists import (
    as_key,
    choose_folder,
    require_distinct,
    require_same_labels,
    shorten,
)
from manylabel.data.formats.matlab import load_mat
from manylabel.data.records import SPLITS, Record, Records, Split
from manylabel.errors import DataError
from manylabel.files import read_text
from manylabel.labels import ABSENT, PRESENT, LabelSpace

_MAT: Final = ("annotation.mat", "annotation/annotation.mat")
_IMAGES: Final = (
    "data",
    "release_data/release_data",
    "data/release_data/release_data",
    "release_data",
    "images",
    ".",
)
_TARGETS: Final = {"0": ABSENT, "1": PRESENT}


def find_pa100k(path: Path) -> Path | None:
    """`path`, if it is PA-100K's MATLAB file, or a folder with it or the tables; else None."""
    if not path.is_dir():
        return path if path.name == "annotation.mat" else None
    if any((path / name).is_file() for name in _MAT):
        return path
    # Tables with these names are common. They are PA-100K's only beside its folder of images.
    has_images = any((path / name).is_dir() for name in ("data", "release_data"))
    return path if has_images and len(_tables(path)) == len(SPLITS) else None


def read_pa100k(path: Path, *, images: Path | None = None) -> Records:
    """The pedestrians of PA-100K. The labels are in the order of its list of attributes.

    1 is present and 0 is absent. No target is unknown, and no image is dropped. The splits train,
    val and test are those of the data set. The MATLAB file is read if it exists, else the three
    tables.

    Args:
        path: The folder, or the MATLAB file.
        images: The folder of the images.

    Raises:
        DataError: A file is malformed or incomplete, or lacks a part; the numbers of names and
            labels differ; an image is listed twice; no image is found.
        MissingExtraError: The MATLAB file must be read, but scipy is not installed.
    """
    root, mat = _find_mat(path)
    parts = _read_tables(root) if mat is None else _read_mat(mat)
    require_distinct((key, f"{part.file}, {part.split}") for part in parts for key in part.keys)
    places = [root / name for name in _IMAGES] if images is None else [images]
    keys = [key for part in parts for key in part.keys]
    folder = choose_folder(places, keys, mat or parts[0].file)
    items = (
        Record(key, folder / key, targets, part.split)
        for part in parts
        for key, targets in zip(part.keys, part.targets, strict=True)
    )
    read = ", ".join(dict.fromkeys(part.file.name for part in parts))
    return Records.of(parts[0].labels, items, str(path), (f"Attributes are from {read}",))


@dataclass(frozen=True)
class _Part:
    """One split: keys [N] and targets int8 [N, C]."""

    file: Path
    split: Split
    labels: LabelSpace
    keys: Sequence[str]
    targets: NDArray[np.int8]


def _find_mat(path: Path) -> tuple[Path, Path | None]:
    """The root folder of the data set and its MATLAB file, if it has one."""
    if not path.is_dir():
        home = path.parent
        return (home.parent if home.name == "annotation" else home), path
    return path, next((path / name for name in _MAT if (path / name).is_file()), None)


def _tables(root: Path) -> dict[Split, Path]:
    """The tables that exist, by their splits."""
    files: dict[Split, Path] = {split: root / f"{split}.csv" for split in SPLITS}
    return {split: file for split, file in files.items() if file.is_file()}


def _read_mat(file: Path) -> list[_Part]:
    variables = _load(file)
    names = _texts(variables, "attributes", file)
    labels = LabelSpace(names, where=f"{file}, variable attributes")
    return [_read_mat_split(variables, split, labels, file) for split in SPLITS]


def _read_mat_split(
    variables: Mapping[str, Any], split: Split, labels: LabelSpace, file: Path
) -> _Part:
    keys = [as_key(name) for name in _texts(variables, f"{split}_images_name", file)]
    name = f"{split}_label"
    targets = _numbers(variables[name])
    if targets is None or not np.isin(targets, (ABSENT, PRESENT)).all():
        raise _variable_error(file, name, "has values other than 0 and 1")
    if targets.shape != (len(keys), len(labels)):
        raise _variable_error(
            file,
            name,
            f"has the shape {' x '.join(map(str, targets.shape))}, not {len(keys)} images x "
            f"{len(labels)} attributes",
        )
    return _Part(file, split, labels, keys, targets.astype(np.int8))


def _load(file: Path) -> Mapping[str, Any]:
    """The variables of the MATLAB file as nested lists."""
    wanted = ["attributes", *(f"{s}_{what}" for s in SPLITS for what in ("images_name", "label"))]
    variables = load_mat(file, wanted)
    for name in wanted:
        if name not in variables:
            raise _variable_error(file, name, "is missing")
    return variables


def _texts(variables: Mapping[str, Any], name: str, file: Path) -> list[str]:
    """The texts of a cell array [N, 1] or [1, N], which is a list of lists."""
    value = variables[name]
    rows = value if isinstance(value, list) else []
    cells = [cell for row in rows for cell in (row if isinstance(row, list) else [row])]
    if not cells:
        raise _variable_error(file, name, "is empty")
    texts = [_text(cell) for cell in cells]
    known = [text for text in texts if text]
    if len(known) < len(texts):
        raise _variable_error(file, name, "has values that are not texts")
    return known


def _text(cell: Any) -> str | None:
    """The text in a cell, which may be nested in lists of one element; None if it is not a text."""
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    return cell.strip() if isinstance(cell, str) else None


def _numbers(value: Any) -> NDArray[Any] | None:
    """The array of nested lists, if they contain only numbers; else None."""
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # Rows differ in length, or the nesting is too deep.
        return None
    return array if array.dtype.kind in "buif" else None


def _variable_error(file: Path, name: str, what: str) -> DataError:
    return DataError(
        f"The variable {name!r} {what}.",
        where=str(file),
        fix="Give the original annotation.mat of PA-100K.",
    )


def _read_tables(root: Path) -> list[_Part]:
    tables = _tables(root)
    if not tables:
        raise DataError(
            "The folder has neither annotation.mat nor train.csv, val.csv or test.csv.",
            where=str(root),
            fix="Give the folder of PA-100K that contains them.",
        )
    parts = [_read_table(file, split) for split, file in tables.items()]
    require_same_labels([(part.file, part.labels) for part in parts])
    return parts


def _read_table(file: Path, split: Split) -> _Part:
    rows = _rows(file)
    if len(rows) < 2:
        raise DataError(
            "The table lists no images.",
            where=str(file),
            fix="Download it again: it is incomplete.",
        )
    (line, header), *rows = rows
    labels = LabelSpace(header[1:], where=f"{file}, line {line}")
    for line, cells in rows:
        _check_row(cells, header, f"{file}, line {line}")
    targets = np.array([[_TARGETS[c] for c in cells[1:]] for _, cells in rows], dtype=np.int8)
    return _Part(file, split, labels, [as_key(cells[0]) for _, cells in rows], targets)


def _check_row(cells: Sequence[str], header: Sequence[str], where: str) -> None:
    if len(cells) != len(header):
        raise DataError(
            f"The row has {len(cells)} cells, but the header has {len(header)}.",
            where=where,
            fix="Download the table again: it may be incomplete.",
        )
    if not cells[0]:
        fix = "Begin the row with the file name of the image."
        raise DataError("The row has no image.", where=where, fix=fix)
    for name, cell in zip(header[1:], cells[1:], strict=True):
        if cell not in _TARGETS:
            raise DataError(
                f"The value of {name!r} is {shorten(cell)}, not 1 or 0.",
                where=where,
                fix="Correct the value. If the table has unknown labels, read it with --format "
                "table.",
            )


def _rows(file: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with its line number."""
    # Strict: otherwise a quote without its end makes one cell of the whole rest of the file.
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        return [(reader.line_num, [c.strip() for c in cells]) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(
            f"The row cannot be read: {error}.",
            where=f"{file}, line {reader.line_num}",
            fix="Download the table again.",
        ) from None
