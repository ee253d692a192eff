"""Predictions saved with their targets and receipt, so that anyone can score them again.

scores.csv             the scores, as `manylabel score --predictions` takes them
scores.targets.csv     the truth of the same images, as its `--targets` takes it
scores.receipt.json    what the scores are of, and the thresholds that decided
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.tabular import path_key
from manylabel.data.read import DataSource, read
from manylabel.data.records import Records
from manylabel.errors import ConfigError, DataError
from manylabel.evaluate.predictions.table import Predictions, write_predictions
from manylabel.files import replaced_file, staging_folder, write_errors, write_text
from manylabel.labels import LabelSpace

if TYPE_CHECKING:
    from manylabel.evaluate.run import Evaluation

_IMAGE: Final = "image"


class Saved(NamedTuple):
    """The three files."""

    predictions: Path
    targets: Path
    receipt: Path


def saved_as(path: Path) -> Saved:
    """The files that predictions saved as `path` come to."""
    return Saved(path, path.with_suffix(".targets.csv"), path.with_suffix(".receipt.json"))


def rehearse_saving(path: Path, records: Records, *, read_from: Iterable[Path | None]) -> None:
    """Returns if predictions for `records` can be saved: better met before the work than after it.

    Args:
        path: Where they are to be saved.
        records: At least one.
        read_from: Files that must stay as they are.

    Raises:
        ConfigError: One of the files would replace one of `read_from`.
        DataError: The ending is of no kind of predictions, or a key or label cannot be kept.
        RunError: The folder cannot be written to.
        MissingExtraError: Parquet without pyarrow.
    """
    kept = {file.resolve() for file in read_from if file is not None}
    for file in saved_as(path):
        if file.resolve() in kept:
            raise ConfigError(
                "The predictions would replace a file that they are computed from.",
                where=str(file),
                fix="Save them under another name.",
            )
    altered = [key for key in records.keys if path_key(key.strip()) != key]
    if altered:
        raise DataError(
            f"{len(altered):,} image names would be read back changed: {altered[0]!r}.",
            where=records.source,
            fix="Name images by paths with slashes and without blanks at the ends.",
        )
    _rehearse(path, records.select(range(min(1, len(records)))))


def save_evaluation(path: Path, found: Evaluation, labels: LabelSpace) -> Saved:
    """Save scores, targets and receipt; each file appears when it is whole.

    Args:
        path: Its ending says the kind: .csv, .tsv, .parquet or .npz. What lies there is replaced.
        found: What was measured.
        labels: The labels of its columns.

    Raises:
        DataError: The ending is none of these.
        RunError: A file cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    files = saved_as(path)
    write_predictions(path, Predictions(found.keys, labels, found.scores, str(path)))
    _write_targets(files.targets, found.keys, labels, found.targets)
    thresholds = {row.label: row.threshold for row in found.measures.per_label}
    receipt = found.receipt.model_dump(mode="json", exclude_none=True)
    tables = {"receipt": receipt, "thresholds": thresholds, "notes": list(found.notes)}
    with write_errors(files.receipt):
        write_text(files.receipt, json.dumps(tables, indent=2) + "\n")
    return files


def _rehearse(path: Path, first: Records) -> None:
    """Save and read a data set of one image in a folder beside `path`, which is gone at once."""
    with write_errors(path), staging_folder(path.parent) as folder:
        trial = saved_as(folder / path.name)
        scores = np.zeros((1, len(first.labels)), np.float32)
        write_predictions(trial.predictions, Predictions(first.keys, first.labels, scores, ""))
        _write_targets(trial.targets, first.keys, first.labels, first.targets)
        try:
            same = read(DataSource(path=trial.targets)).fingerprint() == first.fingerprint()
        except DataError:
            same = False
    if not same:
        raise DataError(
            "The targets would be read back changed: a label cannot be a column's header.",
            where=first.source,
            fix="Rename labels such as image, split, group, mask, labels and tags.",
        )


def _write_targets(
    path: Path, keys: Sequence[str], labels: LabelSpace, targets: NDArray[np.int8]
) -> None:
    with (
        write_errors(path),
        replaced_file(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as file,
    ):
        # Readers guess the separator from the header, outside of quotes.
        csv.writer(file, quoting=csv.QUOTE_ALL).writerow([_IMAGE, *labels])
        writer = csv.writer(file)
        for key, row in zip(keys, targets, strict=True):
            writer.writerow([key, *row.tolist()])
