"""CelebA: 40 attributes of faces, in the files of its authors or in Kaggle's tables.

    CelebA/
        Anno/list_attr_celeba.txt        or list_attr_celeba.csv
        Anno/identity_CelebA.txt         optional
        Eval/list_eval_partition.txt     or list_eval_partition.csv; optional
        Img/img_align_celeba/000001.jpg

All files may also be in one folder, as other libraries unpack them.

Source: Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015, and the README of its
release.
"""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.lists import as_key, choose_folder, note, require_equal_counts, shorten
from manylabel.data.records import Record, Records, Split
from manylabel.errors import DataError
from manylabel.files import read_lines, read_text
from manylabel.labels import ABSENT, PRESENT, LabelSpace

_Value = TypeVar("_Value")

_ATTRIBUTES: Final = ("list_attr_celeba.txt", "list_attr_celeba.csv")
_PARTITIONS: Final = ("list_eval_partition.txt", "list_eval_partition.csv")
_IDENTITIES: Final = ("identity_CelebA.txt",)

_FOLDERS: Final = (".", "Anno", "Eval")
_IMAGES: Final = (
    "img_align_celeba",
    "img_align_celeba/img_align_celeba",  # Kaggle's
    "Img/img_align_celeba",
    "img_celeba",
    "Img/img_celeba",
    "images",
    ".",
)

_TARGETS: Final = {"1": PRESENT, "-1": ABSENT}
_SPLITS: Final[Mapping[str, Split]] = {"0": "train", "1": "val", "2": "test"}


def find_celeba(path: Path) -> Path | None:
    """`path`, if it is CelebA's list of attributes or a folder that has it; else None."""
    if path.is_dir():
        return path if _find_file(path, _ATTRIBUTES) else None
    return path if path.name in _ATTRIBUTES else None


def read_celeba(path: Path, *, images: Path | None = None) -> Records:
    """The faces of CelebA. The labels are in the order of the list of attributes.

    1 is present and -1 is absent. No target is unknown, and no image is dropped. The splits are
    those of list_eval_partition: 0 is train, 1 is val and 2 is test. Without this file, images have
    no split. The group of an image is its person in identity_CelebA.

    Args:
        path: The folder, or the list of attributes itself.
        images: The folder of the images: either the aligned faces or the original photographs.

    Raises:
        DataError: A file is malformed or incomplete; the files list different images; an image
            is listed twice; no image is found.
    """
    root, file = _find_attributes(path)
    faces = _read_attributes(file)
    splits = _read_column(_find_file(root, _PARTITIONS), _as_split, faces)
    people = _read_column(_find_file(root, _IDENTITIES), _as_person, faces)
    places = [root / name for name in _IMAGES] if images is None else [images]
    folder = choose_folder(places, faces.keys, file)
    items = (
        Record(key, folder / key, targets, split=splits.get(key), group=people.get(key))
        for key, targets in zip(faces.keys, faces.targets, strict=True)
    )
    persons = len({*people.values()})
    notes = [f"Images are from {folder.name}", *note("Persons, each a group", persons)]
    if not people:
        notes.append(
            f"There is no {_IDENTITIES[0]}, so images have no groups. A person may be in several "
            "splits"
        )
    return Records.of(faces.labels, items, str(path), notes)


@dataclass(frozen=True)
class _Faces:
    """The list of attributes: keys [N] and targets [N, C]."""

    file: Path
    labels: LabelSpace
    keys: Sequence[str]
    targets: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class _Row:
    file: Path
    line: int
    cells: list[str]

    def error(self, what: str, fix: str) -> DataError:
        """The error for this row."""
        return DataError(what, where=f"{self.file}, line {self.line}", fix=fix)


def _find_attributes(path: Path) -> tuple[Path, Path]:
    """The root folder of the data set, and its list of attributes."""
    if not path.is_dir():
        home = path.parent
        return (home.parent if home.name in _FOLDERS else home), path
    file = _find_file(path, _ATTRIBUTES)
    if file is None:
        raise DataError(
            f"There is no {' or '.join(_ATTRIBUTES)} in the folder or in its folder 'Anno'.",
            where=str(path),
            fix="Give the folder that contains this file.",
        )
    return path, file


def _find_file(root: Path, names: Sequence[str]) -> Path | None:
    """The first of the files that exists; None if there is none."""
    places = (root / folder / name for name in names for folder in _FOLDERS)
    return next((place for place in places if place.is_file()), None)


