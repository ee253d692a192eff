"""Decides which columns of a table are labels, where each label has a column of its own.

Whatever a column is taken for, its content has to agree. A column that is nearly a label is an
error: otherwise a label would be lost without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.tabular import TRUTH_NAMES, WEAK_LABEL_NAMES, listed
from manylabel.data.formats.truth_cells import (
    ALL_CODES,
    COUNT,
    EMPTY,
    FRACTION,
    GAP,
    LAST_WORD,
    MARK,
    NO,
    NUMBER,
    TEXT,
    YES,
)
from manylabel.errors import DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN

IDS: Final = frozenset(
    {"id", "index", "idx", "image_id", "img_id", "imageid", "photo_id", "file_id", "annotation_id"}
    | {"width", "height", "xmin", "ymin", "xmax", "ymax"}
)
"""Headers of columns that are never labels, whatever they hold."""

_MEASURE_NAMES: Final = (
    "x1 y1 x2 y2 x_min y_min x_max y_max left top right bottom bbox box boxes area angle "
    "depth channels size filesize bytes score confidence conf prob probability weight votes "
    "n_votes count num number lat latitude lon lng long longitude altitude elevation heading "
    "timestamp time date datetime year month day hour minute age quality rating stars brightness "
    "sharpness blur iou fold epoch level temperature duration frame page position order rank row "
    "col column class_id classid category_id label_id notes note comment comments remark remarks "
    "description caption title text url link source author photographer user user_id annotator "
    "camera lens iso exposure license licence md5 sha1 sha256 hash phash uuid"
)
_MEASURES: Final = frozenset(_MEASURE_NAMES.split())
"""Headers of columns that may hold numbers or nothing without being labels."""

_BOX: Final = frozenset("xywh")
"""Headers of the sides of a box, if all of them are there."""

_FLAG_NAMES: Final = (
    "difficult truncated occluded verified reviewed checked approved iscrowd crowd ignore ignored "
    "isoccluded istruncated isgroupof isdepiction isinside valid flagged used annotated labelled "
    "labeled skipped duplicate is_crowd is_valid is_train is_test is_duplicate done"
)
_FLAGS: Final = frozenset(_FLAG_NAMES.split())
"""Headers of columns of 0 and 1 that tell of an annotation, not of what is in the picture."""

_NEARLY: Final = 0.2
"""A column with this share of truth among other texts is nearly a label."""
_ZEROS: Final = 0.1
"""Whole numbers of which this share is 0 are counts of something."""
_SAYS: Final = (
    "Write 1 for present, 0 for absent, -1 or nothing for unknown. If the column is not a label, "
    "leave it out: {out}"
)


@final
@dataclass(frozen=True)
class Content:
    """What the cells of a column hold: the number of cells with each code."""

    counts: Mapping[int, int]

    @classmethod
    def of(cls, codes: NDArray[np.int8]) -> Content:
        """The content of a column with these codes [N]."""
        found = np.bincount(codes.astype(np.intp) - ALL_CODES.start, minlength=len(ALL_CODES))
        return cls(dict(zip(ALL_CODES, found.tolist(), strict=True)))

    def number(self, *codes: int) -> int:
        """How many cells have one of these codes."""
        return sum(self.counts[code] for code in codes)

    @property
    def filled(self) -> int:
        """How many cells hold something."""
        return sum(self.counts.values()) - self.number(EMPTY, GAP)

    @property
    def truth(self) -> int:
        """How many cells say whether a label is present."""
        return self.number(PRESENT, ABSENT, UNKNOWN, YES, NO, MARK)


@final
@dataclass(frozen=True)
class CodedColumns:
    """The columns of a table that may be labels.

    Args:
        names: The header of each of K columns.
        codes: int8 [N, K]: codes of `truth_cells`.
        where: The file, for messages.
        cell: Gives the text of a cell and its place, for messages, from the row and the position.
    """

    names: Sequence[str]
    codes: NDArray[np.int8]
    where: str
    cell: Callable[[int, int], tuple[str, str]]


@final
@dataclass(frozen=True)
class Roles:
    """Which of the columns are labels, by position, and what people should know.

    Args:
        labels: Positions of the columns that are labels.
        words: Those of them in which truth is written in words or marks.
        empty: The target of an empty cell.
        notes: What was decided.
    """

    labels: list[int]
    words: list[int] = field(default_factory=list)
    empty: int = UNKNOWN
    notes: list[str] = field(default_factory=list)


def choose_labels(table: CodedColumns) -> Roles:
    """The columns that are labels.

    Raises:
        DataError: No column is a label, a column is nearly one, or it is unclear which columns are.
    """
    if not table.codes.size:
        raise _no_labels(table, [])
    lowest, highest = table.codes.min(axis=0), table.codes.max(axis=0)
    labels: list[int] = []
    texts: list[str] = []
    for j, name in enumerate(table.names):
        if name.lower() in IDS or not name or name.lower().startswith("unnamed:"):
            continue
        if lowest[j] >= UNKNOWN and highest[j] <= PRESENT:
            labels.append(j)
            continue
        content = Content.of(table.codes[:, j])
        if _is_label(table, j, content):
            labels.append(j)
        elif 2 * content.number(TEXT) >= max(1, content.filled):
            texts.append(name)
    named = [table.names[j] for j in labels]
    if not labels:
        raise _no_labels(table, texts)
    flags = [name for name in named if name.lower() in _FLAGS]
    if texts and len(flags) == len(named):
        raise _only_flags(table, flags, texts)
    words = [j for j in labels if highest[j] > PRESENT]
    roles = Roles(labels, words)
    notes = [_flags_note(flags)] if flags else []
    return _with_words(table, roles, notes)


def column_of_names(table: CodedColumns) -> int | None:
    """The position of a column such as `class` that names the labels; None if there is none.

    Raises:
        DataError: There are several, or other columns may be the labels, too.
    """
    contents = {
        j: Content.of(table.codes[:, j]) for j in range(len(table.names)) if _weak(table, j)
    }
    named = [j for j, found in contents.items() if 2 * found.number(TEXT) > found.filled]
    if not named:
        return None
    rivals = [table.names[j] for j in named[1:]]
    for j, name in enumerate(table.names):
        small = name.lower()
        if j not in contents and small not in IDS | _FLAGS | _MEASURES | TRUTH_NAMES and name:
            found = Content.of(table.codes[:, j])
            if found.filled and found.truth == found.filled:
                rivals.append(name)
    if not rivals:
        return named[0]
    name = table.names[named[0]]
    raise DataError(
        f"It is unclear which columns hold the labels: {name!r}, or {listed(rivals)}.",
        where=table.where,
        fix=f"If {name!r} names the labels: --label-column {_typed(name)}. Otherwise leave it out: "
        f"{leave_out(name)}",
    )


def _weak(table: CodedColumns, j: int) -> bool:
    return table.names[j].lower() in WEAK_LABEL_NAMES


def require_present(table: CodedColumns) -> None:
    """Refuse rows that name a label and say in another column that it is absent.

    Raises:
        DataError: A column such as `present` or `confidence` has a 0.
    """
    for j, name in enumerate(table.names):
        absent = np.flatnonzero((table.codes[:, j] == ABSENT) | (table.codes[:, j] == NO))
        if name.lower() in TRUTH_NAMES and absent.size:
            text, where = table.cell(int(absent[0]), j)
            raise DataError(
                f"The row names a label, and the column {name!r} says {text!r}: absent?",
                where=where,
                fix="Remove the rows of absent labels, or give each label a column of 1, 0 and -1. "
                f"If the column says something else, leave it out: {leave_out(name)}",
            )


def _with_words(table: CodedColumns, roles: Roles, notes: list[str]) -> Roles:
    """The same roles, with what empty cells mean, and notes on words, marks and missing values."""
    codes = table.codes
    words = [code for code in (YES, NO, MARK) if (codes[:, roles.words] == code).any()]
    if YES in words or NO in words:
        notes.append("Words such as yes, no, TRUE and FALSE are read as present and absent")
    gaps = int(np.count_nonzero(codes[:, roles.labels] == GAP)) if codes.min() == GAP else 0
    if gaps:
        notes.append(f"Words for missing values such as nan, read as unknown: {gaps:,}")
    empty = UNKNOWN
    if MARK in words:
        if not ((codes[:, roles.labels] == ABSENT) | (codes[:, roles.labels] == NO)).any():
            empty = ABSENT
            notes.append("Present is marked with a cross or tick, so an empty cell is absent")
        else:
            notes.append("A cross or tick is read as present, an empty cell as unknown")
    meaning = "-1 or empty unknown" if empty == UNKNOWN else "empty absent"
    how = f"Each of {len(roles.labels)} columns is a label: 1 present, 0 absent, {meaning}"
    return Roles(roles.labels, roles.words, empty, [how, *notes])


def _is_label(table: CodedColumns, j: int, content: Content) -> bool:
    """Whether a column is a label.

    Raises:
        DataError: It nearly is one.
    """
    name = table.names[j]
    measure = name.lower() in _MEASURES or name.lower() in WEAK_LABEL_NAMES
    measure = measure or (name.lower() in _BOX and set(map(str.lower, table.names)) >= _BOX)
    if content.filled == 0:
        if measure:
            return False
        raise DataError(
            f"The column {name!r} is empty in every row.",
            where=f"{table.where}, column {name!r}",
            fix="If it is a label, write 0 (absent) or -1 (unknown) into it. If it is not, remove "
            f"it or leave it out: {leave_out(name)}",
        )
    if content.truth == content.filled:
        return True
    if 2 * content.truth >= content.filled and not _is_measure(measure, content):
        raise _odd_cell(table, j)
    if measure:
        return False
    if not content.number(COUNT, NUMBER, TEXT):
        raise _fractions(table, j)
    numbers = content.filled - content.number(TEXT, FRACTION, NUMBER)
    if numbers == content.filled and content.number(ABSENT) >= _ZEROS * content.filled:
        raise _counts(table, j)
    if content.number(TEXT) and content.truth >= _NEARLY * content.filled:
        raise _odd_cell(table, j)
    return False


def _is_measure(measure: bool, content: Content) -> bool:
    """Whether a column with the name of a measure holds numbers beside 1, 0 and -1."""
    return measure and content.number(COUNT, NUMBER, FRACTION) > 0


def _odd_cell(table: CodedColumns, j: int) -> DataError:
    """The error about the first cell that says nothing about a label."""
    row = int(np.argmax(table.codes[:, j] > LAST_WORD))
    text, where = table.cell(row, j)
    return DataError(
        f"{text!r} is not a target.",
        where=where,
        fix=_SAYS.format(out=leave_out(table.names[j])),
    )


def _fractions(table: CodedColumns, j: int) -> DataError:
    name = table.names[j]
    row = int(np.argmax(table.codes[:, j] == FRACTION))
    text, where = table.cell(row, j)
    return DataError(
        f"The column {name!r} holds numbers between 0 and 1, such as {text}, not 1, 0 or -1.",
        where=where,
        fix="If these are votes or scores, decide from which one on the label is present, and "
        f"write 1 or 0. If the column is not a label, leave it out: {leave_out(name)}",
    )


def _counts(table: CodedColumns, j: int) -> DataError:
    name = table.names[j]
    row = int(np.argmax(table.codes[:, j] == COUNT))
    text, where = table.cell(row, j)
    return DataError(
        f"The column {name!r} seems to hold counts: {text} is not 1, 0 or -1.",
        where=where,
        fix="If it counts what a label names, write 1 in place of every number over 0. If it is "
        f"not a label, leave it out: {leave_out(name)}",
    )


def _only_flags(table: CodedColumns, flags: Sequence[str], texts: Sequence[str]) -> DataError:
    return DataError(
        f"It is unclear which columns hold the labels: {listed(flags)} hold 0 and 1, but their "
        f"names tell of annotations; text is in {listed(texts)}.",
        where=table.where,
        fix=f"If a column names the labels: --label-column {_typed(texts[0])}. If the columns of 0 "
        f"and 1 are the labels, leave the others out: {leave_out(*texts)}",
    )


def _flags_note(flags: Sequence[str]) -> str:
    return (
        f"Read as labels, although their names tell of annotations: {listed(flags)} (to leave them "
        f"out: {leave_out(*flags)})"
    )


def _no_labels(table: CodedColumns, texts: Sequence[str]) -> DataError:
    columns = f"the columns {listed(table.names)}" if len(table.names) else "its only column"
    named = (
        f"If a column names them: --label-column {_typed(texts[0])}. Otherwise put"
        if texts
        else "Put"
    )
    return DataError(
        f"No labels were found in {columns}.",
        where=table.where,
        fix=f"{named} all labels of an image into a column 'labels', or give each label a column "
        "of 1, 0 and -1.",
    )


def leave_out(*names: str) -> str:
    """What to type so that columns are ignored."""
    quoted = ", ".join(f'"{name}"' for name in names[:8])
    return f"--option 'ignored_columns=[{quoted}]'."


def _typed(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]+", name) else f'"{name}"'
