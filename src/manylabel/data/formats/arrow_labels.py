"""Labels in the columns of an Arrow table: of a Parquet file or a Hugging Face data set."""

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
from manylabel.data.formats.tabular import find_column, guess_delimiter, listed, split_labels
from manylabel.errors import DataError
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace

UNKNOWN_NAME: Final = "unknown"
"""The column of lists of the labels whose target is not known."""


@final
@dataclass(frozen=True)
class ArrowLabels:
    """What the label columns say: targets int8 [N, C] follow the rows."""

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
    said: Sequence[str] | None = None,
) -> ArrowLabels:
    """Labels that one column names, in lists or in texts with a delimiter; the rest is absent.

    Args:
        table: The table; with lists, its column `unknown` names labels that are not known.
        column: Position of the column.
        where: What the table was read from, for messages.
        delimiter: What stands between two labels of a text; guessed if None.
        said: All labels in order; alphabetical, those that are named, if None.

    Raises:
        DataError: The column holds neither, a null list, or a label that is not in `said`.
    """
    kind = table.schema.field(column).type
    if is_list(kind):
        if delimiter is not None:
            raise DataError(
                f"The column {table.column_names[column]!r} holds lists, which need no delimiter.",
                where=where,
                fix="Leave label_delimiter out.",
            )
        return _from_lists(table, column, where, said)
    if not is_text(kind):
        raise DataError(
            f"The column {table.column_names[column]!r} holds {kind}, not labels.",
            where=where,
            fix="Give lists of names, or texts; or say with label_column which column holds them.",
        )
    return _from_texts(table, column, where, delimiter, said)


def _from_lists(table: Any, column: int, where: str, said: Sequence[str] | None) -> ArrowLabels:
    """Lists of the present labels, and in the column `unknown` of those that are not known."""
    present = _lists(table, column, where)
    other = find_column(table.column_names, (UNKNOWN_NAME,))
    unknown = None if other is None or other == column else _lists(table, other, where)
    every = [present] if unknown is None else [present, unknown]
    space = _space({name for lists in every for name in lists.names}, said, where)
    targets = np.zeros((table.num_rows, len(space)), dtype=np.int8)
    present.mark(targets, space, PRESENT)
    notes = [f"Labels are read from lists in column {present.name!r}"]
    if unknown is not None:
        clash = unknown.mark(targets, space, UNKNOWN)
        if clash is not None:
            raise DataError(
                f"A label stands in {present.name!r} and in {unknown.name!r}.",
                where=f"{where}, row {clash + 1}",
                fix="Name it in one of them.",
            )
        notes.append(f"Unknown labels are read from lists in column {unknown.name!r}")
    return ArrowLabels(space, targets, {lists.column for lists in every}, notes)


@dataclass(frozen=True)
class _Lists:
    """A column of lists of names: value m is `names[codes[m]]` and stands in row `rows[m]`."""

    column: int
    name: str
    names: list[str]
    codes: NDArray[np.int64]
    rows: NDArray[np.int64]

    def mark(self, targets: NDArray[np.int8], space: LabelSpace, value: int) -> int | None:
        """Set the targets named to `value`; gives the first row where one was set already."""
        columns = np.array([space.index(name) for name in self.names], dtype=np.int64)
        cells = self.rows, columns[self.codes]
        taken = np.flatnonzero(targets[cells])
        targets[cells] = value
        return int(self.rows[taken[0]]) if taken.size else None


def _lists(table: Any, column: int, where: str) -> _Lists:
    name = table.column_names[column]
    where = f"{where}, column {name!r}"
    if not is_list(table.schema.field(column).type):
        raise DataError("The column holds no lists.", where=where, fix="Write lists of names.")
    values, rows = flat_lists(table.column(column), where)
    return _Lists(column, name, *names_and_codes(values, where), rows)


def _space(seen: set[str], said: Sequence[str] | None, where: str) -> LabelSpace:
    """The labels that the data set says it has, else those that were seen."""
    if said is None:
        return LabelSpace(sorted(seen), where=where)
    space = LabelSpace(said, where=where)
    foreign = sorted(name for name in seen if name not in space)
    if foreign:
        raise DataError(
            f"The label {foreign[0]!r} is not among the {len(space)} that are declared.",
            where=where,
            fix="Correct the label, or the list of labels.",
        )
    return space


def _from_texts(
    table: Any, column: int, where: str, delimiter: str | None, said: Sequence[str] | None
) -> ArrowLabels:
    """Texts that name all labels of an image; a null is an image without labels."""
    name = table.column_names[column]
    where = f"{where}, column {name!r}"
    cells = [cell or "" for cell in texts(table.column(column), where)]
    mark = guess_delimiter(cells) if delimiter is None else delimiter
    lists = [split_labels(cell, mark) for cell in cells]
    space = _space({name for names in lists for name in names}, said, where)
    shown = "one a row" if mark is None else f"separated by {mark!r}"
    targets = np.stack([space.encode(names) for names in lists])
    return ArrowLabels(space, targets, {column}, [f"Labels are read from column {name!r}, {shown}"])


def labels_in_columns(table: Any, taken: set[int], where: str) -> ArrowLabels:
    """Labels that have a column each: booleans, or 1, 0, -1 and nulls.

    Args:
        table: The table.
        taken: Positions of columns that are something else.
        where: What the table was read from, for messages.

    Raises:
        DataError: There is no such column, or a value is no target.
    """
    columns = [
        i for i in range(table.num_columns) if i not in taken and is_label_column(table.column(i))
    ]
    if not columns:
        raise DataError(
            f"No labels were found in the columns {listed(table.column_names)}.",
            where=where,
            fix="Give the labels of an image as a list of names in a column 'labels' (or say which "
            "it is with label_column), or give each label a column of true and false.",
        )
    names = [table.column_names[i] for i in columns]
    space = LabelSpace(names, where=where)
    targets = [
        column_targets(table.column(i), f"{where}, column {name!r}")
        for i, name in zip(columns, names, strict=True)
    ]
    note = f"Each of {len(columns)} columns is a label: 1 present, 0 absent, -1 or null unknown"
    return ArrowLabels(space, np.stack(targets, axis=1), set(columns), [note])


def labels_in_classes(table: Any, position: int, names: Sequence[str], where: str) -> ArrowLabels:
    """Labels that are given as indexes of classes: a list of them a row, or one.

    One index of -1 or null hides the image's class: all of its labels are unknown.

    Args:
        table: The table.
        position: Position of the column.
        names: The classes, in order.
        where: What the table was read from, for messages.

    Raises:
        DataError: An index is of no class, or a list is null.
    """
    name = table.column_names[position]
    column = table.column(position)
    there = f"{where}, column {name!r}"
    space = LabelSpace(names, where=there)
    targets = np.zeros((table.num_rows, len(space)), dtype=np.int8)
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
            f"{indexes[wrong[0]]} is no index of the {len(space)} classes.",
            where=f"{there}, row {rows[wrong[0]] + 1}",
            fix="Correct it.",
        )
    targets[rows[shown], indexes[shown]] = PRESENT
    targets[rows[hidden]] = UNKNOWN
    if hidden.size:
        notes.append(f"Images whose class is hidden (-1 or null), all unknown: {hidden.size:,}")
    return ArrowLabels(space, targets, {position}, notes)
