"""The CSV files of Open Images: rows of verified labels, names of classes, classes to train on."""

from __future__ import annotations

import csv
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.lists import shorten
from manylabel.data.records import SPLITS, Split, split_of
from manylabel.errors import DataError
from manylabel.files import read_errors, read_lines
from manylabel.labels import ABSENT, PRESENT, UNKNOWN

_FOLDERS: Final = (".", "annotations", "labels")
_VERIFIED: Final = re.compile(r"(?:.*-)?([a-z]+)-annotations-human-imagelabels(?:-boxable)?\.csv")
_COLUMNS: Final = ("ImageID", "LabelName", "Confidence")
_TARGETS: Final = {"1": PRESENT, "1.0": PRESENT, "0": ABSENT, "0.0": ABSENT}


@final
@dataclass(frozen=True)
class Part:
    """One file of R rows of verified labels.

    Args:
        file: The file.
        word: What stands for the split in its name: "train", "validation", "val", "test".
        ids: The ImageIDs, in the order of their first rows.
        image: int32 [R]: the position of each row's image in `ids`.
        label: int32 [R]: the number of each row's LabelName.
        target: int8 [R]: 1 verified as present, 0 as absent.
    """

    file: Path
    word: str
    ids: list[str]
    image: NDArray[np.int32]
    label: NDArray[np.int32]
    target: NDArray[np.int8]

    @property
    def split(self) -> Split | None:
        """The split that the file's name says."""
        return split_of(self.word)

    def images_with(self, columns: NDArray[np.int64]) -> NDArray[np.int32]:
        """The images that have a row of a wanted label, in order."""
        return np.unique(self.image[columns[self.label] >= 0])

    def fill(
        self,
        targets: NDArray[np.int8],
        images: NDArray[np.int32],
        columns: NDArray[np.int64],
    ) -> int:
        """Write what people verified into `targets`; gives how many were verified both ways.

        Args:
            targets: int8 [N, C] of `images`, all unknown, rows one after the other in memory.
            images: Those that `images_with` gives.
            columns: The column of each label, -1 for none.
        """
        wanted = columns[self.label] >= 0
        rows = np.searchsorted(images, self.image[wanted])
        cells = rows * targets.shape[1] + columns[self.label[wanted]]
        given = self.target[wanted]
        present, absent = cells[given == PRESENT], cells[given == ABSENT]
        flat = targets.reshape(-1)
        flat[absent] = ABSENT
        both = np.unique(present[flat[present] == ABSENT])
        flat[present] = PRESENT
        flat[both] = UNKNOWN
        return len(both)


def locate(path: Path) -> tuple[Path, list[Path]]:
    """The root of the data set, and its files of verified labels: train, val, test, others."""
    if not path.is_dir():
        home = path.parent
        return (home.parent if home.name in _FOLDERS else home), [path]
    files = verified_files(path)
    if not files:
        raise DataError(
            "There is no *-annotations-human-imagelabels*.csv, here or in 'annotations'.",
            where=str(path),
            fix="Give the folder that holds the verified image-level labels.",
        )
    first: dict[Split, Path] = {}
    for file in files:
        split = split_of(_word(file))
        if split and first.setdefault(split, file) != file:
            raise DataError(
                f"Two files are of the split {split}.",
                where=f"{first[split]} and {file}",
                fix="Move one of them away: those of all labels and of the boxable ones overlap.",
            )
    return path, sorted(files, key=_rank)


def _rank(file: Path) -> int:
    split = split_of(_word(file))
    return SPLITS.index(split) if split else len(SPLITS)


def _word(file: Path) -> str:
    """What stands for the split in the name of a file of verified labels."""
    match = _VERIFIED.fullmatch(file.name)
    return match[1] if match else ""


def is_verified(file: Path) -> bool:
    """Whether the name is that of a file of verified labels."""
    return _VERIFIED.fullmatch(file.name) is not None


def verified_files(root: Path) -> list[Path]:
    """The files of verified labels."""
    return [file for file in files_in(root, "*.csv") if is_verified(file)]


def files_in(root: Path, pattern: str) -> list[Path]:
    """The files of that name in the folders that CSV files may lie in."""
    return [file for folder in _FOLDERS for file in sorted((root / folder).glob(pattern))]


