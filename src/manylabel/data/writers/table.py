"""A CSV or TSV table with a column for each label: 1 present, 0 absent, -1 unknown."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final, Literal

from manylabel.data.formats.column_roles import IDS
from manylabel.data.formats.tabular import KEY_NAME, LABEL_NAMES
from manylabel.data.records import Records
from manylabel.data.writers.references import Target, mask_references, references, unpadded
from manylabel.errors import DataError
from manylabel.images import has_image_ending
from manylabel.text import for_spreadsheet

_RESERVED: Final = frozenset({"image", KEY_NAME, "split", "group", "mask", *LABEL_NAMES, *IDS})


def write_table(records: Records, target: Target) -> None:
    """Write the column of images and the columns of labels.

    Of the columns image_key, split, group and mask, those that have values are written too.

    Raises:
        DataError: A label cannot be the header of a column, or a text would change when it is read
            back.
        ImageError: An image that must be copied cannot be read.
        OSError: The file cannot be written.
    """
    _require_headers(records)
    paths = references(records, target)
    columns = _columns(records, paths, target)
    used = [name for name, cells in columns.items() if name == "image" or any(cells)]
    delimiter = "\t" if Path(target.name).suffix.lower() == ".tsv" else ","
    with (target.built / target.name).open("w", encoding="utf-8", newline="") as file:
        # Lines end with CR LF, as in RFC 4180. Otherwise csv does not quote a CR in a cell.
        csv.writer(file, delimiter=delimiter, quoting=_header_quoting(records)).writerow(
            [*used, *map(for_spreadsheet, records.labels)]
        )
        writer = csv.writer(file, delimiter=delimiter)
        for row, targets in enumerate(records.targets):
            texts = (for_spreadsheet(columns[name][row]) for name in used)
            writer.writerow([*texts, *targets.tolist()])


def _header_quoting(records: Records) -> Literal[0, 1]:
    """How cells of the header are quoted. All are quoted if a label contains a separator.

    Readers find the separator by counting: they count each mark in the header outside of quotes.
    """
    separators = any(mark in label for label in records.labels for mark in ",;\t")
    return csv.QUOTE_ALL if separators else csv.QUOTE_MINIMAL


def _columns(records: Records, paths: list[str], target: Target) -> dict[str, list[str]]:
    """The cells of each column by its header. Keys are empty if each is the path of its image."""
    keys = records.keys
    masks = mask_references(records, target)
    return {
        "image": [unpadded(path, records) for path in paths],
        KEY_NAME: [] if list(keys) == paths else [unpadded(key, records) for key in keys],
        "split": [split or "" for split in records.split_of_each()],
        "group": [unpadded(group or "", records) for group in records.groups or ()],
        "mask": [unpadded(mask or "", records) for mask in masks],
    }


def _require_headers(records: Records) -> None:
    for label in records.labels:
        unpadded(label, records)
        if label.lower() in _RESERVED:
            why = "has a special meaning there"
        elif has_image_ending(label):
            why = "looks like the name of an image"
        else:
            continue
        raise DataError(
            f"The label {label!r} cannot be the header of a table's column: it {why}.",
            where=records.source,
            fix="Rename it, or convert to Parquet.",
        )
