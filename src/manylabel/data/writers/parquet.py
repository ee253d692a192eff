"""A Parquet file with lists of labels, which any name fits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from manylabel.data.formats.arrow import parquet_module
from manylabel.data.formats.arrow_labels import UNKNOWN_NAME
from manylabel.data.formats.tabular import KEY_NAME
from manylabel.data.formats.truth import box_dict
from manylabel.data.readers.parquet import BOXES_NAME, METADATA
from manylabel.data.records import Records
from manylabel.data.writers.references import Target, reference, references
from manylabel.labels import PRESENT, UNKNOWN


def write_parquet(records: Records, target: Target) -> None:
    """Write the columns image and labels, and those of the others that are needed.

    All labels, in order, are in the file's metadata.

    Raises:
        ImageError: An image that has to be copied cannot be read.
        MissingExtraError: pyarrow is not installed.
        OSError: The file cannot be written.
    """
    pyarrow, parquet = parquet_module(target.name)
    items = records.items
    paths = references(records, target)
    keys = [record.key for record in items]
    masks = [record.mask and reference(record.mask, target.home) for record in items]
    texts = {
        KEY_NAME: [] if keys == paths else keys,
        "split": [record.split for record in items],
        "group": [record.group for record in items],
        "mask": masks,
    }
    columns = {"image": pyarrow.array(paths, pyarrow.string())}
    columns |= {
        name: pyarrow.array(cells, pyarrow.string()) for name, cells in texts.items() if any(cells)
    }
    columns["labels"] = _lists(records, PRESENT, pyarrow)
    if (records.targets() == UNKNOWN).any():
        columns[UNKNOWN_NAME] = _lists(records, UNKNOWN, pyarrow)
    if any(record.boxes for record in items):
        columns[BOXES_NAME] = _boxes(records, pyarrow)
    table = pyarrow.table(columns).replace_schema_metadata(
        {METADATA: json.dumps({"labels": list(records.labels)})}
    )
    parquet.write_table(table, target.built / target.name, write_page_checksum=True)


def _lists(records: Records, target: int, pyarrow: Any) -> Any:
    """A list a record of the labels with this target."""
    rows, columns = np.nonzero(records.targets() == target)
    ends = np.cumsum(np.bincount(rows, minlength=len(records)))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    names = pyarrow.array(list(records.labels), pyarrow.string())
    return pyarrow.ListArray.from_arrays(offsets, names.take(pyarrow.array(columns)))


def _boxes(records: Records, pyarrow: Any) -> Any:
    sides = [(side, pyarrow.float64()) for side in ("left", "top", "right", "bottom")]
    kind = pyarrow.list_(pyarrow.struct([("label", pyarrow.string()), *sides]))
    boxes = [[box_dict(box) for box in record.boxes] for record in records.items]
    return pyarrow.array(boxes, kind)
