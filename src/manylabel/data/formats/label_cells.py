"""Reads a column of texts that name the labels of each image, from CSV and from Parquet alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.cell_lists import CellList, read_list
from manylabel.data.formats.delimiters import guess_delimiter, split_labels
from manylabel.data.formats.lists import shorten
from manylabel.data.formats.missing_words import is_missing_word
from manylabel.data.formats.name_faults import fault_of_name
from manylabel.data.formats.room import matrix
from manylabel.errors import DataError
from manylabel.files import read_lines
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace

MissingWords = Literal["no-label", "label"]
LabelText = Literal["auto", "text"]

AS_TEXT: Final = "--option label_cells=text"
_BITS: Final = re.compile("[01]{2,}")
_BIT: Final = frozenset({"0", "1", "0.0", "1.0", "0.", "1."})
_NUMBERED: Final = (
    "Give the names of the labels in their order, one on each line of a text file: "
    "--option label_names=names.txt. Or write the names instead of the numbers."
)


@final
@dataclass(frozen=True)
class CellRules:
    """How texts that name labels are read.

    Args:
        delimiter: The text between two labels; None: it is found from all cells.
        missing_words: Whether words such as nan and None are no label, or are labels.
        label_cells: `text`: brackets, quotes and numbers are names as they are written.
        label_names: A text file with all labels in order, one on each line.
    """

    delimiter: str | None = None
    missing_words: MissingWords = "no-label"
    label_cells: LabelText = "auto"
    label_names: Path | None = None

    def is_missing(self, name: str) -> bool:
        """Whether a text stands for no label."""
        return self.missing_words == "no-label" and is_missing_word(name)

    def declared(self) -> list[str] | None:
        """All labels in order, from the file `label_names`; None without one."""
        if self.label_names is None:
            return None
        return [name for _, name in read_lines(self.label_names)]


@final
@dataclass(frozen=True)
class NamedLabels:
    """The labels that a column of texts names.

    Args:
        space: The C labels.
        targets: int8 [N, C], in the order of the rows.
        single: bool [N], whether a row names one label, and not in a list.
        notes: How the labels were read, for people.
    """

    space: LabelSpace
    targets: NDArray[np.int8]
    single: NDArray[np.bool_]
    notes: list[str]


@final
@dataclass(frozen=True)
class Column:
    """A column of texts.

    Args:
        name: Its header.
        cells: The text of each row, stripped; empty for a row without labels.
        where: The file and column, for messages.
        at: Gives the place of a row's cell, for messages.
    """

    name: str
    cells: Sequence[str]
    where: str
    at: Callable[[int], str]

    def place(self, cell: str) -> str:
        """The place of the first row with this cell."""
        return self.at(self.cells.index(cell))


def labels_in_texts(
    column: Column, rules: CellRules, declared: Sequence[str] | None = None
) -> NamedLabels:
    """The labels that the cells name. All other labels are absent.

    Args:
        column: The column.
        rules: How cells are read.
        declared: All labels in order; None: those of `label_names`, or else the labels that occur,
            in alphabetical order.

    Raises:
        DataError: The column is empty, holds numbers in place of names, or something that is
            neither a name nor a list of names; it is unclear what separates labels; or a label is
            not in `declared`.
    """
    if declared is None:
        declared = rules.declared()
    distinct = list(dict.fromkeys(column.cells))
    filled = [cell for cell in distinct if cell and not rules.is_missing(cell)]
    if not filled and declared is None:
        raise DataError(
            f"There are no labels: the column {column.name!r} is empty in every row.",
            where=column.where,
            fix="Write the labels into it, or name another column with --label-column.",
        )
    read = _read_cells(column, filled, rules)
    if read.numbers is not None:
        return _from_vectors(column, read.numbers, declared)
    return _from_names(column, read, rules, declared)


@dataclass(frozen=True)
class _Read:
    """The names in each different cell; or the numbers in each, if all hold vectors."""

    names: Mapping[str, list[str]] = field(default_factory=dict)
    numbers: Mapping[str, list[float]] | None = None
    how: str = ""
    lists: bool = False


def _read_cells(column: Column, filled: Sequence[str], rules: CellRules) -> _Read:
    plain = rules.label_cells == "text"
    lists = {} if plain else {c: found for c in filled if (found := _list_in(c)) is not None}
    for cell, found in lists.items():
        if found.fault is not None:
            raise _list_error(column, cell, f"{found.fault}: {shorten(cell)}.")
    if any(found.text is None for found in lists.values()):
        return _read_lists(column, filled, lists, rules)
    if len(lists) < len(filled):
        lists = {}  # some names are in brackets; they are refused where names are checked
    inner = {cell: lists[cell].text or "" if lists else cell for cell in filled}
    vectors = None if plain else _bits(list(inner.values()))
    if vectors is not None:
        return _Read(numbers=dict(zip(filled, vectors, strict=True)))
    mark = rules.delimiter
    if mark is None:
        chosen = set(filled)
        texts = [inner[cell] for cell in column.cells if cell in chosen]
        mark = guess_delimiter(texts, column.where)
    names = {cell: split_labels(text, mark) for cell, text in inner.items()}
    if not plain:
        _require_names(column, names)
    how = "one per row" if mark is None else f"separated by {mark!r}"
    return _Read(names, None, f"{how}, without brackets around them" if lists else how, bool(lists))


def _list_in(cell: str) -> CellList | None:
    return read_list(cell) if cell[-1] in '])}"' else None


def _read_lists(
    column: Column, filled: Sequence[str], lists: Mapping[str, CellList], rules: CellRules
) -> _Read:
    """The names or numbers in a column of which some cells are lists; all have to be."""
    other = next((cell for cell in filled if cell not in lists), None)
    first = next(cell for cell, found in lists.items() if found.text is None)
    if other is not None:
        raise _list_error(
            column,
            other,
            f"The cell holds {shorten(other)}, but other cells hold lists: {shorten(first)}.",
        )
    if rules.delimiter is not None:
        raise DataError(
            f"The cells of the column {column.name!r} are lists, such as {shorten(first)}, which "
            "need no delimiter.",
            where=column.where,
            fix="Leave --label-delimiter out.",
        )
    vectors = {cell: found.numbers for cell, found in lists.items() if found.numbers is not None}
    if not vectors:
        names = {cell: _named(found) for cell, found in lists.items()}
        return _Read(names, None, "as lists that are written as text", True)
    odd = next((cell for cell, found in lists.items() if found.numbers is None), None)
    if odd is not None and lists[odd].names != []:
        raise _list_error(column, odd, f"{shorten(odd)} is a list of names, others of numbers.")
    vectors |= {cell: [] for cell in lists if cell not in vectors}
    return _Read(numbers=vectors, lists=True)


def _named(found: CellList) -> list[str]:
    names = split_labels(found.text or "", ",") if found.names is None else found.names
    return [name.strip() for name in names if name.strip()]


def _list_error(column: Column, cell: str, what: str) -> DataError:
    return DataError(
        what,
        where=column.place(cell),
        fix='Write a list of names in every cell, such as ["heron", "reed"], or the names with '
        f"a mark between them: heron|reed. If each cell is to be read as it is written: {AS_TEXT}.",
    )


def _bits(texts: Sequence[str]) -> list[list[float]] | None:
    """The numbers of cells that hold only 0 and 1, such as `0 1 1`, `0,1,1` or `011`; else None."""
    if all(map(_BITS.fullmatch, texts)) and len(set(map(len, texts))) == 1:
        return [[float(bit) for bit in text] for text in texts]
    vectors = []
    for text in texts:
        parts = re.split(r"[\s,;|]+", text)
        if not _BIT.issuperset(parts):
            return None
        vectors.append([float(part) for part in parts])
    return vectors


def _from_vectors(
    column: Column, numbers: Mapping[str, list[float]], declared: Sequence[str] | None
) -> NamedLabels:
    """Labels from cells with a number for each label."""
    if declared is None and all(len(vector) == 1 for vector in numbers.values()):
        raise DataError(
            f"The column {column.name!r} is taken for names of labels, but holds only 0 and 1.",
            where=column.place(next(iter(numbers))),
            fix="If it is the truth of one label, give the column the name of this label. If 0 and "
            f"1 are names of labels: {AS_TEXT}. Otherwise name the column of labels with "
            "--label-column.",
        )
    vectors = [numbers.get(cell, []) for cell in column.cells]
    return targets_of_vectors(
        np.array([value for vector in vectors for value in vector]),
        np.array(list(map(len, vectors))),
        declared,
        column.where,
        column.name,
    )


def targets_of_vectors(
    values: NDArray[np.float64],
    lengths: NDArray[np.int64],
    names: Sequence[str] | None,
    where: str,
    column: str,
) -> NamedLabels:
    """Labels from lists with a number for each label: 1 present, 0 absent, -1 unknown.

    Args:
        values: The numbers of all rows, one after another.
        lengths: How many numbers each of N rows has; none: all its labels are unknown.
        names: The C labels in order; None: they are not known.
        where: The file and column, for messages.
        column: The header of the column.

    Raises:
        DataError: The labels are not known, or a row has not a 1, 0 or -1 for each.
    """
    if names is None:
        raise DataError(
            f"The column {column!r} holds lists of numbers, not names of labels.",
            where=where,
            fix=_NUMBERED,
        )
    space = LabelSpace(names, where=where)
    row_of = np.repeat(np.arange(len(lengths)), lengths)
    wrong = (lengths != 0) & (lengths != len(space))
    wrong[row_of[~np.isin(values, (PRESENT, ABSENT, UNKNOWN))]] = True
    if wrong.any():
        raise DataError(
            f"The list is not a 1, 0 or -1 for each of the {len(space)} labels in label_names.",
            where=f"{where}, row {int(np.argmax(wrong)) + 1}",
            fix="Correct the list, or the file of names.",
        )
    targets = matrix(len(lengths), len(space), UNKNOWN, where)
    targets[lengths > 0] = values.reshape(-1, len(space))
    notes = [
        f"Labels are read from column {column!r}: a number for each of the {len(space)} names in "
        "label_names, 1 present, 0 absent"
    ]
    if gaps := int(np.count_nonzero(lengths == 0)):
        notes.append(f"Rows without numbers, all labels unknown: {gaps:,}")
    return NamedLabels(space, targets, np.zeros(len(lengths), dtype=bool), notes)


def _from_names(
    column: Column, read: _Read, rules: CellRules, declared: Sequence[str] | None
) -> NamedLabels:
    known = () if declared is None else frozenset(declared)
    seen = {name for names in read.names.values() for name in names} | {*column.cells}
    missing = {name for name in seen if rules.is_missing(name) and name not in known}
    kept: dict[str, list[str]] = {}
    words: dict[str, int] = {}
    times = Counter(column.cells)
    for cell in times:
        names = read.names.get(cell, [cell] if cell else [])
        gaps = missing.intersection(names) if missing else ()
        kept[cell] = [name for name in names if name not in gaps] if gaps else names
        for gap in gaps:
            words[gap] = words.get(gap, 0) + times[cell]
    space = label_space({name for names in kept.values() for name in names}, declared, column.where)
    rows = {cell: row for row, cell in enumerate(kept)}
    distinct = matrix(len(kept), len(space), ABSENT, column.where)
    position = {name: i for i, name in enumerate(space)}
    for row, names in enumerate(kept.values()):
        distinct[row, [position[name] for name in names]] = PRESENT
    codes = np.fromiter((rows[cell] for cell in column.cells), np.int64, len(column.cells))
    sizes = np.array([len(names) for names in kept.values()])
    notes = [f"Labels are read from column {column.name!r}, {read.how}", *note_of_words(words)]
    if empty := int(np.count_nonzero(sizes[codes] == 0)):
        notes.append(f"Rows without a label, all labels absent: {empty:,}")
    single = (sizes[codes] == 1) & (not read.lists)
    return NamedLabels(space, distinct[codes], single, notes)


def label_space(names: set[str], declared: Sequence[str] | None, where: str) -> LabelSpace:
    """The labels that are declared, or else those that occur, in alphabetical order.

    Raises:
        DataError: A label that occurs is not declared.
    """
    if declared is None:
        return LabelSpace(sorted(names), where=where)
    space = LabelSpace(declared, where=where)
    foreign = sorted(name for name in names if name not in space)
    if foreign:
        raise DataError(
            f"The label {foreign[0]!r} is not one of the {len(space)} declared labels.",
            where=where,
            fix="Correct the label, or the list of labels.",
        )
    return space


def note_of_words(words: Mapping[str, int]) -> list[str]:
    """A note that counts words such as nan that are not read as labels."""
    if not words:
        return []
    shown = ", ".join(f"{word!r} {count:,}" for word, count in list(words.items())[:5])
    return [
        f"Words for missing values, read as no label: {shown} (if they are names of labels: "
        "--option missing_words=label)"
    ]


def _require_names(column: Column, lists: Mapping[str, Sequence[str]]) -> None:
    """Refuse names that are pieces of lists or quoted texts, and errors of a spreadsheet."""
    checked: set[str] = set()
    for cell, names in lists.items():
        for name in names:
            if name in checked:
                continue
            checked.add(name)
            if (fault := fault_of_name(name)) is not None:
                raise DataError(
                    f"The label {shorten(name)} {fault}; the whole cell is {shorten(cell)}.",
                    where=column.place(cell),
                    fix="Write the names without brackets and quotes, with a mark between them: "
                    'heron|reed; or write a list in every cell: ["heron", "reed"]. If such '
                    f"characters belong to the names: {AS_TEXT}.",
                )
