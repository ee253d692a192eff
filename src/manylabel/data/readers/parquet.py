"""A table in a Parquet file: one row per image, with the columns of a CSV table.

    image      the path of the image
    labels     list of texts: the labels that are present; all others are absent
    unknown    list of texts: the labels whose target is unknown
    boxes      list of (label, left, top, right, bottom), sides in fractions 0..1
    split, group, mask, image_key      texts

Only the first two columns are required.

Instead of `labels`, each label may have a column of true and false, or of 1, 0, -1 and nulls.

Source: https://parquet.apache.org/docs/file-format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.arrow import is_list, is_text, load_parquet, texts
from manylabel.data.formats.arrow_labels import (
    ArrowLabels,
    coded_columns,
    labels_in_column,
    labels_in_columns,
)
from manylabel.data.formats.column_roles import column_of_names, require_present
from manylabel.data.formats.image_names import ImageNames, image_names
from manylabel.data.formats.lists import FIRST_IMAGES, choose_folder
from manylabel.data.formats.missing_words import is_missing_word
from manylabel.data.formats.parsing import listed_entries
from manylabel.data.formats.table_settings import TableSettings
from manylabel.data.formats.tabular import (
    ROWS_LOOKED_AT,
    TRUTH_NAMES,
    Columns,
    TableRows,
    choose_columns,
    find_column,
    merge_rows,
    note_of_ignored,
    path_key,
    require_no_truth,
    split_or_none,
)
from manylabel.data.formats.truth import boxes_of
from manylabel.data.records import Box, Record, Records
from manylabel.errors import DataError
from manylabel.labels import LabelSpace

ENDING: Final = ".parquet"
BOXES_NAME: Final = "boxes"
METADATA: Final = b"manylabel"
"""The key in the metadata of the file. Its value is JSON with all labels in order:
{"labels": [...]}."""


def find_parquet(path: Path) -> Path | None:
    """`path`, if it is a Parquet file, or the only such file in the folder `path`; else None.

    A folder with several Parquet files is a Hugging Face data set.
    """
    if not path.is_dir():
        return path if path.suffix.lower() == ENDING else None
    files = [file for file in path.iterdir() if file.suffix.lower() == ENDING]
    return files[0] if len(files) == 1 else None


def read_parquet(path: Path, *, images: Path | None = None, **settings: Any) -> Records:
    """The rows of a Parquet file. The labels are in the order of the file, else alphabetical.

    Columns that are not named here are found by their names and content, as in a CSV table. In a
    column of lists (or of texts with a delimiter), the listed labels are present, those in
    `unknown` are unknown, and all others are absent. If a label has its own column, 1 or true means
    present, 0 or false means absent, and -1, null or NaN means unknown. Rows with one key and the
    same values are merged. Rows that name one label each in a text are joined.

    Args:
        path: The file.
        images: The folder that image paths are relative to, if it is not the folder of the file.
            Paths of masks are always relative to the folder of the file.
        **settings: The fields of `TableSettings`.

    Raises:
        DataError: The file is missing, damaged or without rows; none of the first images is found;
            a named column does not exist or has values of another kind; it is unclear what a column
            or a cell means; a value is not a target or not a split; rows of one image differ.
        MissingExtraError: pyarrow is not installed.
    """
    chosen = TableSettings(**settings)
    table = load_parquet(path)
    columns = choose_columns(table.column_names, chosen.columns(), str(path), _first_rows(table))
    labels = _labels(table, columns, path, chosen)
    root = path.parent if images is None else images
    rows = _rows(table, columns, labels, path, root)
    items, merged = merge_rows(
        TableRows(
            rows.keys,
            labels.targets,
            labels.single,
            rows.record,
            lambda one, two: f"{path}, rows {one + 1} and {two + 1}",
        )
    )
    records = Records.of(labels.space, items, str(path))
    records = replace(records, absent_if_unnamed=columns.label is not None)
    first = range(min(FIRST_IMAGES, len(rows.keys)))
    choose_folder([root], [rows.names.file(row) for row in first], path)
    used = columns.taken() | labels.columns | {boxes_column(table)}
    ignored = note_of_ignored(table.column_names, used)
    described = columns.describe(table.column_names)
    return records.with_notes(described, *labels.notes, *ignored, *rows.names.notes, *merged)


def _first_rows(table: Any) -> list[list[str]]:
    """The cells of the first rows as texts; those that are not texts are empty."""
    columns = [
        [str(cell) if isinstance(cell, str) else "" for cell in column.to_pylist()]
        for column in (table.column(i).slice(0, ROWS_LOOKED_AT) for i in _text_columns(table))
    ]
    cells = dict(zip(_text_columns(table), columns, strict=True))
    count = min(table.num_rows, ROWS_LOOKED_AT)
    return [
        [cells[i][row] if i in cells else "" for i in range(table.num_columns)]
        for row in range(count)
    ]


def _text_columns(table: Any) -> list[int]:
    return [i for i, field in enumerate(table.schema) if is_text(field.type)]


def _labels(table: Any, columns: Columns, path: Path, settings: TableSettings) -> ArrowLabels:
    declared = _declared_labels(table.schema.metadata, path)
    column = columns.label
    taken = columns.taken() | {boxes_column(table)}
    taken |= {i for i, name in enumerate(table.column_names) if name in settings.ignored_columns}
    if column is None:
        _require_roles(table, columns, path)
        coded, others = coded_columns(table, taken, str(path))
        position = column_of_names(coded)
        column = None if position is None else others[position]
    if column is None:
        return labels_in_columns(table, {i for i in taken if i is not None}, str(path))
    saying = {i for i, name in enumerate(table.column_names) if name.lower() not in TRUTH_NAMES}
    require_present(coded_columns(table, taken | saying, str(path))[0])
    return labels_in_column(table, column, str(path), rules=settings.rules(), declared=declared)


def _require_roles(table: Any, columns: Columns, path: Path) -> None:
    """Refuse a label column whose name is that of another column."""
    for column, what in ((columns.mask, "files of masks"), (columns.group, "groups")):
        if column is not None:
            cells = (
                None if x is None else str(x) for x in table.column(column).unique().to_pylist()
            )
            require_no_truth(table.column_names[column], cells, what, str(path))


def _declared_labels(metadata: Mapping[bytes, bytes] | None, path: Path) -> list[str] | None:
    """The labels in order, from the metadata that manylabel writes; None without such metadata.

    Raises:
        DataError: The metadata cannot be read.
    """
    content = (metadata or {}).get(METADATA)
    if content is None:
        return None
    try:
        labels = json.loads(content)["labels"]
    except (ValueError, KeyError, TypeError, RecursionError):
        labels = None
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise DataError(
            "The metadata 'manylabel' of the file is damaged.",
            where=str(path),
            fix="Write the file again, or remove this metadata.",
        )
    return labels


@dataclass(frozen=True)
class _Rows:
    """Gives the record of a row. Columns that the table does not have hold None."""

    path: Path
    root: Path
    names: ImageNames
    keys: list[str]
    targets: NDArray[np.int8]
    splits: list[str | None]
    groups: list[str | None]
    masks: list[str | None]
    boxes: list[tuple[Box, ...]]

    def record(self, row: int) -> Record:
        """The record of the row at this position."""
        mask = self.masks[row]
        return Record(
            key=self.keys[row],
            image=self.root / self.names.file(row),
            targets=self.targets[row],
            split=split_or_none(self.splits[row], lambda: f"{self.path}, row {row + 1}, split"),
            boxes=self.boxes[row],
            mask=None if mask is None else self.path.parent / path_key(mask),
            group=self.groups[row],
        )


def _rows(table: Any, columns: Columns, labels: ArrowLabels, path: Path, root: Path) -> _Rows:
    def cells(column: int | None) -> list[str | None]:
        if column is None:
            return [None] * table.num_rows
        found = texts(table.column(column), f"{path}, column {table.column_names[column]!r}")
        return [None if cell is None or is_missing_word(cell) else cell for cell in found]

    _require_paths(table, columns.image, path)
    images = texts(table.column(columns.image), str(path))
    names = image_names(images, root, lambda row: f"{path}, row {row + 1}")
    given = [None] * table.num_rows if columns.key is None else texts(table.column(columns.key), "")
    return _Rows(
        path,
        root,
        names,
        [key or name for key, name in zip(given, names.names, strict=True)],
        labels.targets,
        cells(columns.split),
        cells(columns.group),
        cells(columns.mask),
        _boxes(table, labels.space, path),
    )


def _require_paths(table: Any, column: int, path: Path) -> None:
    kind = table.schema.field(column).type
    if not is_text(kind):
        raise DataError(
            f"The column {table.column_names[column]!r} holds {kind}, not the paths of images.",
            where=str(path),
            fix="If the file contains the images themselves, read it with --format huggingface. "
            "Otherwise name the column of paths with --image-column.",
        )


def _boxes(table: Any, labels: LabelSpace, path: Path) -> list[tuple[Box, ...]]:
    column = boxes_column(table)
    if column is None:
        return [()] * table.num_rows
    rows = table.column(column).to_pylist()
    return [
        boxes_of(list(listed_entries(boxes or [], f"row {row}, {BOXES_NAME}", path)), labels)
        for row, boxes in enumerate(rows, start=1)
    ]


def boxes_column(table: Any) -> int | None:
    """The position of the column `boxes`, if it has lists of structs; else None."""
    from pyarrow import types

    column = find_column(table.column_names, (BOXES_NAME,))
    if column is None:
        return None
    kind = table.schema.field(column).type
    return column if is_list(kind) and types.is_struct(kind.value_type) else None