def read_trainable(root: Path) -> list[str] | None:
    """The LabelNames that labels are restricted to, or None."""
    files = files_in(root, "*classes-trainable*.txt")
    if not files:
        return None
    if len(files) > 1:
        raise DataError(
            "There are two files of trainable labels.",
            where=f"{files[0]} and {files[1]}",
            fix="Move one of them away.",
        )
    lines: dict[str, int] = {}
    for line, mid in read_lines(files[0]):
        if lines.setdefault(mid, line) != line:
            raise DataError(
                f"The label {mid!r} stands in two lines.",
                where=f"{files[0]}, lines {lines[mid]} and {line}",
                fix="Remove one of them.",
            )
    return list(lines)


def read_verified(file: Path, mids: dict[str, int]) -> Part:
    """The rows of a file; LabelNames that are new are added to `mids`, which numbers them."""
    ids: dict[str, int] = {}
    image, label, target = array("i"), array("i"), array("b")
    for line, (name, mid, confidence) in _verified_rows(file):
        if confidence not in _TARGETS:
            raise DataError(
                f"The confidence is {shorten(confidence)}, neither 1 nor 0.",
                where=f"{file}, line {line}",
                fix="Give the labels that people verified; those of machines have other values.",
            )
        if not mid or (name not in ids and not _is_id(name)):
            raise DataError(
                f"ImageID {shorten(name)} or LabelName {shorten(mid)} cannot be one.",
                where=f"{file}, line {line}",
                fix="Correct or remove the row.",
            )
        image.append(ids.setdefault(name, len(ids)))
        label.append(mids.setdefault(mid, len(mids)))
        target.append(_TARGETS[confidence])
    if not ids:
        raise DataError(
            "The file has no rows.", where=str(file), fix="Fetch it again; it is cut short."
        )
    return Part(
        file,
        _word(file),
        list(ids),
        np.frombuffer(image, dtype=np.int32),
        np.frombuffer(label, dtype=np.int32),
        np.frombuffer(target, dtype=np.int8),
    )


def _is_id(name: str) -> bool:
    """Whether an image's file can be called so."""
    return bool(name) and not set(name) & set("/\\\0")


def _verified_rows(file: Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """Each row's line with its ImageID, LabelName and Confidence."""
    rows = _csv_rows(file)
    line, header = next(rows, (1, []))
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"The header lacks {', '.join(missing)}.",
            where=f"{file}, line {line}",
            fix="Give the file as it is released: ImageID,Source,LabelName,Confidence.",
        )
    pick = itemgetter(*(header.index(name) for name in _COLUMNS))
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"The row has {len(cells)} cells and the header {len(header)}.",
                where=f"{file}, line {line}",
                fix="Fetch the file again; it may be cut short.",
            )
        yield line, pick(cells)


def _csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold anything, each with its line; read as they are asked for.

    The file of the training images has tens of millions of rows: it is never held whole.
    """
    line = 1
    try:
        with read_errors(file), file.open(encoding="utf-8-sig", newline="") as stream:
            # Strict: a quote that is never closed would swallow the rest of the file as one cell.
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                line = reader.line_num
                if cells:
                    yield line, cells
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"The file cannot be read as CSV: {error}.",
            where=f"{file}, after line {line}",
            fix="Fetch it again.",
        ) from None


def name_labels(root: Path, wanted: Sequence[str]) -> tuple[list[str], int]:
    """What the labels are called, and how many have no name of their own.

    Whether a name repeats is judged among all that are described, so that a label is called the
    same in every selection.
    """
    described: dict[str, str] = {}
    for file in files_in(root, "*class-descriptions*.csv"):
        for mid, name in _read_descriptions(file):
            described.setdefault(mid, name)
    uses = Counter(described.values())
    names = []
    for mid in wanted:
        name = described.get(mid, mid)
        names.append(f"{name} ({mid})" if uses[name] > 1 else name)
    return names, sum(mid not in described for mid in wanted)


def _read_descriptions(file: Path) -> Iterator[tuple[str, str]]:
    """Each LabelName with its DisplayName; the header that some versions have is passed over."""
    for line, cells in _csv_rows(file):
        words = [cell.strip() for cell in cells]
        if len(words) != 2 or not all(words):
            raise DataError(
                "The row is not a LabelName and a DisplayName.",
                where=f"{file}, line {line}",
                fix="Fetch the file again, or correct the row.",
            )
        if words != ["LabelName", "DisplayName"]:
            yield words[0], words[1]
