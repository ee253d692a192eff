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
from manylabel.files import open_text, read_lines
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
        word: The word for the split in the name of the file: "train", "validation", "val", "test".
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
        """The split that the name of the file gives."""
        return split_of(self.word)

    def images_with(self, columns: NDArray[np.int64]) -> NDArray[np.int32]:
        """The images that have a row of a wanted label, in order: positions in `ids`.

        Args:
            columns: The column of each label, -1 for a label that is not wanted.
        """
        return np.unique(self.image[columns[self.label] >= 0])

    def fill(
        self,
        targets: NDArray[np.int8],
        images: NDArray[np.int32],
        columns: NDArray[np.int64],
    ) -> int:
        """Write the verified labels into `targets`.

        Args:
            targets: int8 [N, C] of `images`, all unknown, C-contiguous.
            images: The images that `images_with` returns.
            columns: The column of each label, -1 for a label that is not wanted.

        Returns:
            The number of targets that were verified both as present and as absent.
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


def find_verified(path: Path) -> tuple[Path, list[Path]]:
    """The root folder of the data set, and its files of verified labels: train, val, test, others.

    Raises:
        DataError: There are no such files, or a split has several.
    """
    if not path.is_dir():
        home = path.parent
        return (home.parent if home.name in _FOLDERS else home), [path]
    files = verified_files(path)
    if not files:
        raise DataError(
            "There is no *-annotations-human-imagelabels*.csv in the folder or in its folder "
            "'annotations'.",
            where=str(path),
            fix="Give the folder that contains the verified image-level labels.",
        )
    first: dict[Split, Path] = {}
    for file in files:
        split = split_of(_word(file))
        if split and first.setdefault(split, file) != file:
            raise DataError(
                f"Two files belong to the split {split}.",
                where=f"{first[split]} and {file}",
                fix="Move one of them to another folder. The file of boxable labels repeats rows "
                "of the file of all labels.",
            )
    return path, sorted(files, key=_rank)


def _rank(file: Path) -> int:
    split = split_of(_word(file))
    return SPLITS.index(split) if split else len(SPLITS)


def _word(file: Path) -> str:
    """The word for the split in the name of a file of verified labels; empty if there is none."""
    match = _VERIFIED.fullmatch(file.name)
    return match[1] if match else ""


def is_verified(file: Path) -> bool:
    """Whether a file has the name of a file of verified labels."""
    return _VERIFIED.fullmatch(file.name) is not None


def verified_files(root: Path) -> list[Path]:
    """The files of verified labels."""
    return [file for file in files_in(root, "*.csv") if is_verified(file)]


def files_in(root: Path, pattern: str) -> list[Path]:
    """The files that match the pattern, in all folders that CSV files may be in."""
    return [file for folder in _FOLDERS for file in sorted((root / folder).glob(pattern))]


def read_trainable(root: Path) -> list[str] | None:
    """The LabelNames that the labels are limited to; None if there is no such file.

    Raises:
        DataError: There are several such files, or a file has a label twice.
    """
    files = files_in(root, "*classes-trainable*.txt")
    if not files:
        return None
    if len(files) > 1:
        raise DataError(
            "There are two files of trainable labels.",
            where=f"{files[0]} and {files[1]}",
            fix="Move one of them to another folder.",
        )
    lines: dict[str, int] = {}
    for line, mid in read_lines(files[0]):
        if lines.setdefault(mid, line) != line:
            raise DataError(
                f"The label {mid!r} is in two lines.",
                where=f"{files[0]}, lines {lines[mid]} and {line}",
                fix="Remove one of them.",
            )
    return list(lines)


def read_verified(file: Path, mids: dict[str, int]) -> Part:
    """The rows of a file of verified labels.

    Args:
        file: The CSV file.
        mids: The number of each LabelName. New LabelNames are added to it.

    Raises:
        DataError: The file is malformed, incomplete or empty.
    """
    ids: dict[str, int] = {}
    image, label, target = array("i"), array("i"), array("b")
    for line, (name, mid, confidence) in _verified_rows(file):
        if confidence not in _TARGETS:
            raise DataError(
                f"The confidence is {shorten(confidence)}, not 1 or 0.",
                where=f"{file}, line {line}",
                fix="Give the labels that people verified. Labels from machines have other values.",
            )
        if not mid or (name not in ids and not _is_id(name)):
            raise DataError(
                f"The ImageID {shorten(name)} or the LabelName {shorten(mid)} is not valid.",
                where=f"{file}, line {line}",
                fix="Correct or remove the row.",
            )
        image.append(ids.setdefault(name, len(ids)))
        label.append(mids.setdefault(mid, len(mids)))
        target.append(_TARGETS[confidence])
    if not ids:
        raise DataError(
            "The file has no rows.", where=str(file), fix="Download it again: it is incomplete."
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
    """Whether the file of an image can have this name."""
    return bool(name) and not set(name) & set("/\\\0")


def _verified_rows(file: Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """For each row, its line number, and its ImageID, LabelName and Confidence."""
    rows = _csv_rows(file)
    line, header = next(rows, (1, []))
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"The header does not have {', '.join(missing)}.",
            where=f"{file}, line {line}",
            fix="Give the original file, whose header is ImageID,Source,LabelName,Confidence.",
        )
    pick = itemgetter(*(header.index(name) for name in _COLUMNS))
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"The row has {len(cells)} cells, but the header has {len(header)}.",
                where=f"{file}, line {line}",
                fix="Download the file again: it may be incomplete.",
            )
        yield line, pick(cells)


def _csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with its line number.

    Rows are read one by one: the file of the training images has tens of millions of them.
    """
    line = 1
    try:
        with open_text(file) as stream:
            # Strict: otherwise a quote without its end makes one cell of the whole rest of the
            # file.
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                line = reader.line_num
                if cells:
                    yield line, cells
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"The file cannot be read as CSV: {error}.",
            where=f"{file}, after line {line}",
            fix="Download it again.",
        ) from None


def name_labels(root: Path, wanted: Sequence[str]) -> tuple[list[str], int]:
    """The names of the labels, and the number of labels without a DisplayName.

    If several described labels have the same name, the LabelName is added to it. All described
    labels count here, wanted or not. So the name of a label does not depend on the wanted labels.

    Args:
        root: The root folder of the data set.
        wanted: The LabelNames.

    Raises:
        DataError: A file of descriptions is malformed.
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
    """Each LabelName with its DisplayName. Some versions have a header, which is skipped."""
    for line, cells in _csv_rows(file):
        words = [cell.strip() for cell in cells]
        if len(words) != 2 or not all(words):
            raise DataError(
                "The row is not a LabelName and a DisplayName.",
                where=f"{file}, line {line}",
                fix="Download the file again, or correct the row.",
            )
        if words != ["LabelName", "DisplayName"]:
            yield words[0], words[1]
