"""Measures a predictor on a data set: it scores each image once, in one table for all figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records, Split
from manylabel.data.splits.split import with_splits
from manylabel.decide import Decision
from manylabel.errors import DataError, ImageError
from manylabel.evaluate.receipt import Receipt, receipt_of
from manylabel.feed.verify import refusal, without
from manylabel.metrics.accumulate import ScoreTable
from manylabel.metrics.profiles import Measures, find_profile, measure
from manylabel.predict import PredictedBatch, Predictor
from manylabel.processes import in_turns, processes, require_same

UNTUNED: Final = 0.5
"""The threshold of each label in a bundle that was trained but not tuned."""

_HELD_OUT: Final[tuple[Split, ...]] = ("test", "val")


@final
@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of a model on a data set, and all that they were computed from.

    Args:
        measures: The figures.
        scores: float32 [N, C], 0..1, in the order of `keys` and of the model's labels. They are in
            a file if there are more than `metrics.accumulate.IN_MEMORY`.
        targets: int8 [N, C] in {1, 0, -1}, in the same order, and in a file if the scores are.
        keys: The keys of the N images.
        data_fingerprint: SHA-256 of labels, keys and targets. It is equal for the same test data.
        source: Where the data was read from.
        receipt: What the figures depend on.
        notes: What was decided or left out in reading, splitting and measuring, a sentence each.
    """

    measures: Measures
    scores: NDArray[np.float32]
    targets: NDArray[np.int8]
    keys: tuple[str, ...]
    data_fingerprint: str
    source: str
    receipt: Receipt
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The figures, receipt and notes, ready for JSON; without scores and targets."""
        return {
            "data": self.source,
            "data_fingerprint": self.data_fingerprint,
            "notes": list(self.notes),
            "receipt": self.receipt.model_dump(mode="json", exclude_none=True),
            **self.measures.as_dict(),
        }


def evaluate(
    predictor: Predictor,
    records: Records,
    *,
    profile: str = "manylabel",
    skip_bad: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """The figures of a model on all of `records`.

    The bundle's thresholds decide. If they were not tuned and are all 0.5, the profile's own
    thresholds decide. If there are several processes (see `processes`), each scores its part of the
    images, and each returns all figures. They are equal to those of one process to the last bit.

    Args:
        predictor: The model.
        records: The images, with the model's labels in any order. Labels are matched by name.
        profile: The definitions, a key of `manylabel.metrics.PROFILES`.
        skip_bad: Whether to leave out images that cannot be used; a note then counts them.
        on_progress: Called after each image with the number of images done.

    Raises:
        ConfigError: There is no such profile.
        DataError: The labels are not the model's, there is no image, or images cannot be used. All
            images are tried before this is raised, so the error counts the bad ones.
        RunError: Another process failed or ended, or there is no room for the scores.
    """
    find_profile(profile)  # an unknown name is an error before the work, not after it
    records = records.relabelled(predictor.labels)
    _require_images(records)
    require_same((records.fingerprint(), predictor.batch_size), "data set and batch size")
    require_same(predictor.engine.weights_sha256, "bundle")
    table, bad = _score(predictor, records, on_progress)
    if bad and not skip_bad:
        raise refusal(records, bad)
    good = without(records, bad)
    _require_images(good)
    scores, targets = table.finish(good.keys)
    decision, rule = _decision_for(predictor, profile)
    measures = measure(
        scores,
        targets,
        predictor.labels,
        profile=profile,
        thresholds=None if decision is None else decision.thresholds,
        at_least=predictor.decision.at_least,
        at_most=predictor.decision.at_most,
    )
    return Evaluation(
        measures=measures,
        scores=scores,
        targets=targets,
        keys=good.keys,
        data_fingerprint=good.fingerprint(),
        source=good.source,
        receipt=receipt_of(measures, good, thresholds=rule, predictor=predictor),
        notes=good.notes,
    )


def held_out(records: Records, *, trained_on: str | None = None) -> tuple[Records, str]:
    """The part of a data set that a model is measured on, and the name of that part.

    It is the first of these that applies:

    - the test split, if the data set has one;
    - the val split, if it has one;
    - the test split that training drew, if the model was trained on this data set;
    - the whole data set.

    In the last two cases a note says so.

    Args:
        records: The records as a reader returns them.
        trained_on: The fingerprint of the images that the model was trained on, from its
            provenance.
    """
    given = records.split_names()
    for name in _HELD_OUT:
        if name in given:
            return records.split(name), name
    if trained_on is not None and trained_part(records) == trained_on:
        note = "The model was trained on this data set: only images outside of train are measured"
        return take_split(records.with_notes(note), "test"), "test"
    note = (
        "The data set has no test or val split, so all images are measured. If the model was "
        "trained on it, use --split test: training draws this split in the same way and does not "
        "train on it"
    )
    return records.with_notes(note), "all"


def take_split(records: Records, name: Split) -> Records:
    """One split of a data set. If the data set does not have it, it is drawn as in training.

    Raises:
        DataError: The split has no image.
    """
    given = records if name in records.split_names() else with_splits(records)
    taken = given.split(name)
    if not len(taken):
        counts = ", ".join(f"{split} {count:,}" for split, count in given.split_counts().items())
        raise DataError(
            f"The split '{name}' has no image. The splits are: {counts}.",
            where=records.source,
            fix="Give a split that has images, or all.",
        )
    return taken


def trained_part(records: Records) -> str | None:
    """The fingerprint of the images that training would use; None if it refuses the data set."""
    try:
        return with_splits(records).split("train").fingerprint()
    except DataError:
        return None


def _require_images(records: Records) -> None:
    if not len(records):
        raise DataError(
            "There is no image to measure.",
            where=records.source,
            fix="Give a data set with images that can be opened.",
        )


def _decision_for(predictor: Predictor, profile: str) -> tuple[Decision | None, str]:
    """The decision whose thresholds are used, and its description for the receipt.

    The decision is None if the profile's own thresholds are used.
    """
    decision = predictor.decision
    limits = ""
    if decision.limited:
        limits = f", {decision.at_least} to {decision.at_most or 'any number of'} labels an image"
    thresholds = np.array(decision.thresholds)
    if predictor.engine.info.tuned or (thresholds != UNTUNED).any():
        each = "per label" if np.ptp(thresholds) else f"{thresholds[0]:g} for all"
        return decision, f"the bundle's, {each}{limits}"
    decide = find_profile(profile).decide
    own = "none" if decide is None else f"the profile's own, {decide.threshold:g} for all{limits}"
    return None, own


def _score(
    predictor: Predictor, records: Records, on_progress: Callable[[int], None] | None
) -> tuple[ScoreTable, list[ImageError]]:
    """The scores of the images that can be used, and the errors of the others in order."""
    table = ScoreTable(len(records), repeats="refuse")
    bad: list[ImageError] = []
    done = 0
    for start, batch in in_turns(_own_batches(predictor, records)):
        bad += batch.errors.values()
        if len(batch.good):
            rows = [start + place for place in batch.good]
            table.add(
                [records.keys[row] for row in rows],
                batch.scores,
                records.targets[rows],
            )
        for _ in batch.keys:
            done += 1
            if on_progress is not None:
                on_progress(done)
    assert done == len(records), f"{done} of {len(records)} images were seen"
    return table, bad


def _own_batches(predictor: Predictor, records: Records) -> Iterator[tuple[int, PredictedBatch]]:
    """This process's predicted batches, each with the position of its first image.

    The predictor divides the images of this process into batches again. These are the same batches,
    since all are full except the data set's last one, which is also the last one of its process.
    """
    size = predictor.batch_size
    starts = list(processes().share(range(0, len(records), size)))
    own = (i for start in starts for i in range(len(records))[start : start + size])
    batches = predictor.predict_batches((records.keys[i], records.images[i]) for i in own)
    return zip(starts, batches, strict=True)
