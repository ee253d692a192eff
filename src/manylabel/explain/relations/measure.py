"""Measures all that a model and a data set say about labels that go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.evidence import RelationWeights
from manylabel.explain.relations.cooccurrence import TogetherInData, together_in_data
from manylabel.explain.relations.interventions import (
    Effects,
    Placed,
    move,
    put_in,
    put_out,
    strongest,
)
from manylabel.explain.relations.places import PlacesInData, places_in_data
from manylabel.explain.relations.significance import LEVEL
from manylabel.explain.relations.stream import Observed, observe, relation_probe
from manylabel.explain.relations.units import Follows, follow
from manylabel.labels import LabelSpace
from manylabel.predict import Predictor

Say = Callable[[str], None]


@final
@dataclass(frozen=True, eq=False)
class Relations:
    """What a model and a data set say about C labels that go together.

    In arrays [C, C] the row is the other label, whose evidence is changed, and the column is the
    label whose logit is read.

    Args:
        labels: The C labels.
        observed: What was kept of the images.
        data: Which labels occur together in the data.
        places: Where the labels' boxes lie; None: no image has boxes of two labels.
        without: What the label's logit does when the other's evidence is put out.
        with_: What it does when the other's evidence is put in.
        placed: What it does when the other's evidence is moved, for the strongest pairs.
        follows: What the units follow.
        weights: What can be shown of the weights.
        share: What one unit of the branch's logits adds to the model's final logits.
        seed: The seed of all that was drawn.
    """

    labels: LabelSpace
    observed: Observed
    data: TogetherInData
    places: PlacesInData | None
    without: Effects
    with_: Effects
    placed: tuple[Placed, ...]
    follows: Follows
    weights: RelationWeights
    share: float
    seed: int

    @property
    def support(self) -> NDArray[np.float64]:
        """[C, C]: what the other label's evidence adds to the label's logit; NaN if not measured.

        It is the mean of what is lost without it and what is gained with it, or one of the two.
        """
        return supported(self.without, self.with_)

    @property
    def sure(self) -> NDArray[np.bool_]:
        """Boolean [C, C]: both changes are significant and say the same."""
        agree = np.sign(self.with_.mean) == -np.sign(self.without.mean)
        return agree & (self.without.p < LEVEL) & (self.with_.p < LEVEL)

    def strongest(self) -> list[tuple[int, int]]:
        """All pairs (other, label), those that are sure first, then the largest effect first."""
        strength = np.nan_to_num(np.abs(self.support), nan=-1.0)
        order = np.lexsort((-strength.ravel(), ~self.sure.ravel()))
        pairs = (divmod(int(each), len(self.labels)) for each in order)
        return [(other, label) for other, label in pairs if other != label]

    def placed_by_pair(self) -> dict[tuple[int, int], Placed]:
        """What moving does, by (other, label)."""
        return {(each.other, each.label): each for each in self.placed}


def supported(without: Effects, with_: Effects) -> NDArray[np.float64]:
    """What the other label's evidence adds to the label's logit, [C, C]."""
    both = np.stack([-without.mean, with_.mean])
    there = ~np.isnan(both)
    counts = there.sum(0)
    sums = np.where(there, both, 0).sum(0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def measure_relations(
    predictor: Predictor,
    records: Records,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    on_progress: Callable[[int], None] | None = None,
    on_work: Say | None = None,
) -> Relations:
    """Measure what a model and a data set say about labels that go together.

    Args:
        predictor: The model; its head must have a branch that reads the maps of all labels.
        records: The images, with the model's labels in any order.
        seed: The seed of all that is drawn.
        skip_bad: Whether to leave out images that cannot be opened.
        on_progress: Called with the number of images done while the images are run.
        on_work: Called with a sentence before each part that follows.

    Raises:
        ConfigError: The model's head has no branch of relations.
        DataError: The labels are not the model's, or there is no image.
        ImageError: An image cannot be opened, and `skip_bad` is false.
    """
    say = on_work or _quiet
    probe = relation_probe(predictor)
    observed = observe(predictor, records, seed=seed, skip_bad=skip_bad, on_progress=on_progress)
    sample = observed.sample
    say("Counting which labels occur together.")
    data, places = together_in_data(observed.records.targets), places_in_data(observed.records)
    say(f"Putting evidence out and in, in {len(sample.rows):,} images.")
    without, with_ = put_out(probe, sample, seed=seed), put_in(probe, sample, seed=seed)
    pairs = strongest(supported(without, with_), sample)
    say(f"Moving evidence, for {len(pairs)} pairs of labels.")
    placed = tuple(move(probe, sample, pairs, seed=seed))
    say(f"Comparing {sample.units.shape[1]:,} units with the maps of the labels.")
    return Relations(
        labels=predictor.labels,
        observed=observed,
        data=data,
        places=places,
        without=without,
        with_=with_,
        placed=placed,
        follows=follow(sample, seed=seed),
        weights=probe.weights(),
        share=probe.share,
        seed=seed,
    )


def _quiet(_: str) -> None:
    pass
