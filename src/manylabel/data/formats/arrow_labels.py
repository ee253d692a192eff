"""Reads labels from the columns of an Arrow table (a Parquet file or a Hugging Face data set)."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.arrow import (
    column_codes,
    flat_lists,
    is_list,
    is_number,
    is_text,
    is_whole,
    names_and_codes,
    texts,
)
from manylabel.data.formats.column_roles import CodedColumns, choose_labels
from manylabel.data.formats.label_cells import (
    CellRules,
    Column,
    label_space,
    labels_in_texts,
    note_of_words,
    targets_of_vectors,
)
from manylabel.data.formats.room import matrix
from manylabel.data.formats.tabular import find_column
from manylabel.data.formats.truth_cells import targets_of
from manylabel.errors import DataError
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace

UNKNOWN_NAME: Final = "unknown"
"""The column with lists of the labels that are unknown."""


@final
@dataclass(frozen=True)
class ArrowLabels:
    """The labels that were read.

    Args:
        space: The C labels.
        targets: int8 [N, C], in the order of the rows.
        columns: Positions of the columns that were used.
        notes: How the labels were read, for people.
        single: bool [N], whether a row names one label, and not in a list; None if no row does.
    """

    space: LabelSpace
    targets: NDArray[np.int8]
    columns: set[int]
    notes: list[str]
    single: NDArray[np.bool_] | None = None


def labels_in_column(
    table: Any,
    column: int,
    where: str,
    *,
    rules: CellRules | None = None,
    declared: Sequence[str] | None = None,
) -> ArrowLabels:
    """Labels that one column names, in lists or in delimited strings. All other labels are absent.

    Args:
        table: The table. If the column has lists, the column `unknown` lists unknown labels.
        column: Position of the column.
        where: What the table was read from, for messages.
        rules: How strings that name labels are read; None: as usual.
        declared: All labels in order; None: the labels that occur, in alphabetical order.

    Raises:
        DataError: The column has neither lists nor strings, a list is null, or a label is not in
            `declared`.
    """
    with_names = rules is not None  # of a reader that can be given the names of numbers
    rules = rules or CellRules()
    kind = table.schema.field(column).type
    if is_list(kind):
        if rules.delimiter is not None:
            raise DataError(
                f"The column {table.column_names[column]!r} holds lists, which need no delimiter.",
                where=where,
                fix="Leave --label-delimiter out.",
            )
        if with_names and is_number(kind.value_type):
            return _from_numbers(table, column, where, rules)
        return _from_lists(table, column, where, rules, declared)
    if not (is_text(kind) or is_whole(kind)):
        raise DataError(
            f"The column {table.column_names[column]!r} holds {kind}, not labels.",
            where=where,
            fix="Give lists of names, or strings; or name another column with --label-column.",
        )
    return _from_texts(table, column, where, rules, declared)


def _from_numbers(table: Any, column: int, where: str, rules: CellRules) -> ArrowLabels:
    """Labels from lists with a number for each label; their names are in `label_names`."""
    name = table.column_names[column]
    there = f"{where}, column {name!r}"
    values, rows = flat_lists(table.column(column), there)
    lengths = np.bincount(rows, minlength=table.num_rows)
    numbers = np.asarray(values, dtype=np.float64)
    found = targets_of_vectors(numbers, lengths, rules.declared(), there, name)
    return ArrowLabels(found.space, found.targets, {column}, found.notes)


def _from_lists(
    table: Any, column: int, where: str, rules: CellRules, declared: Sequence[str] | None
) -> ArrowLabels:
    """Labels from lists of the present labels, and from the column `unknown`, if there is one."""
    declared = rules.declared() if declared is None else declared
    present = _lists(table, column, where)
    other = find_column(table.column_names, (UNKNOWN_NAME,))
    unknown = None if other is None or other == column else _lists(table, other, where)
    columns = [present] if unknown is None else [present, unknown]
    known = () if declared is None else frozenset(declared)
    gaps = {
        name
        for lists in columns
        for name in lists.names
        if name not in known and rules.is_missing(name)
    }
    space = label_space({name for lists in columns for name in lists.names} - gaps, declared, where)
    targets = matrix(table.num_rows, len(space), 0, where)
    present.mark(targets, space, PRESENT)
    words = {gap: present.number(gap) for gap in sorted(gaps & set(present.names))}
    notes = [f"Labels are read from lists in column {present.name!r}", *note_of_words(words)]
    if unknown is not None:
        conflict = unknown.mark(targets, space, UNKNOWN)
        if conflict is not None:
            raise DataError(
                f"A label is in both {present.name!r} and {unknown.name!r}.",
                where=f"{where}, row {conflict + 1}",
                fix="Write it in one of them.",
            )
        notes.append(f"Unknown labels are read from lists in column {unknown.name!r}")
    return ArrowLabels(space, targets, {lists.column for lists in columns}, notes)


@dataclass(frozen=True)
class _Lists:
    """A column with lists of names: value m is `names[codes[m]]`, and its row is `rows[m]`."""

    column: int
    name: str
    names: list[str]
    codes: NDArray[np.int64]
    rows: NDArray[np.int64]

    def mark(self, targets: NDArray[np.int8], space: LabelSpace, value: int) -> int | None:
        """Set the named targets to `value`; returns the first row where one was set before.

        Names that are no labels are words for missing values.
        """
        found = [space.index(name) if name in space else -1 for name in self.names]
        columns = np.array(found, dtype=np.int64)[self.codes]
        rows, columns = self.rows[columns >= 0], columns[columns >= 0]
        set_before = np.flatnonzero(targets[rows, columns])
        targets[rows, columns] = value
        return int(rows[set_before[0]]) if set_before.size else None

    def number(self, name: str) -> int:
        """How often a name occurs."""
        return int(np.count_nonzero(self.codes == self.names.index(name)))


def _lists(table: Any, column: int, where: str) -> _Lists:
    name = table.column_names[column]
    where = f"{where}, column {name!r}"
    if not is_list(table.schema.field(column).type):
        raise DataError("The column does not hold lists.", where=where, fix="Write lists of names.")
    values, rows = flat_lists(table.column(column), where)
    return _Lists(column, name, *names_and_codes(values, where), rows)


def _from_texts(
    table: Any, column: int, where: str, rules: CellRules, declared: Sequence[str] | None
) -> ArrowLabels:
    """Labels from strings that name all labels of an image; a null is an image without labels."""
    name = table.column_names[column]
    there = f"{where}, column {name!r}"
    cells = [(cell or "").strip() for cell in texts(table.column(column), there)]
    whole = Column(name, cells, there, lambda row: f"{there}, row {row + 1}")
    found = labels_in_texts(whole, rules, declared)
    return ArrowLabels(found.space, found.targets, {column}, found.notes, found.single)


def coded_columns(table: Any, taken: Container[int], where: str) -> tuple[CodedColumns, list[int]]:
    """What the columns say about labels, and their positions in the table.

    Args:
        table: The table.
        taken: Positions of columns that hold something else.
        where: What the table was read from, for messages.
    """
    others = [i for i in range(table.num_columns) if i not in taken]
    all_names = table.column_names  # pyarrow makes a new list at each call
    codes = matrix(table.num_rows, len(others), 0, where)
    for j, i in enumerate(others):
        codes[:, j] = column_codes(table.column(i))

    def cell(row: int, j: int) -> tuple[str, str]:
        i = others[j]
        value = table.column(i)[row].as_py()
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return shown, f"{where}, column {all_names[i]!r}, row {row + 1}"

    return CodedColumns([all_names[i] for i in others], codes, where, cell), others


def labels_in_columns(table: Any, taken: set[int], where: str) -> ArrowLabels:
    """Labels that have one column each: booleans, 1, 0, -1 and nulls, or texts as in CSV tables.

    Args:
        table: The table.
        taken: Positions of columns that hold something else.
        where: What the table was read from, for messages.

    Raises:
        DataError: There is no such column, or a column is nearly one.
    """
    coded, others = coded_columns(table, taken, where)
    roles = choose_labels(coded)
    space = LabelSpace([coded.names[j] for j in roles.labels], where=where)
    targets = targets_of(np.ascontiguousarray(coded.codes[:, roles.labels]), empty=roles.empty)
    return ArrowLabels(space, targets, {others[j] for j in roles.labels}, roles.notes)


def labels_in_classes(table: Any, position: int, names: Sequence[str], where: str) -> ArrowLabels:
    """Labels that are given as class indexes: a list in each row, or a single index.

    If a single index is -1 or null, the class is hidden, and all labels of the image are unknown.

    Args:
        table: The table.
        position: Position of the column.
        names: The classes, in order.
        where: What the table was read from, for messages.

    Raises:
        DataError: An index does not belong to a class, or a list is null.
    """
    name = table.column_names[position]
    column = table.column(position)
    there = f"{where}, column {name!r}"
    space = LabelSpace(names, where=there)
    targets = matrix(table.num_rows, len(space), 0, where)
    notes = [f"Labels are the classes of column {name!r}"]
    if is_list(column.type):
        values, rows = flat_lists(column, there)
    else:
        values, rows = column, np.arange(table.num_rows)
    indexes = np.array(values.fill_null(-1), dtype=np.int64)
    hidden = np.flatnonzero(indexes == -1) if values is column else np.zeros(0, dtype=np.int64)
    shown = np.setdiff1d(np.arange(len(indexes)), hidden, assume_unique=True)
    wrong = shown[(indexes[shown] < 0) | (indexes[shown] >= len(space))]
    if wrong.size:
        raise DataError(
            f"{indexes[wrong[0]]} is not an index of the {len(space)} classes.",
            where=f"{there}, row {rows[wrong[0]] + 1}",
            fix="Correct the index.",
        )
    targets[rows[shown], indexes[shown]] = PRESENT
    targets[rows[hidden]] = UNKNOWN
    if hidden.size:
        notes.append(f"Images with a hidden class (-1 or null), all unknown: {hidden.size:,}")
    return ArrowLabels(space, targets, {position}, notes)
