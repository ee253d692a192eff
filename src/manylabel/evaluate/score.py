"""Measures predictions that were made anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from manylabel.config import parse
from manylabel.data.read import DataSource, read, recognise
from manylabel.data.records import SPLITS
from manylabel.errors import DataError
from manylabel.evaluate.predictions import matched, read_predictions
from manylabel.evaluate.receipt import Receipt, receipt_of
from manylabel.metrics.profiles import Measures, find_profile, measure


@final
@dataclass(frozen=True, eq=False)
class Score:
    """The figures of a file of predictions, with their receipt.

    Args:
        measures: The figures.
        receipt: What they are of.
        notes: What reading and matching decided or left out, a sentence each.
    """

    measures: Measures
    receipt: Receipt
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, `receipt` and `notes`, ready for JSON."""
        receipt = self.receipt.model_dump(mode="json", exclude_none=True)
        return {**self.measures.as_dict(), "receipt": receipt, "notes": list(self.notes)}


def score_predictions(
    predictions: Path,
    targets: Path,
    *,
    kind: str | None = None,
    split: str | None = None,
    logits: bool = False,
    image_list: Path | None = None,
    label_names: Path | None = None,
    common: bool = False,
    profile: str = "manylabel",
    threshold: float | None = None,
) -> Score:
    """The figures of predictions against a data set, matched by name of image and label.

    Args:
        predictions: A file as `read_predictions` takes it.
        targets: Any data set.
        kind: Its format; recognised if not given.
        split: Take only this split of it.
        logits: The predictions are logits.
        image_list: For lists: their images.
        label_names: For lists: their labels.
        common: Measure the images that both have, where they differ.
        profile: The definitions, a key of `manylabel.metrics.PROFILES`.
        threshold: For all labels, 0..1; the profile's own if not given.

    Raises:
        ConfigError: No such profile.
        DataError: One of the files cannot be read, or they do not fit each other.
        MissingExtraError: Parquet without pyarrow.
    """
    find_profile(profile)  # a wrong name is met before the work, not after it
    given = {"path": str(targets), "format": kind or "auto"}
    truth = read(parse(DataSource, given, where="the targets"))
    for name in SPLITS:
        if name == split:
            truth = truth.split(name)
    if not len(truth):
        raise DataError(
            f"The split '{split}' of the targets has no image.",
            where=str(targets),
            fix="Name a split that has images, or none.",
        )
    instances = _instances(targets) if predictions.suffix.lower() == ".json" else None
    found = read_predictions(
        predictions,
        logits=logits,
        image_list=image_list,
        label_names=label_names,
        instances=instances,
    )
    found, truth = matched(found, truth, common=common)
    measures = measure(
        found.scores, truth.targets(), truth.labels, profile=profile, thresholds=threshold
    )
    rule = "the profile's own" if threshold is None else f"{threshold:g} for all"
    receipt = receipt_of(measures, truth, thresholds=rule, predictions=str(predictions))
    return Score(measures, receipt, (*truth.notes, *found.notes))


def _instances(targets: Path) -> Path | None:
    """The instances file that COCO results speak of, if the targets are one."""
    kind, path = recognise(targets)
    return path if kind == "coco" and path.is_file() else None
