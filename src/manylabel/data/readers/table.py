"""A CSV or TSV table with a header and one row per image.

Labels are in one column, with a separator between them, or each label has its own column:

    image,labels,split              image,person,car
    a.jpg,person|car,train          a.jpg,1,1
    b.jpg,car,test                  b.jpg,0,

In the second form, 1 means present, 0 means absent, and -1 or an empty cell means unknown. In the
first form, an image may also have a row for each of its labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.column_roles import (
    CodedColumns,
    choose_labels,
    column_of_names,
    require_present,
)
from manylabel.data.formats.encodings import SPREADSHEETS
from manylabel.data.formats.image_names import ImageNames, image_names
from manylabel.data.formats.label_cells import CellRules, Column, labels_in_texts
from manylabel.data.formats.missing_words import is_missing_word
from manylabel.data.formats.table_settings import TableSettings
from manylabel.data.formats.tabular import (
    TableRows,
    merge_rows,
    note_of_ignored,
    path_key,
    require_no_truth,
    split_or_none,
)
from manylabel.data.formats.text_table import TextTable, load_table, read_rows
from manylabel.data.formats.truth_cells import targets_of
from manylabel.data.records import Record, Records
from manylabel.errors import DataError
from manylabel.labels import UNKNOWN, LabelSpace

_ENDINGS: Final = (".csv", ".tsv")


def find_table(path: Path) -> Path | None:
    """`path`, if it is a table, or the only table in the folder `path`; None if there is none.

    Raises:
        DataError: The folder contains several tables.
    """
    if not path.is_dir():
        # A spreadsheet is no table of text, but the reader says what to do about it.
        return path if path.suffix.lower() in (*_ENDINGS, *SPREADSHEETS) else None
    tables = sorted(file for file in path.iterdir() if file.suffix.lower() in _ENDINGS)
    if len(tables) > 1:
        raise DataError(
            f"The folder contains {len(tables)} tables: {', '.join(t.name for t in tables[:5])}.",
            where=str(path),
            fix="Give the path of one table. If each table is a split, merge them into one table "
            "with a column 'split'.",
        )
    return tables[0] if tables else None


def read_table(path: Path, *, images: Path | None = None, **settings: Any) -> Records:
    """The rows of a table.

    Columns that are not named here are found by their headers and their cells:

    - image, path, file, ...: the path of the image. Without such a header, a column whose cells
      end like names of image files, or else the first column.
    - labels, label, tags or tag: all labels. Without such a header, each column of 1, 0, -1 and
      empty cells is a label. If there is none, a column such as class or category.
    - split, group and mask.
    - image_key: the key of the image, if it is not the path.

    The notes say which columns were found and which are ignored. Rows of one image with the same
    values are merged. Rows that name one label each are joined.

    Args:
        path: The file, UTF-8. In a .tsv file, tabs separate the columns. In other files, it is the
            comma, semicolon or tab, whichever the header has most often.
        images: The folder that image paths are relative to, if it is not the folder of the table.
            Paths of masks are always relative to the folder of the table.
        **settings: The fields of `TableSettings`.

    Raises:
        DataError: The table is missing, empty, without a header or malformed; a named column does
            not exist; it is unclear what a column or a cell means; a value is not a target or not
            a split; rows of one image differ.
    """
    chosen = TableSettings(**settings)
    table = load_table(path, chosen.columns())
    labels = _labels(table, chosen)
    root = path.parent if images is None else images
    at = table.columns.image
    names = image_names(table.texts[at], root, lambda row: table.at(table.lines[row], at))
    keys = names.names
    if table.columns.key is not None:
        given = table.texts[table.columns.key]
        keys = [key or name for key, name in zip(given, names.names, strict=True)]
    reader = _RowReader(table, labels.targets, keys, names, root)
    items, merged = merge_rows(
        TableRows(
            keys,
            labels.targets,
            labels.single,
            reader.record,
            lambda one, two: f"{path}, lines {table.lines[one]} and {table.lines[two]}",
        )
    )
    records = Records.of(labels.space, items, str(path))
    records = replace(records, absent_if_unnamed=table.columns.label is not None)
    return records.with_notes(*_describe(table, labels), *names.notes, *merged)


@dataclass(frozen=True)
class _Labels:
    """The content of the label columns. The targets, int8 [N, C], are in the order of the rows."""

    space: LabelSpace
    targets: NDArray[np.int8]
    single: NDArray[np.bool_] | None
    columns: set[int]
    notes: list[str]


def _labels(table: TextTable, settings: TableSettings) -> _Labels:
    coded = CodedColumns(
        [table.header[i] for i in table.others],
        table.codes,
        str(table.path),
        lambda row, j: _cell(table, row, table.others[j]),
    )
    column = table.columns.label
    if column is None:
        _require_roles(table)
        position = column_of_names(coded)
        column = None if position is None else table.others[position]
    if column is None:
        return _from_label_columns(table, coded)
    require_present(coded)
    return _from_one_column(table, column, settings.rules())


def _require_roles(table: TextTable) -> None:
    """Refuse a label column whose name is that of another column."""
    for column, what in ((table.columns.mask, "files of masks"), (table.columns.group, "groups")):
        if column is not None:
            require_no_truth(table.header[column], table.texts[column], what, str(table.path))


def _from_one_column(table: TextTable, column: int, rules: CellRules) -> _Labels:
    name = table.header[column]
    named = labels_in_texts(
        Column(
            name,
            table.texts[column],
            f"{table.path}, column {name!r}",
            lambda row: table.at(table.lines[row], column),
        ),
        rules,
    )
    return _Labels(named.space, named.targets, named.single, {column}, named.notes)


def _from_label_columns(table: TextTable, coded: CodedColumns) -> _Labels:
    roles = choose_labels(coded)
    columns = [table.others[j] for j in roles.labels]
    space = LabelSpace((table.header[i] for i in columns), where=str(table.path))
    targets = np.ascontiguousarray(table.codes[:, roles.labels])
    if roles.words:
        targets = targets_of(targets, empty=roles.empty)
    else:
        targets[targets < UNKNOWN] = roles.empty
    return _Labels(space, targets, None, set(columns), roles.notes)


def _cell(table: TextTable, row: int, column: int) -> tuple[str, str]:
    """The text of a cell and its place. The text is read again from the file."""
    found = next(islice(read_rows(table.path), row + 1, None)).cells[column].strip()
    return found, table.at(table.lines[row], column)


@dataclass(frozen=True)
class _RowReader:
    """Gives the record of a row."""

    table: TextTable
    targets: NDArray[np.int8]
    keys: Sequence[str]
    names: ImageNames
    root: Path

    def record(self, row: int) -> Record:
        """The record of the row at this position."""
        table, columns = self.table, self.table.columns
        mask = _value(table.text(row, columns.mask))
        split = table.text(row, columns.split)
        return Record(
            key=self.keys[row],
            image=self.root / self.names.file(row),
            targets=self.targets[row],
            split=split_or_none(split, lambda: table.at(table.lines[row], columns.split)),
            mask=None if mask is None else table.path.parent / path_key(mask),
            group=_value(table.text(row, columns.group)),
        )


def _value(text: str | None) -> str | None:
    return None if text is None or is_missing_word(text) else text


def _describe(table: TextTable, labels: _Labels) -> list[str]:
    """Notes that say how each column is used."""
    known = table.columns.taken() | labels.columns
    notes = [table.columns.describe(table.header), *labels.notes]
    if table.marked:
        notes.append(f"Texts like '=1, read without the ' for spreadsheets: {table.marked:,}")
    return [*notes, *note_of_ignored(table.header, known)]
