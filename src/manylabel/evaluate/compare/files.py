"""Measures files of predictions under all profiles, and compares two files with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from manylabel.data.records import Records
from manylabel.evaluate.compare.paired import Comparison, compare, same_images
from manylabel.evaluate.compare.profile_differences import ProfileResult, side_by_side
from manylabel.evaluate.intervals import OnProgress, decision_in_words
from manylabel.evaluate.predictions.saving import saved_as
from manylabel.evaluate.predictions.score import Inputs, describe_threshold, without_nan
from manylabel.evaluate.predictions.table import Predictions, matched
from manylabel.evaluate.receipt import Receipt, receipt_of
from manylabel.metrics.profiles import find_profile


@final
@dataclass(frozen=True, eq=False)
class Model:
    """The metrics of one file of predictions under every profile.

    Args:
        profiles: The results by profile name; the reference is the first.
        receipt: How the metrics were measured.
    """

    profiles: dict[str, ProfileResult]
    receipt: Receipt


@final
@dataclass(frozen=True, eq=False)
class Compared:
    """The result of `compare_files`.

    Args:
        models: One model or two.
        comparison: The comparison of the second with the first; None if there is one model.
        notes: What reading and matching decided or left out, one sentence each.
    """

    models: tuple[Model, ...]
    comparison: Comparison | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """`a`, and for two models `b` and `comparison`, and `notes`; ready for JSON."""
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
    """Measures one file of predictions under all profiles, or measures and compares two files.

    Args:
        paths: One or two files that `read_predictions` can read.
        inputs: The targets, and how to read all files.
        common: If the images differ, use those that all files have.
        reference: The profile with which the others are compared.
        threshold: The threshold for all labels and profiles, 0..1. If not given, the decision that
            was saved with the predictions, and each profile's own if there is none.
        draws: The number of bootstrap draws for the intervals.
        seed: The seed of the draws.
        on_progress: Called with the number of labels done and the number of all labels.

    Raises:
        ConfigError: There is no such profile.
        DataError: One of the files cannot be read, or they do not fit each other.
        MissingExtraError: A file is in Parquet, and pyarrow is not installed.
    """
    assert len(paths) in (1, 2), paths
    find_profile(reference)  # a wrong name is an error before the work, not after it
    truth = inputs.read_truth()
    found = [_as_decided(inputs.read_predictions(path), path, threshold) for path in paths]
    comparison = None
    if len(found) == 1:
        found[0], truth = matched(found[0], truth, common=common)
    else:
        found[0], found[1], truth = same_images(found[0], found[1], truth, common=common)
        comparison = compare(
            found[0],
            found[1],
            truth,
            threshold=threshold,
            draws=draws,
            seed=seed,
            on_progress=on_progress,
        )
    models = tuple(_model(each, truth, reference, threshold) for each in found)
    notes = (*truth.notes, *(note for each in found for note in each.notes))
    return Compared(models, comparison, tuple(dict.fromkeys(notes)))


def _as_decided(found: Predictions, path: Path, threshold: float | None) -> Predictions:
    """The predictions, with a note if they are decided as their model decides."""
    if found.decision is None or threshold is not None:
        return found
    about, words = saved_as(path).receipt, decision_in_words(found.decision)
    note = f"{path} is decided as its model decides, by {about}: {words}"
    return replace(found, notes=(*found.notes, note))


def _model(
    predictions: Predictions, truth: Records, reference: str, threshold: float | None
) -> Model:
    decision = predictions.decision if threshold is None else None
    profiles = side_by_side(
        predictions.scores,
        truth.targets,
        truth.labels,
        reference=reference,
        threshold=threshold,
        decision=decision,
    )
    receipt = receipt_of(
        profiles[reference].measures,
        truth,
        thresholds=describe_threshold(threshold) if decision is None else "the saved ones",
        predictions=predictions.source,
    )
    return Model(profiles, receipt)
