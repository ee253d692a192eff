"""Measures predictions that were made anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from manylabel.config import parse
from manylabel.data.formats.parsing import load_object
from manylabel.data.read import DataSource, read, recognise
from manylabel.data.records import SPLITS, Records
from manylabel.errors import DataError
from manylabel.evaluate.intervals import THRESHOLD, Intervals, OnProgress, Threshold, intervals
from manylabel.evaluate.predictions.table import Predictions, matched, read_predictions
from manylabel.evaluate.receipt import Receipt, receipt_of
from manylabel.labels import LabelSpace
from manylabel.metrics.additional import measure_additional
from manylabel.metrics.profiles import Measures, find_profile, measure


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Where the truth lies, and how it and files of predictions are to be read.

    Args:
        targets: Any data set.
        kind: Its format; recognised if not given.
        split: Take only this split of it.
        logits: The predictions are logits.
        image_list: For lists: their images.
        label_names: For lists: their labels.
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
                fix="Name a split that has images, or none.",
            )
        return truth

    def read_predictions(self, path: Path) -> Predictions:
        """The predictions in a file.

        Raises:
            DataError: The file cannot be read, or its numbers cannot be used.
            MissingExtraError: Parquet without pyarrow.
        """
        return read_predictions(
            path,
            logits=self.logits,
            image_list=self.image_list,
            label_names=self.label_names,
            instances=self._instances() if path.suffix.lower() == ".json" else None,
        )

    def _instances(self) -> Path | None:
        """The instances file that COCO results speak of, if the targets are one."""
        kind, path = recognise(self.targets)
        return path if kind == "coco" and path.is_file() else None


@final
@dataclass(frozen=True, eq=False)
class Score:
    """The figures of a file of predictions, with their receipt.

    Args:
        measures: The figures.
        receipt: What they are of.
        notes: What reading and matching decided or left out, a sentence each.
        predictions: The scores, in the truth's order.
        truth: The images with their targets.
        threshold: What the figures that are of no profile are decided at; one, or [C].
        intervals: How far figures would move with other images; None where not asked for.
    """

    measures: Measures
    receipt: Receipt
    notes: tuple[str, ...]
    predictions: Predictions
    truth: Records
    threshold: Threshold = THRESHOLD
    intervals: Intervals | None = None

    def more(self) -> dict[str, float]:
        """All figures that no profile has, by name; computed when called."""
        return measure_additional(self.predictions.scores, self.truth.targets, self.threshold)

    def as_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON; None where a figure has no value."""
        receipt = self.receipt.model_dump(mode="json", exclude_none=True)
        tables: dict[str, Any] = {
            **self.measures.as_dict(),
            "more": {**self.more(), "threshold": np.asarray(self.threshold).tolist()},
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
    """The figures of predictions against a data set, matched by name of image and label.

    Args:
        predictions: A file as `read_predictions` takes it.
        inputs: The truth, and how to read both.
        common: Measure the images that both have, where they differ.
        profile: The definitions, a key of `manylabel.metrics.PROFILES`.
        threshold: For all labels, 0..1; or a JSON file of one a label, as a saved receipt is; the
            profile's own if not given.
        draws: How many draws the intervals are of; 0: no intervals.
        seed: Of the draws.
        on_progress: Told how many labels are drawn, and of how many.

    Raises:
        ConfigError: No such profile.
        DataError: One of the files cannot be read, or they do not fit each other.
        MissingExtraError: Parquet without pyarrow.
    """
    find_profile(profile)  # a wrong name is met before the work, not after it
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
            measures, truth, thresholds=rule(threshold), predictions=str(predictions)
        ),
        notes=(*truth.notes, *found.notes),
        predictions=found,
        truth=truth,
        threshold=decided_at,
        intervals=found_intervals,
    )


def read_thresholds(path: Path, labels: LabelSpace) -> NDArray[np.float64]:
    """A threshold for each label [C] from JSON: an object by label, alone or under `thresholds`.

    Raises:
        DataError: The file cannot be read, lacks a label, or holds what is no threshold.
    """
    wanted = "an object from label to threshold, or the .receipt.json of saved predictions"
    document = load_object(path, wanted)
    by_label = document.get("thresholds", document)
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
                f"The threshold of '{name}' is {value!r}.",
                where=str(path),
                fix="Give numbers from 0 to 1.",
            )
    return np.array(values, dtype=np.float64)


def rule(threshold: float | Path | None) -> str:
    """How it was decided, for a receipt."""
    if isinstance(threshold, Path):
        return f"per label, from {threshold}"
    return "the profile's own" if threshold is None else f"{threshold:g} for all"


def without_nan(value: Any) -> Any:
    """The value with None for each NaN, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
