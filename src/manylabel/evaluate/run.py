"""Measures a predictor on a data set: every image scored once, every figure from one table."""

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
"""The threshold of every label that training leaves in a bundle."""

_HELD_OUT: Final[tuple[Split, ...]] = ("test", "val")


@final
@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of a model on a data set, and all that they were computed from.

    Args:
        measures: The figures.
        scores: float32 [N, C], 0..1, in the order of `keys` and of the model's labels; in a file
            if they are more than `metrics.accumulate.IN_MEMORY`.
        targets: int8 [N, C] in {1, 0, -1}, likewise.
        keys: The N images.
        data_fingerprint: SHA-256 of labels, keys and targets: equal ones are the same test.
        source: Where the data was read from.
        receipt: What the figures are of.
        notes: What reading, splitting and measuring decided or dropped, a sentence each.
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
        """The figures and what they are of, ready for JSON; without scores and targets."""
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

    Decided by the bundle's thresholds; where these are 0.5 and were not tuned, by the profile's
    own. Of several processes (see `processes`) each scores its share, and each gets all
    figures, equal to the last bit to those of one.

    Args:
        predictor: The model.
        records: The images, with the model's labels in any order: they are matched by name.
        profile: The definitions, a key of `manylabel.metrics.PROFILES`.
        skip_bad: Leave out images that cannot be used, and say so in the notes.
        on_progress: Called with the number of images done, after each.

    Raises:
        ConfigError: No such profile.
        DataError: Other labels than the model's, no image, or images that cannot be used; all of
            these are counted before it is raised.
        RunError: Another process failed or is gone, or there is no room for the scores.
    """
    find_profile(profile)  # a wrong name is met before the work, not after it
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
    """The part of a data set that a model is measured on, and what that part is called.

    That is test if the data set gives one, else val. If it gives neither, it is the test split
    that training drew and left alone where this is the data set that the model was trained on,
    else all of it, with a note.

    Args:
        records: As a reader gives them.
        trained_on: Fingerprint of the images that the model was trained on, as its provenance
            has it.
    """
    given = records.split_names()
    for name in _HELD_OUT:
        if name in given:
            return records.split(name), name
    if trained_on is not None and trained_part(records) == trained_on:
        note = "The model was trained on this data set: what it was not trained on is measured"
        return take_split(records.with_notes(note), "test"), "test"
    note = (
        "The data set gives no test or val split: all of it is measured. If the model was trained "
        "on it, take --split test, which training draws the same way and leaves alone"
    )
    return records.with_notes(note), "all"


def take_split(records: Records, name: Split) -> Records:
    """One split of a data set; where the data set does not give it, as training would draw it.

    Raises:
        DataError: The split has no image.
    """
    given = records if name in records.split_names() else with_splits(records)
    taken = given.split(name)
    if not len(taken):
        counts = ", ".join(f"{split} {count:,}" for split, count in given.split_counts().items())
        raise DataError(
            f"The split '{name}' has no image; there are {counts}.",
            where=records.source,
            fix="Name a split that has images, or all.",
        )
    return taken


def trained_part(records: Records) -> str | None:
    """Fingerprint of what training would train on; None if it would refuse the data set."""
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
    """Whose thresholds decide, None for the profile's own, and that in words for the receipt."""
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
    """Scores of the images that can be used, and the errors of the rest in order."""
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
    """What this process makes of its share of the batches, each with the place of its first image.

    The predictor cuts the images of the share into batches anew, and they come out as they were:
    all are full but the data set's last one, which is the last of its process, too.
    """
    size = predictor.batch_size
    starts = list(processes().share(range(0, len(records), size)))
    own = (i for start in starts for i in range(len(records))[start : start + size])
    batches = predictor.predict_batches((records.keys[i], records.images[i]) for i in own)
    return zip(starts, batches, strict=True)
