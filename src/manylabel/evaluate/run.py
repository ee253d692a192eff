"""Measures a predictor on a data set: it scores each image once, in one table for all figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records, Split
from manylabel.data.splits.split import with_splits
from manylabel.decide import UNTUNED, Decision
from manylabel.errors import DataError, ImageError
from manylabel.evaluate.overlap import Overlap, find_overlap, require_unseen
from manylabel.evaluate.receipt import Receipt, receipt_of
from manylabel.feed.verify import refusal, without
from manylabel.images import NO_CONTENT
from manylabel.metrics.accumulate import ScoreTable
from manylabel.metrics.profiles import Measures, find_profile, measure
from manylabel.predict import PredictedBatch, Predictor
from manylabel.processes import in_turns, processes, require_same

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
        contents: uint64 [N], the hashes of what the images show (see `images.content`).
        overlap: How many of the images the model has seen, before any were left out.
        limits: The smallest and the largest number of labels of an image.
    """

    measures: Measures
    scores: NDArray[np.float32]
    targets: NDArray[np.int8]
    keys: tuple[str, ...]
    data_fingerprint: str
    source: str
    receipt: Receipt
    notes: tuple[str, ...]
    contents: NDArray[np.uint64]
    overlap: Overlap
    limits: tuple[int, int | None] = (0, None)

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
    keep_trained: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """The figures of a model on `records`, without the images that it was trained on.

    The bundle's thresholds decide. If they were not tuned and are all 0.5, the profile's own
    thresholds decide. If there are several processes (see `processes`), each scores its part of the
    images, and each returns all figures. They are equal to those of one process to the last bit.

    Args:
        predictor: The model.
        records: The images, with the model's labels in any order. Labels are matched by name.
        profile: The definitions, a key of `manylabel.metrics.PROFILES`.
        skip_bad: Whether to leave out images that cannot be used; a note then counts them.
        keep_trained: Whether to keep the images that the model was trained on. A note counts them
            in both cases. They are found by what they show, whatever their paths.
        on_progress: Called after each image with the number of images done.

    Raises:
        ConfigError: There is no such profile.
        DataError: The labels are not the model's, there is no image, images cannot be used, or all
            of them were trained on. All images are tried before this is raised, so the error counts
            the bad ones.
        RunError: Another process failed or ended, or there is no room for the scores.
    """
    find_profile(profile)  # an unknown name is an error before the work, not after it
    records = records.relabelled(predictor.labels)
    _require_images(records)
    require_same((records.fingerprint(), predictor.batch_size), "data set and batch size")
    require_same(predictor.engine.weights_sha256, "bundle")
    found = _score(predictor, records, keep_trained, on_progress)
    if found.bad and not skip_bad:
        raise refusal(records, found.bad)
    good = without(records, found.bad)
    _require_images(good)
    good, overlap = _measured(good, found.contents, predictor, keep_trained)
    return _evaluation(predictor, good, found, overlap, profile)


def _evaluation(
    predictor: Predictor, good: Records, found: _Scored, overlap: Overlap, profile: str
) -> Evaluation:
    """The figures of the images `good`, which are measured."""
    scores, targets = found.table.finish(good.keys)
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
    assert good.contents is not None
    receipt = receipt_of(measures, good, thresholds=rule, predictor=predictor)
    left_out = {"bad_images": len(found.bad) or None, **overlap.receipt()}
    return Evaluation(
        measures=measures,
        scores=scores,
        targets=targets,
        keys=good.keys,
        data_fingerprint=good.fingerprint(),
        source=good.source,
        receipt=receipt.model_copy(update=left_out),
        notes=good.notes,
        contents=good.contents,
        overlap=overlap,
        limits=(predictor.decision.at_least, predictor.decision.at_most),
    )


def held_out(
    records: Records, *, trained_on: str | None = None, images_known: bool = False
) -> tuple[Records, str]:
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
        images_known: Whether images that the model was trained on are known and left out.
    """
    given = records.split_names()
    for name in _HELD_OUT:
        if name in given:
            return records.split(name), name
    if trained_on is not None and trained_part(records) == trained_on:
        note = "The model was trained on this data set: only images outside of train are measured"
        return take_split(records.with_notes(note), "test"), "test"
    note = "The data set has no test or val split, so all images are used"
    if not images_known:
        note += (
            ". If the model was trained on it, use --split test: training draws this split in the "
            "same way and does not train on it"
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


class _Scored(NamedTuple):
    """The scores of N images."""

    table: ScoreTable
    """The scores of the images that are measured."""
    contents: NDArray[np.uint64]
    """uint64 [N], the hashes of what all images show; `NO_CONTENT` for the bad ones."""
    bad: list[ImageError]
    """The errors of the images that cannot be used, in order."""


def _score(
    predictor: Predictor,
    records: Records,
    keep_trained: bool,
    on_progress: Callable[[int], None] | None,
) -> _Scored:
    table = ScoreTable(len(records), repeats="refuse")
    contents = np.full(len(records), NO_CONTENT, dtype=np.uint64)
    bad: list[ImageError] = []
    done = 0
    for start, batch in in_turns(_own_batches(predictor, records)):
        bad += batch.errors.values()
        rows = start + batch.good
        contents[rows] = batch.contents
        _, kept = find_overlap(predictor.engine.info.seen, batch.contents, keep=keep_trained)
        if kept.any():
            rows = rows[kept]
            keys = [records.keys[row] for row in rows.tolist()]
            table.add(keys, batch.scores[kept], records.targets[rows])
        for _ in batch.keys:
            done += 1
            if on_progress is not None:
                on_progress(done)
    assert done == len(records), f"{done} of {len(records)} images were seen"
    return _Scored(table, contents, bad)


def _measured(
    good: Records, contents: NDArray[np.uint64], predictor: Predictor, keep_trained: bool
) -> tuple[Records, Overlap]:
    """The images that are measured, with their hashes and notes; and what the model has seen.

    Args:
        good: The images that can be used.
        contents: uint64, the hashes of all images, `NO_CONTENT` for the others.
        predictor: The model.
        keep_trained: Whether images that it was trained on are measured, too.
    """
    good = replace(good, contents=contents[contents != NO_CONTENT])
    assert good.contents is not None
    overlap, kept = find_overlap(predictor.engine.info.seen, good.contents, keep=keep_trained)
    require_unseen(overlap, where=good.source)
    good = good.with_notes(*overlap.sentences())
    return (good if kept.all() else good.select(kept)), overlap


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
