"""Which images are used for which pair, before any of them is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.explain.audit.pairs import Pair
from manylabel.explain.audit.regions import Fill
from manylabel.labels import ABSENT, PRESENT, LabelSpace

Source = Literal["boxes", "map"]
"""Where a companion is: in its boxes, or where its evidence map is high."""


@final
@dataclass(frozen=True, slots=True)
class HidingSettings:
    """How companions are hidden.

    Args:
        images: The largest number of images from which the effect of a pair is measured.
        fill: What a hidden region is filled with.
        method: The method of evidence maps for companions without boxes; None: the model's best.
        seed: The seed of the images and of the control regions.
    """

    images: int
    fill: Fill
    method: str | None
    seed: int


class Trial(NamedTuple):
    """One pair in one image. `drawn`: it counts for the effect; otherwise only as `because`."""

    image: int
    pair: int
    drawn: bool


def sources(pairs: Sequence[Pair], boxed: NDArray[np.bool_]) -> list[Source]:
    """How the companion of each pair is found: by its boxes if the data has any of them.

    Args:
        pairs: The labels and their companions.
        boxed: Whether an image has a box of a label, boolean [N, C].
    """
    with_boxes = set(np.flatnonzero(boxed.any(axis=0)).tolist())
    return ["boxes" if pair.companion in with_boxes else "map" for pair in pairs]


def plan(
    pairs: Sequence[Pair],
    targets: NDArray[np.int8],
    decided: NDArray[np.bool_],
    boxed: NDArray[np.bool_],
    settings: HidingSettings,
) -> list[Trial]:
    """All trials, in the order of the images, and in an image by companion.

    Half of the images of a pair have the label, if there are so many. Images with the label are
    used only if label and companion have boxes there, so that the label can be left visible.

    Args:
        pairs: The labels and their companions.
        targets: [N, C] of 1, 0 and -1.
        decided: The predicted labels, boolean [N, C].
        boxed: Whether an image has a box of a label, boolean [N, C].
        settings: The number of images and the seed.
    """
    order = np.random.default_rng(settings.seed).permutation(len(targets))
    trials: list[Trial] = []
    for number, (pair, source) in enumerate(zip(pairs, sources(pairs, boxed), strict=True)):
        own, other = targets[order, pair.label], targets[order, pair.companion]
        usable = other == PRESENT
        present = np.zeros(len(order), dtype=bool)
        if source == "boxes":
            usable &= boxed[order, pair.companion]
            present = usable & (own == PRESENT) & boxed[order, pair.label]
        absent = order[usable & (own == ABSENT)]
        drawn = _half_of_each(order[present], absent, settings.images)
        wrong = absent[decided[absent, pair.label]][: settings.images]
        trials += [Trial(image, number, True) for image in drawn.tolist()]
        trials += [Trial(image, number, False) for image in np.setdiff1d(wrong, drawn).tolist()]
    return sorted(trials, key=lambda trial: (trial.image, pairs[trial.pair].companion))


def has_box(records: Records, labels: LabelSpace) -> NDArray[np.bool_]:
    """Whether an image has a box of a label, boolean [N, C]."""
    found = np.zeros((len(records), len(labels)), dtype=bool)
    for row, boxes in enumerate(records.boxes or ()):
        for box in boxes:
            if box.label in labels:
                found[row, labels.index(box.label)] = True
    return found


def _half_of_each(
    first: NDArray[np.int64], second: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """At most so many of both, half of each; if there are fewer of one, more of the other."""
    of_first = min(len(first), max(most // 2, most - len(second)))
    return np.concatenate([first[:of_first], second[: most - of_first]])
