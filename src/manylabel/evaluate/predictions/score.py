"""Measures predictions from files, which any program may have made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from manylabel.config import parse
from manylabel.data.read import DataSource, read, recognise
from manylabel.data.records import SPLITS, Records
from manylabel.errors import DataError
from manylabel.evaluate.intervals import THRESHOLD, Intervals, OnProgress, Threshold, intervals
from manylabel.evaluate.predictions.saving import saved_as, with_saved
from manylabel.evaluate.predictions.table import Predictions, matched, read_predictions
from manylabel.evaluate.receipt import Receipt, receipt_of
from manylabel.files import read_bytes
from manylabel.labels import LabelSpace
from manylabel.metrics.additional import measure_additional
from manylabel.metrics.profiles import Measures, find_profile, measure
from manylabel.plain_json import parse_json


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Where the targets are, and how to read them and files of predictions.

    Args:
        targets: The path of the targets: a data set of any format.
        kind: The format of the data set; it is recognised if not given.
        split: The split to use; all of the data set if not given.
        logits: Whether the predictions are logits.
        image_list: The list of images, for predictions that are lists.
        label_names: The list of labels, for predictions that are lists.
    """

    targets: Path
    kind: str | None = None
    split: str | None = None
    logits: bool = False
    image_list: Path | None = None
    label_names: Path | None = None

    def read_truth(self) -> Records:
        """The images with their targets.

        Raises:
            DataError: The data set cannot be read, or the split has no image.
        """
        given = {"path": str(self.targets), "format": self.kind or "auto"}
        truth = read(parse(DataSource, given, where="the targets"))
        for name in SPLITS:
            if name == self.split:
                truth = truth.split(name)
        if not len(truth):
            raise DataError(
                f"The split '{self.split}' of the targets has no image.",
                where=str(self.targets),
                fix="Give a split that has images, or leave out the split.",
            )
        return truth

    def read_predictions(self, path: Path) -> Predictions:
        """The predictions in a file.

        Raises:
            DataError: The file cannot be read, or its numbers cannot be used.
            MissingExtraError: Parquet without pyarrow.
        """
        found = read_predictions(
            path,
            logits=self.logits,
            image_list=self.image_list,
            label_names=self.label_names,
            instances=self._instances() if path.suffix.lower() == ".json" else None,
        )
        return with_saved(found, path)

    def _instances(self) -> Path | None:
        """The targets, if they are a COCO instances file: COCO results contain its ids."""
        kind, path = recognise(self.targets)
        return path if kind == "coco" and path.is_file() else None


@final
@dataclass(frozen=True, eq=False)
class Score:
    """The figures of a file of predictions, with their receipt.

    Args:
        measures: The figures.
        receipt: What the figures depend on.
        notes: What was decided or left out in reading and matching, a sentence each.
        predictions: The scores, in the order of the targets.
        truth: The images with their targets.
        threshold: The threshold of the additional figures, which belong to no profile: one for all
            labels, or [C].
        intervals: The intervals of the figures; None if they were not requested.
    """

    measures: Measures
    receipt: Receipt
    notes: tuple[str, ...]
    predictions: Predictions
    truth: Records
    threshold: Threshold = THRESHOLD
    intervals: Intervals | None = None

    def additional(self) -> dict[str, float]:
        """The additional figures, which belong to no profile, by name. Each call computes them."""
        return measure_additional(self.predictions.scores, self.truth.targets, self.threshold)

    def as_dict(self) -> dict[str, Any]:
        """All figures, receipt and notes, ready for JSON; None for a figure without a value."""
        receipt = self.receipt.model_dump(mode="json", exclude_none=True)
        tables: dict[str, Any] = {
            **self.measures.as_dict(),
            "more": {**self.additional(), "threshold": np.asarray(self.threshold).tolist()},
        }
        if self.intervals:
            tables["intervals"] = self.intervals.as_dict()
        return without_nan({**tables, "receipt": receipt, "notes": list(self.notes)})