def _read_attributes(file: Path) -> _Faces:
    """The labels, and their targets for each image."""
    rows = _rows(file)
    count = None if _is_table(file) else _stated_count(_next_row(rows, file))
    header = _next_row(rows, file)
    names = header.cells[1:] if _is_table(file) else header.cells
    labels = LabelSpace(names, where=f"{file}, line {header.line}")
    keys: list[str] = []
    flat = array("b")
    for key, row in _rows_by_key(rows, width=1 + len(labels)):
        keys.append(key)
        flat.extend(_targets(row, labels))
    if not keys:
        raise _no_images_error(file)
    if count is not None and count != len(keys):
        raise DataError(
            f"The first line says {count:,} images, but the file lists {len(keys):,}.",
            where=str(file),
            fix="Download it again if it is incomplete. If it is complete, correct the first line.",
        )
    targets = np.frombuffer(flat, dtype=np.int8).reshape(len(keys), len(labels))
    return _Faces(file, labels, keys, targets)


def _next_row(rows: Iterator[_Row], file: Path) -> _Row:
    """The next row. There must be one."""
    row = next(rows, None)
    if row is None:
        raise _no_images_error(file)
    return row


def _no_images_error(file: Path) -> DataError:
    return DataError(
        "The list contains no images.", where=str(file), fix="Download it again: it is incomplete."
    )


def _stated_count(row: _Row) -> int:
    """The number of images that the first line gives."""
    if len(row.cells) != 1 or not row.cells[0].isdecimal() or len(row.cells[0]) > 9:
        raise row.error(
            f"The first line is {shorten(' '.join(row.cells))}, not the number of images.",
            "Give the original file of CelebA. It has the number of images, then the names of the "
            "attributes, then one line for each image.",
        )
    return int(row.cells[0])


def _targets(row: _Row, labels: LabelSpace) -> list[int]:
    try:
        return [_TARGETS[word] for word in row.cells[1:]]
    except KeyError as error:
        word = error.args[0]
        label = labels[row.cells.index(word, 1) - 1]
        raise row.error(
            f"The value of {label!r} is {shorten(word)}, not 1 or -1.",
            "Correct the value. If 0 means absent in your table, read it with --format table.",
        ) from None


def _read_column(
    file: Path | None, convert: Callable[[str], _Value | None], faces: _Faces
) -> dict[str, _Value]:
    """The value of each image in a file that has one value per image. Empty without a file.

    `convert` returns None for a value that is not valid.
    """
    if file is None:
        return {}
    rows = _rows(file)
    if _is_table(file):
        next(rows, None)
    known = set(faces.keys)
    values: dict[str, _Value] = {}
    for key, row in _rows_by_key(rows, width=2):
        value = convert(row.cells[1])
        if value is None:
            what = f"The value {shorten(row.cells[1])} is not valid in this file."
            raise row.error(what, "Download the file again.")
        if key not in known:
            raise row.error(
                f"The image {key!r} is not in {faces.file.name}.",
                "Give files of the same data set.",
            )
        values[key] = value
    require_equal_counts({faces.file: len(faces.keys), file: len(values)})
    return values


def _as_split(word: str) -> Split | None:
    return _SPLITS.get(word)


def _as_person(word: str) -> str | None:
    return word if word.isdecimal() else None


def _is_table(file: Path) -> bool:
    return file.suffix.lower() == ".csv"


def _rows(file: Path) -> Iterator[_Row]:
    """The rows of a file. Cells are separated by blanks, in a table by commas."""
    if not _is_table(file):
        for line, text in read_lines(file):
            yield _Row(file, line, text.split())
        return
    # Strict: otherwise a quote without its end makes one cell of the whole rest of the file.
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        for cells in reader:
            if cells:
                yield _Row(file, reader.line_num, [cell.strip() for cell in cells])
    except csv.Error as error:
        raise DataError(
            f"The row cannot be read: {error}.",
            where=f"{file}, line {reader.line_num}",
            fix="Download the table again.",
        ) from None


def _rows_by_key(rows: Iterator[_Row], *, width: int) -> Iterator[tuple[str, _Row]]:
    """Each row with its key. The key is the path of the image in the first cell."""
    lines: dict[str, int] = {}
    for row in rows:
        if len(row.cells) != width:
            raise row.error(
                f"The line has {len(row.cells)} entries, not {width}.",
                "Download the file again: it may be incomplete.",
            )
        key = as_key(row.cells[0])
        if key == ".":
            what = "The line has no image."
            raise row.error(what, "Begin the line with the file name of the image.")
        if lines.setdefault(key, row.line) != row.line:
            raise row.error(
                f"The image {key!r} is listed in this line and in line {lines[key]}.",
                "Keep the correct line.",
            )
        yield key, row
