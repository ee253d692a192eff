"""Files of predictions under all profiles, and two of them against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from manylabel.data.records import Records
from manylabel.evaluate.compare.paired import Comparison, compare, same_images
from manylabel.evaluate.compare.profile_differences import Side, side_by_side
from manylabel.evaluate.intervals import THRESHOLD, OnProgress
from manylabel.evaluate.predictions.score import Inputs, rule, without_nan
from manylabel.evaluate.predictions.table import Predictions, matched
from manylabel.evaluate.receipt import Receipt, receipt_of
from manylabel.metrics.profiles import find_profile


@final
@dataclass(frozen=True, eq=False)
class Model:
    """One file of predictions under every profile.

    Args:
        profiles: By name, the reference first.
        receipt: What the figures are of.
    """

    profiles: dict[str, Side]
    receipt: Receipt


@final
@dataclass(frozen=True, eq=False)
class Compared:
    """What `compare_files` found.

    Args:
        models: One or two.
        comparison: The second against the first, where there are two.
        notes: What reading and matching decided or left out, a sentence each.
    """

    models: tuple[Model, ...]
    comparison: Comparison | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """`a`, `b` and `comparison` where there are two, and `notes`; ready for JSON."""
        tables: dict[str, Any] = {
            name: {
                "profiles": {key: side.as_dict() for key, side in model.profiles.items()},
                "receipt": model.receipt.model_dump(mode="json", exclude_none=True),
            }
            for name, model in zip("ab", self.models, strict=False)
        }
        if self.comparison:
            tables["comparison"] = self.comparison.as_dict()
        return without_nan({**tables, "notes": list(self.notes)})


def compare_files(
    paths: Sequence[Path],
    inputs: Inputs,
    *,
    common: bool = False,
    reference: str = "manylabel",
    threshold: float | None = None,
    draws: int = 1000,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Compared:
    """One file of predictions under all profiles; two also against each other.

    Args:
        paths: One or two files as `read_predictions` takes them.
        inputs: The truth, and how to read all.
        common: Take the images that all have, where they differ.
        reference: The profile that the others' gaps are told against.
        threshold: For all labels and profiles, 0..1; each one's own if not given.
        draws: How many draws the intervals are of.
        seed: Of the draws.
        on_progress: Told how many labels are drawn, and of how many.

    Raises:
        ConfigError: No such profile.
        DataError: One of the files cannot be read, or they do not fit each other.
        MissingExtraError: Parquet without pyarrow.
    """
    assert len(paths) in (1, 2), paths
    find_profile(reference)  # a wrong name is met before the work, not after it
    truth = inputs.read_truth()
    found = [inputs.read_predictions(path) for path in paths]
    comparison = None
    if len(found) == 1:
        found[0], truth = matched(found[0], truth, common=common)
    else:
        found[0], found[1], truth = same_images(found[0], found[1], truth, common=common)
        comparison = compare(
            found[0],
            found[1],
            truth,
            threshold=THRESHOLD if threshold is None else threshold,
            draws=draws,
            seed=seed,
            on_progress=on_progress,
        )
    models = tuple(_model(each, truth, reference, threshold) for each in found)
    notes = (*truth.notes, *(note for each in found for note in each.notes))
    return Compared(models, comparison, tuple(dict.fromkeys(notes)))


def _model(
    predictions: Predictions, truth: Records, reference: str, threshold: float | None
) -> Model:
    profiles = side_by_side(
        predictions.scores,
        truth.targets,
        truth.labels,
        reference=reference,
        threshold=threshold,
    )
    receipt = receipt_of(
        profiles[reference].measures,
        truth,
        thresholds=rule(threshold),
        predictions=predictions.source,
    )
    return Model(profiles, receipt)
