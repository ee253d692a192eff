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
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from manylabel.data.formats.arrow import is_list, is_text, load_parquet, texts
from manylabel.data.formats.arrow_labels import ArrowLabels, labels_in_column, labels_in_columns
from manylabel.data.formats.lists import FIRST_IMAGES, choose_folder
from manylabel.data.formats.parsing import listed_entries
from manylabel.data.formats.tabular import (
    Columns,
    choose_columns,
    find_column,
    merge_rows,
    path_key,
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


def read_parquet(
    path: Path,
    *,
    images: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    label_delimiter: str | None = None,
    split_column: str | None = None,
) -> Records:
    """The rows of a Parquet file. The labels are in the order of the file, else alphabetical.

    Columns that are not named here are found by their names, as in a CSV table. In a column of
    lists (or of texts with a delimiter), the listed labels are present, those in `unknown` are
    unknown, and all others are absent. If a label has its own column, 1 or true means present, 0 or
    false means absent, and -1 or null means unknown. Rows with one key and the same values are
    merged.

    Args:
        path: The file.
        images: The folder that image paths are relative to, if it is not the folder of the file.
            Paths of masks are always relative to the folder of the file.
        image_column: Name of the column of image paths.
        label_column: Name of the column that holds all labels of a row.
        label_delimiter: The separator between two labels, if that column holds texts.
        split_column: Name of the column of splits: train, val, valid, validation, test or null.

    Raises:
        DataError: The file is missing, damaged or without rows; none of the first images is found;
            a named column does not exist or has values of another kind; a value is not a target or
            not a split; rows of one image differ.
        MissingExtraError: pyarrow is not installed.
    """
    table = load_parquet(path)
    columns = choose_columns(
        table.column_names, str(path), image=image_column, label=label_column, split=split_column
    )
    labels = _labels(table, columns, path, label_delimiter)
    root = path.parent if images is None else images
    record_of = _row_reader(table, columns, labels, path, root)
    items = merge_rows(
        table.num_rows, record_of, lambda one, two: f"{path}, rows {one + 1} and {two + 1}"
    )
    records = Records.of(labels.space, items, str(path))
    records = replace(records, absent_if_unnamed=columns.label is not None)
    first = texts(table.column(columns.image).slice(0, FIRST_IMAGES), str(path))
    choose_folder([root], [path_key(image) for image in first if image], path)
    notes = [columns.describe(table.column_names), *labels.notes]
    used = columns.taken() | labels.columns | {boxes_column(table)}
    ignored = [repr(name) for i, name in enumerate(table.column_names) if i not in used]
    if ignored:
        notes.append(f"Ignored columns: {', '.join(ignored)}")
    if repeated := table.num_rows - len(records):
        notes.append(f"Rows that repeat another row, merged with it: {repeated:,}")
    return records.with_notes(*notes)


def _labels(table: Any, columns: Columns, path: Path, delimiter: str | None) -> ArrowLabels:
    if columns.label is None:
        return labels_in_columns(table, columns.taken(), str(path))
    return labels_in_column(
        table,
        columns.label,
        str(path),
        delimiter=delimiter,
        declared=_declared_labels(table.schema.metadata, path),
    )


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


def _row_reader(
    table: Any, columns: Columns, labels: ArrowLabels, path: Path, root: Path
) -> Callable[[int], Record]:
    """A function that returns the record of a row, given its position."""

    def cells(column: int | None) -> list[str | None]:
        if column is None:
            return [None] * table.num_rows
        return texts(table.column(column), f"{path}, column {table.column_names[column]!r}")

    _require_paths(table, columns.image, path)
    images, keys = cells(columns.image), cells(columns.key)
    splits, groups, masks = (cells(i) for i in (columns.split, columns.group, columns.mask))
    boxes = _boxes(table, labels.space, path)

    def record_of(row: int) -> Record:
        image, mask = images[row], masks[row]
        if image is None or not image.strip():
            raise DataError(
                "The row has no image.",
                where=f"{path}, row {row + 1}",
                fix="Add the path of the image or remove the row.",
            )
        name = path_key(image)
        return Record(
            key=keys[row] or name,
            image=root / name,
            targets=labels.targets[row],
            split=split_or_none(splits[row], lambda: f"{path}, row {row + 1}, split"),
            boxes=boxes[row],
            mask=None if mask is None else path.parent / path_key(mask),
            group=groups[row],
        )

    return record_of


def _require_paths(table: Any, column: int, path: Path) -> None:
    kind = table.schema.field(column).type
    if not is_text(kind):
        raise DataError(
            f"The column {table.column_names[column]!r} holds {kind}, not the paths of images.",
            where=str(path),
            fix="If the file contains the images themselves, read it with --format huggingface. "
            "Otherwise name the column of paths with image_column.",
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
