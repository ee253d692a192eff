"""Saves predictions with their targets and receipt, so that anyone can measure them again.

scores.csv             the scores, for `manylabel score --predictions`
scores.targets.csv     the targets of the same images, for `--targets` of that command
scores.receipt.json    what the scores depend on, and how the model decides
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manylabel.config import parse
from manylabel.data.formats.tabular import path_key
from manylabel.data.read import DataSource, read
from manylabel.data.records import Records
from manylabel.decide import UNTUNED, Decision
from manylabel.errors import ConfigError, DataError
from manylabel.evaluate.predictions.table import Predictions, writer_for
from manylabel.files import read_bytes, replaced_files, staging_folder, write_errors
from manylabel.labels import LabelSpace
from manylabel.plain_json import parse_json
from manylabel.text import counted, for_spreadsheet

if TYPE_CHECKING:
    from manylabel.evaluate.run import Evaluation

_IMAGE: Final = "image"


class Saved(NamedTuple):
    """The paths of the three files."""

    predictions: Path
    targets: Path
    receipt: Path


def saved_as(path: Path) -> Saved:
    """The three files of predictions that are saved as `path`."""
    return Saved(path, path.with_suffix(".targets.csv"), path.with_suffix(".receipt.json"))


def check_saving(path: Path, records: Records, *, read_from: Iterable[Path | None]) -> None:
    """Check before the work that predictions for `records` can be saved after it.

    Args:
        path: The path to save them as.
        records: At least one record.
        read_from: Files that must not be replaced.

    Raises:
        ConfigError: One of the files would replace one of `read_from`.
        DataError: The suffix of `path` is unknown, or a key or label would be read back changed.
        RunError: The folder cannot be written to.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
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
            fix="Name images by paths with forward slashes, and without spaces at either end.",
        )
    _save_and_read_back(path, records.select(range(min(1, len(records)))))


def with_saved(predictions: Predictions, path: Path) -> Predictions:
    """The predictions in the file `path`, with what was saved beside them, if anything was.

    This is how their model decides, and a note if they are also of images that it was trained on.

    Args:
        predictions: What was read from the file.
        path: The file.
    """
    about = saved_as(path).receipt
    if not about.is_file():
        return predictions
    try:
        receipt, decision = _read_saved(about, predictions)
    except (DataError, ValueError) as error:
        reason = error.what.rstrip(".") if isinstance(error, DataError) else error
        note = f"{about} does not belong to {path}, and is not used: {reason}"
        return replace(predictions, notes=(*predictions.notes, note))
    notes = predictions.notes
    trained = receipt.get("trained_on")
    if isinstance(trained, int) and trained > 0 and receipt.get("trained_kept") is True:
        note = f"{path}: the model was trained on {counted(trained, 'image')} of these"
        notes = (*notes, f"{note}, so expect lower figures for new images")
    return replace(predictions, notes=notes, decision=decision)


def _read_saved(about: Path, predictions: Predictions) -> tuple[dict[str, Any], Decision | None]:
    """The receipt, and the decision in the order of the labels; None if it is not a tuned one.

    Raises:
        DataError: The file cannot be read.
        ValueError: It is not of these predictions. The message is a part of a sentence.
    """
    tables = parse_json(read_bytes(about))
    tables = tables if isinstance(tables, dict) else {}
    receipt, by_label = tables.get("receipt"), tables.get("thresholds")
    if not (isinstance(receipt, dict) and isinstance(by_label, dict)):
        raise ValueError("it is not the receipt of predictions")
    if receipt.get("images") != len(predictions.keys):
        raise ValueError(f"it is of another number of images than {len(predictions.keys):,}")
    if by_label.keys() != set(predictions.labels):
        raise ValueError("it is of other labels")
    given = {"thresholds": [by_label[name] for name in predictions.labels]}
    limits = tables.get("limits")
    try:
        decision = parse(Decision, given | (limits if isinstance(limits, dict) else {}), where="")
    except ConfigError as error:
        raise ValueError(error.what.rstrip(".")) from None
    own = decision.limited or any(value != UNTUNED for value in decision.thresholds)
    return receipt, decision if own else None


def save_evaluation(path: Path, found: Evaluation, labels: LabelSpace) -> Saved:
    """Save scores, targets and receipt. They appear together, when all of them are complete.

    Args:
        path: The path; its suffix gives the format: .csv, .tsv, .parquet or .npz. Existing files
            are replaced.
        found: The evaluation to save.
        labels: The labels of the columns of its scores.

    Returns:
        The paths of the three files.

    Raises:
        DataError: The suffix is none of these.
        RunError: A file cannot be written.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    files, write = saved_as(path), writer_for(path)
    thresholds = {row.label: row.threshold for row in found.measures.per_label}
    receipt = found.receipt.model_dump(mode="json", exclude_none=True)
    tables = {"receipt": receipt, "thresholds": thresholds, "notes": list(found.notes)}
    if found.limits != (0, None):
        tables["limits"] = dict(zip(("at_least", "at_most"), found.limits, strict=True))
    with (
        write_errors(path, "The predictions"),
        replaced_files(*files) as (scores, targets, about),
    ):
        write(scores, Predictions(found.keys, labels, found.scores, str(path)))
        _write_targets(targets, found.keys, labels, found.targets)
        about.write_text(json.dumps(tables, indent=2) + "\n", encoding="utf-8")
    return files


def _save_and_read_back(path: Path, first: Records) -> None:
    """Save one image's predictions in a temporary folder beside `path`, and read them back."""
    with write_errors(path), staging_folder(path.parent) as folder:
        trial = saved_as(folder / path.name)
        scores = np.zeros((1, len(first.labels)), np.float32)
        writer_for(path)(trial.predictions, Predictions(first.keys, first.labels, scores, ""))
        _write_targets(trial.targets, first.keys, first.labels, first.targets)
        try:
            same = read(DataSource(path=trial.targets)).fingerprint() == first.fingerprint()
        except DataError:
            same = False
    if not same:
        raise DataError(
            "The targets would be read back changed: some label cannot be the header of a column.",
            where=first.source,
            fix="Rename labels such as image, split, group, mask, labels and tags.",
        )


def _write_targets(
    path: Path, keys: Sequence[str], labels: LabelSpace, targets: NDArray[np.int8]
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        # Readers guess the separator from the header, outside of quotes.
        header = [_IMAGE, *map(for_spreadsheet, labels)]
        csv.writer(file, quoting=csv.QUOTE_ALL).writerow(header)
        writer = csv.writer(file)
        for key, row in zip(keys, targets, strict=True):
            writer.writerow([for_spreadsheet(key), *row.tolist()])