def score_predictions(
    predictions: Path,
    inputs: Inputs,
    *,
    common: bool = False,
    profile: str = "manylabel",
    threshold: float | Path | None = None,
    draws: int = 0,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Score:
    """The figures of predictions on a data set. Images and labels are matched by name.

    Args:
        predictions: A file for `read_predictions`.
        inputs: The targets, and how to read both.
        common: Whether to measure only the images that both have, if the images differ.
        profile: The definitions, a key of `manylabel.metrics.PROFILES`.
        threshold: One threshold for all labels, 0..1; or a JSON file with one per label, for
            instance a saved receipt. If not given, the profile's own.
        draws: The number of draws of the intervals; 0: no intervals.
        seed: The seed of the draws.
        on_progress: Called with the number of labels that are drawn, and the number of all labels.

    Raises:
        ConfigError: There is no such profile.
        DataError: A file cannot be read, or images or labels differ.
        MissingExtraError: The file is Parquet, and pyarrow is not installed.
    """
    find_profile(profile)  # an unknown name is an error before the work, not after it
    truth = inputs.read_truth()
    found, truth = matched(inputs.read_predictions(predictions), truth, common=common)
    targets = truth.targets
    given = read_thresholds(threshold, truth.labels) if isinstance(threshold, Path) else threshold
    measures = measure(found.scores, targets, truth.labels, profile=profile, thresholds=given)
    decided_at = THRESHOLD if given is None else given
    found_intervals = None
    if draws:
        found_intervals = intervals(
            found.scores,
            targets,
            truth.labels,
            draws=draws,
            seed=seed,
            threshold=decided_at,
            on_progress=on_progress,
        )
    return Score(
        measures=measures,
        receipt=receipt_of(
            measures, truth, thresholds=describe_threshold(threshold), predictions=str(predictions)
        ),
        notes=(*truth.notes, *found.notes, *_of_decision(predictions, found, threshold)),
        predictions=found,
        truth=truth,
        threshold=decided_at,
        intervals=found_intervals,
    )


def _of_decision(path: Path, found: Predictions, given: float | Path | None) -> list[str]:
    """What to say of the decision of the model, if it is known and not used in full."""
    if found.decision is None or isinstance(given, float):
        return []
    if given is None:
        about = saved_as(path).receipt
        return [f"The model's own thresholds are in {about}: --thresholds {about} decides by them"]
    if found.decision.limited:
        return ["The limits of the model on the number of labels of an image are not used here"]
    return []


def read_thresholds(path: Path, labels: LabelSpace) -> NDArray[np.float64]:
    """A threshold for each label [C], from a JSON file.

    The file holds an object from label to threshold, or such an object under `thresholds`.

    Raises:
        DataError: The file cannot be read, a label is missing, or a value is not a threshold.
    """
    wanted = "an object from label to threshold, or the .receipt.json of saved predictions"
    by_label = _by_label(path, wanted)
    missing = [name for name in labels if name not in by_label]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(labels):,} labels have no threshold: "
            f"{', '.join(missing[:3])}.",
            where=str(path),
            fix=f"Give {wanted}.",
        )
    values = [by_label[name] for name in labels]
    for name, value in zip(labels, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise DataError(
                f"The threshold of '{name}' is {repr(value)[:60]}.",
                where=str(path),
                fix="Give numbers from 0 to 1.",
            )
    return np.array(values, dtype=np.float64)


def _by_label(path: Path, wanted: str) -> Mapping[str, Any]:
    try:
        document = parse_json(read_bytes(path))
    except ValueError as error:
        raise DataError(
            f"The thresholds cannot be read: {error}.", where=str(path), fix=f"Give {wanted}."
        ) from None
    found = document.get("thresholds", document) if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise DataError(
            "The file does not hold a threshold for each label.",
            where=str(path),
            fix=f"Give {wanted}.",
        )
    return found


def describe_threshold(threshold: float | Path | None) -> str:
    """The description of a threshold for a receipt."""
    if isinstance(threshold, Path):
        return f"per label, from {threshold}"
    return "the profile's own" if threshold is None else f"{threshold:g} for all"


def without_nan(value: Any) -> Any:
    """A copy of the value with None for each NaN, since JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
