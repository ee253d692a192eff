"""A Parquet file with lists of labels. It can hold any name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from manylabel.data.formats.arrow import parquet_module
from manylabel.data.formats.arrow_labels import UNKNOWN_NAME
from manylabel.data.formats.tabular import KEY_NAME
from manylabel.data.formats.truth import box_dict
from manylabel.data.readers.parquet import BOXES_NAME, METADATA
from manylabel.data.records import Box, Records
from manylabel.data.writers.references import Target, mask_references, references
from manylabel.labels import PRESENT, UNKNOWN


def write_parquet(records: Records, target: Target) -> None:
    """Write the columns image and labels, and those of the other columns that have values.

    The metadata of the file lists all labels in order.

    Raises:
        ImageError: An image that must be copied cannot be read.
        MissingExtraError: pyarrow is not installed.
        OSError: The file cannot be written.
    """
    pyarrow, parquet = parquet_module(target.name)
    paths = references(records, target)
    texts = {
        KEY_NAME: () if list(records.keys) == paths else records.keys,
        "split": records.split_of_each(),
        "group": records.groups or (),
        "mask": mask_references(records, target),
    }
    columns = {"image": pyarrow.array(paths, pyarrow.string())}
    columns |= {
        name: pyarrow.array(cells, pyarrow.string()) for name, cells in texts.items() if any(cells)
    }
    columns["labels"] = _lists(records, PRESENT, pyarrow)
    if (records.targets == UNKNOWN).any():
        columns[UNKNOWN_NAME] = _lists(records, UNKNOWN, pyarrow)
    if records.boxes is not None:
        columns[BOXES_NAME] = _boxes(records.boxes, pyarrow)
    table = pyarrow.table(columns).replace_schema_metadata(
        {METADATA: json.dumps({"labels": list(records.labels)})}
    )
    parquet.write_table(table, target.built / target.name, write_page_checksum=True)


def _lists(records: Records, target: int, pyarrow: Any) -> Any:
    """For each record, the list of the labels with this target."""
    rows, columns = np.nonzero(records.targets == target)
    ends = np.cumsum(np.bincount(rows, minlength=len(records)))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    names = pyarrow.array(list(records.labels), pyarrow.string())
    return pyarrow.ListArray.from_arrays(offsets, names.take(pyarrow.array(columns)))


def _boxes(boxes: Sequence[Sequence[Box]], pyarrow: Any) -> Any:
    sides = [(side, pyarrow.float64()) for side in ("left", "top", "right", "bottom")]
    kind = pyarrow.list_(pyarrow.struct([("label", pyarrow.string()), *sides]))
    return pyarrow.array([[box_dict(box) for box in of_image] for of_image in boxes], kind)
