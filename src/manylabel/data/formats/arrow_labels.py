"""Reads labels from the columns of an Arrow table (a Parquet file or a Hugging Face data set)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.arrow import (
    column_targets,
    flat_lists,
    is_label_column,
    is_list,
    is_text,
    names_and_codes,
    texts,
)
from manylabel.data.formats.room import matrix
from manylabel.data.formats.tabular import find_column, guess_delimiter, listed, split_labels
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
    """

    space: LabelSpace
    targets: NDArray[np.int8]
    columns: set[int]
    notes: list[str]


def labels_in_column(
    table: Any,
    column: int,
    where: str,
    *,
    delimiter: str | None = None,
    declared: Sequence[str] | None = None,
) -> ArrowLabels:
    """Labels that one column names, in lists or in delimited strings. All other labels are absent.

    Args:
        table: The table. If the column has lists, the column `unknown` lists unknown labels.
        column: Position of the column.
        where: What the table was read from, for messages.
        delimiter: The text between two labels of a string; None: it is guessed.
        declared: All labels in order; None: the labels that occur, in alphabetical order.

    Raises:
        DataError: The column has neither lists nor strings, a list is null, or a label is not in
            `declared`.
    """
    kind = table.schema.field(column).type
    if is_list(kind):
        if delimiter is not None:
            raise DataError(
                f"The column {table.column_names[column]!r} holds lists, which need no delimiter.",
                where=where,
                fix="Leave label_delimiter out.",
            )
        return _from_lists(table, column, where, declared)
    if not is_text(kind):
        raise DataError(
            f"The column {table.column_names[column]!r} holds {kind}, not labels.",
            where=where,
            fix="Give lists of names, or strings; or name another column with label_column.",
        )
    return _from_texts(table, column, where, delimiter, declared)


def _from_lists(table: Any, column: int, where: str, declared: Sequence[str] | None) -> ArrowLabels:
    """Labels from lists of the present labels, and from the column `unknown`, if there is one."""
    present = _lists(table, column, where)
    other = find_column(table.column_names, (UNKNOWN_NAME,))
    unknown = None if other is None or other == column else _lists(table, other, where)
    columns = [present] if unknown is None else [present, unknown]
    space = _space({name for lists in columns for name in lists.names}, declared, where)
    targets = matrix(table.num_rows, len(space), 0, where)
    present.mark(targets, space, PRESENT)
    notes = [f"Labels are read from lists in column {present.name!r}"]
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
        """Set the named targets to `value`; returns the first row where one was set before."""
        columns = np.array([space.index(name) for name in self.names], dtype=np.int64)
        cells = self.rows, columns[self.codes]
        set_before = np.flatnonzero(targets[cells])
        targets[cells] = value
        return int(self.rows[set_before[0]]) if set_before.size else None


def _lists(table: Any, column: int, where: str) -> _Lists:
    name = table.column_names[column]
    where = f"{where}, column {name!r}"
    if not is_list(table.schema.field(column).type):
        raise DataError("The column does not hold lists.", where=where, fix="Write lists of names.")
    values, rows = flat_lists(table.column(column), where)
    return _Lists(column, name, *names_and_codes(values, where), rows)


def _space(seen: set[str], declared: Sequence[str] | None, where: str) -> LabelSpace:
    """The labels that the data set declares, or else those that occur."""
    if declared is None:
        return LabelSpace(sorted(seen), where=where)
    space = LabelSpace(declared, where=where)
    foreign = sorted(name for name in seen if name not in space)
    if foreign:
        raise DataError(
            f"The label {foreign[0]!r} is not one of the {len(space)} declared labels.",
            where=where,
            fix="Correct the label, or the list of labels.",
        )
    return space


def _from_texts(
    table: Any, column: int, where: str, delimiter: str | None, declared: Sequence[str] | None
) -> ArrowLabels:
    """Labels from strings that name all labels of an image; a null is an image without labels."""
    name = table.column_names[column]
    where = f"{where}, column {name!r}"
    cells = [cell or "" for cell in texts(table.column(column), where)]
    mark = guess_delimiter(cells) if delimiter is None else delimiter
    lists = [split_labels(cell, mark) for cell in cells]
    space = _space({name for names in lists for name in names}, declared, where)
    shown = "one in each row" if mark is None else f"separated by {mark!r}"
    targets = matrix(len(lists), len(space), 0, where)
    for row, names in zip(targets, lists, strict=True):
        row[:] = space.encode(names)
    return ArrowLabels(space, targets, {column}, [f"Labels are read from column {name!r}, {shown}"])


def labels_in_columns(table: Any, taken: set[int], where: str) -> ArrowLabels:
    """Labels that have one column each: booleans, or 1, 0, -1 and nulls.

    Args:
        table: The table.
        taken: Positions of columns that hold something else.
        where: What the table was read from, for messages.

    Raises:
        DataError: There is no such column, or a value is not a target.
    """
    columns = [
        i for i in range(table.num_columns) if i not in taken and is_label_column(table.column(i))
    ]
    if not columns:
        raise DataError(
            f"No labels were found in the columns {listed(table.column_names)}.",
            where=where,
            fix="Give the labels of an image as a list of names in a column 'labels' (or name the "
            "column with label_column), or give each label a column of true and false.",
        )
    all_names = table.column_names  # pyarrow makes a new list at each call
    names = [all_names[i] for i in columns]
    space = LabelSpace(names, where=where)
    targets = [
        column_targets(table.column(i), f"{where}, column {name!r}")
        for i, name in zip(columns, names, strict=True)
    ]
    note = f"Each of {len(columns)} columns is a label: 1 present, 0 absent, -1 or null unknown"
    return ArrowLabels(space, np.stack(targets, axis=1), set(columns), [note])


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
