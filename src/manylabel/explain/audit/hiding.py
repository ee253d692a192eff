"""Hides a companion in images and scores them again: does the label's score fall?

Every image is scored twice more: with the companion hidden, and with another place of the same size
hidden. The effect is the difference of the two scores, so hiding itself is not the cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, Final, NamedTuple, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.explain.audit.examples import Example, keep
from manylabel.explain.audit.pairs import Pair
from manylabel.explain.audit.plan import HidingSettings, Source, Trial, has_box, plan, sources
from manylabel.explain.audit.regions import (
    Pixels,
    Region,
    box_region,
    elsewhere,
    hidden,
    map_region,
    outlined,
)
from manylabel.images import prepared
from manylabel.labels import PRESENT
from manylabel.predict import Predictor

EMPTY: Final = "the companion lies on the label"
NO_MAP: Final = "the model has no evidence of the companion"
NO_ROOM: Final = "there is no other place of the same size"
"""Why an image is left out."""

_T = TypeVar("_T")


@final
@dataclass(slots=True)
class Hidings:
    """What hiding the companion did to the score of a label, image by image.

    Args:
        source: Where the companion was.
        effects: For each drawn image: the score with another place hidden, minus the score with the
            companion hidden. Above 0: the score falls because the companion is hidden.
        present: For each of these images: whether the label is present.
        false_positives: The number of images without the label in which it was predicted and the
            companion was hidden; they are not only those that were drawn.
        because: The keys of those of them in which the label is no longer predicted if the
            companion is hidden, and still predicted if another place is hidden.
        left_out: The number of drawn images that could not be used, by the reason.
        examples: The images that say most, those of `because` first.
    """

    source: Source
    effects: list[float] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)
    false_positives: int = 0
    because: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)


def hide_companions(
    predictor: Predictor,
    records: Records,
    scores: NDArray[np.floating[Any]],
    pairs: Sequence[Pair],
    settings: HidingSettings,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Hidings]:
    """Hide the companion of each pair in some images that have it, and score them again.

    Images are opened once each, and scored in batches; only a batch of them is in memory. If a
    companion has boxes in the data, it is hidden where its boxes are, and the label's own boxes
    stay visible. Otherwise it is hidden where its evidence map is high, and only images without the
    label are used, because the region might also cover the label.

    Args:
        predictor: The model.
        records: The N images, with the predictor's labels.
        scores: The model's scores of these images, [N, C].
        pairs: The labels and their companions.
        settings: How companions are hidden.
        on_progress: Called with the number of images done and the number of all of them.

    Returns:
        What was found, in the order of `pairs`.

    Raises:
        ConfigError: The model has no such method of evidence maps.
        ImageError: An image cannot be used.
    """
    hiding = _Hiding(predictor, records, scores, pairs, settings)
    hiding.run(on_progress or (lambda done, total: None))
    return hiding.found


class _Job(NamedTuple):
    """One image, its two hidden regions and their pictures, and the trials that they serve."""

    trials: list[Trial]
    pictures: tuple[Pixels, Pixels, Pixels]
    regions: tuple[Region, Region]

    def shown(self) -> tuple[Pixels, Pixels, Pixels]:
        """The pictures with the edges of what is hidden."""
        before, without, control = self.pictures
        return before, outlined(without, self.regions[0]), outlined(control, self.regions[1])


@final
class _Hiding:
    """The work of `hide_companions`."""

    def __init__(
        self,
        predictor: Predictor,
        records: Records,
        scores: NDArray[np.floating[Any]],
        pairs: Sequence[Pair],
        settings: HidingSettings,
    ) -> None:
        self.predictor, self.records, self.scores = predictor, records, scores
        self.pairs, self.settings = pairs, settings
        self.decided = predictor.decision.decide(scores)
        self.size = (predictor.spec.height, predictor.spec.width)
        boxed = has_box(records, predictor.labels)
        self.trials = plan(pairs, records.targets, self.decided, boxed, settings)
        self.found = [Hidings(source) for source in sources(pairs, boxed)]
        if any(each.source == "map" for each in self.found):
            self.method = predictor.engine.method(settings.method)

    def run(self, on_progress: Callable[[int, int], None]) -> None:
        total = len({trial.image for trial in self.trials})
        jobs = self._jobs(self.trials, lambda done: on_progress(done, total))
        for batch in _batched(jobs, max(1, self.predictor.batch_size // 2)):
            pixels = np.stack([picture for job in batch for picture in job.pictures[1:]])
            scores = self.predictor.decision.scores(self.predictor.engine.run(pixels).logits)
            decided = self.predictor.decision.decide(scores)
            for row, job in enumerate(batch):
                both = slice(2 * row, 2 * row + 2)
                for trial in job.trials:
                    self._note(trial, job, scores[both], decided[both])

    def _jobs(self, trials: Sequence[Trial], on_image: Callable[[int], None]) -> Iterator[_Job]:
        images = groupby(trials, key=lambda trial: trial.image)
        grouped = ((image, list(own)) for image, own in images)
        done = 0
        for batch in _batched(grouped, self.predictor.batch_size):
            pixels = [self._open(image) for image, _ in batch]
            maps = self._maps(pixels, [own for _, own in batch])
            for (_, own), picture, evidence in zip(batch, pixels, maps, strict=True):
                yield from self._of_image(own, picture, evidence)
                done += 1
                on_image(done)

    def _open(self, image: int) -> Pixels:
        place, memory = self.records.images[image], self.predictor.memory
        return prepared(place, self.predictor.engine.prepare, size=self.size, memory=memory)

    def _maps(
        self, pixels: Sequence[Pixels], trials: Sequence[Sequence[Trial]]
    ) -> list[NDArray[Any] | None]:
        """The evidence maps [C, H, W] of the images in which a companion has no boxes."""
        needed = [
            row
            for row, own in enumerate(trials)
            if any(self.found[trial.pair].source == "map" for trial in own)
        ]
        maps: list[NDArray[Any] | None] = [None] * len(pixels)
        if needed:
            stack = np.stack([pixels[row] for row in needed])
            found = self.predictor.engine.run(stack, evidence=[self.method]).evidence[self.method]
            for row, each in zip(needed, found, strict=True):
                maps[row] = each
        return maps

    def _of_image(
        self, trials: Sequence[Trial], pixels: Pixels, evidence: NDArray[Any] | None
    ) -> Iterator[_Job]:
        for companion, own in groupby(trials, key=lambda trial: self.pairs[trial.pair].companion):
            same = list(own)
            if self.found[same[0].pair].source == "boxes":
                region = self._boxes(same[0].image, companion)
            else:
                assert evidence is not None
                region = map_region(evidence[companion], self.size)
            yield from self._of_companion(same, pixels, region)

    def _of_companion(
        self, trials: Sequence[Trial], pixels: Pixels, region: Region
    ) -> Iterator[_Job]:
        """The jobs of one companion in one image.

        Labels that the companion does not touch share one job.
        """
        labels = {trial: self._boxes(trial.image, self.pairs[trial.pair].label) for trial in trials}
        touching = [trial for trial, own in labels.items() if (own & region).any()]
        free = [trial for trial in trials if trial not in touching]
        for group in [free, *([trial] for trial in touching)]:
            if group:
                own = np.any([labels[trial] for trial in group], axis=0)
                yield from self._job(group, pixels, region & ~own, region | own)

    def _job(
        self, trials: list[Trial], pixels: Pixels, region: Region, avoid: Region
    ) -> Iterator[_Job]:
        if not region.any():
            map_used = self.found[trials[0].pair].source == "map"
            return self._leave_out(trials, NO_MAP if map_used else EMPTY)
        first = self.pairs[trials[0].pair]
        seed = (self.settings.seed, trials[0].image, first.companion, first.label)
        control = elsewhere(region, avoid, np.random.default_rng(seed))
        if control is None:
            return self._leave_out(trials, NO_ROOM)
        without, beside = (
            hidden(pixels, each, self.settings.fill, avoid=avoid) for each in (region, control)
        )
        return iter([_Job(trials, (pixels, without, beside), (region, control))])

    def _leave_out(self, trials: Sequence[Trial], why: str) -> Iterator[_Job]:
        for trial in trials:
            self.found[trial.pair].left_out[why] += trial.drawn
        return iter(())

    def _boxes(self, image: int, label: int) -> Region:
        boxes = () if self.records.boxes is None else self.records.boxes[image]
        name = self.predictor.labels[label]
        return box_region((box for box in boxes if box.label == name), self.size)

    def _note(
        self,
        trial: Trial,
        job: _Job,
        scores: NDArray[np.floating[Any]],
        decided: NDArray[np.bool_],
    ) -> None:
        """Add the scores [2, C]: with the companion hidden, and with another place hidden."""
        label, found = self.pairs[trial.pair].label, self.found[trial.pair]
        before, predicted = self.scores[trial.image, label], bool(self.decided[trial.image, label])
        without, control = scores[:, label].tolist()
        present = bool(self.records.targets[trial.image, label] == PRESENT)
        example = Example(
            key=self.records.keys[trial.image],
            present=present,
            scores=(float(before), without, control),
            predicted=(predicted, bool(decided[0, label]), bool(decided[1, label])),
            pictures=(b"", b"", b""),
        )
        if trial.drawn:
            found.effects.append(example.effect)
            found.present.append(present)
        found.false_positives += predicted and not present
        if example.because:
            found.because.append(example.key)
        keep(found.examples, example, job.shown)


def _batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
