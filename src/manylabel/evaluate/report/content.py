"""What a report of predictions is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.evaluate.compare.paired import Comparison, compare
from manylabel.evaluate.predictions.table import Predictions
from manylabel.evaluate.receipt import Receipt
from manylabel.evaluate.report.pictures import Overlay
from manylabel.metrics.profiles import Measures
from manylabel.metrics.thresholds import decide

DRAWS: Final = 1000
"""Of the intervals, where the data set is not too large for as many."""

_ALL_DRAWS: Final = 3_000_000_000
"""Draws of all pairs of image and label: half a minute's work."""

_LEAST_DRAWS: Final = 100


@final
@dataclass(frozen=True, eq=False)
class ScoredModel:
    """A model's scores and figures on the images of a page.

    Args:
        name: What it is, mostly its path.
        scores: [N, C], 0..1, in the order of the page's images and labels.
        measures: Its figures under the profile `manylabel`.
        receipt: What they are of.
        overlay: Draws evidence, where the model can be asked for it.
        limits: How many labels an image gets at least, and at most; None: any number.
    """

    name: str
    scores: NDArray[np.floating[Any]]
    measures: Measures
    receipt: Receipt
    overlay: Overlay | None = None
    limits: tuple[int, int | None] = (0, None)

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """[C], 0..1: a score that reaches its label's is a decision for it."""
        return np.array([row.threshold for row in self.measures.per_label])

    @property
    def decided(self) -> NDArray[np.bool_]:
        """[N, C]: what the model decides."""
        at_least, at_most = self.limits
        return decide(self.scores, self.thresholds, at_least=at_least, at_most=at_most)


@final
@dataclass(frozen=True, eq=False)
class Page:
    """What a report of predictions tells.

    Args:
        title: The page's title.
        truth: The images with their targets.
        models: One, or two, of which the second is held against the first.
        comparison: The second against the first; None where there is one, or the data set is too
            large for intervals.
        notes: What was decided or left out on the way, a sentence each.
    """

    title: str
    truth: Records
    models: tuple[ScoredModel, ...]
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()


def make_page(
    title: str, truth: Records, models: tuple[ScoredModel, ...], *, notes: tuple[str, ...] = ()
) -> Page:
    """The page of one model or two, which are compared.

    Args:
        title: The page's title.
        truth: The images with their targets.
        models: One or two, in the truth's order of images and labels.
        notes: What was decided or left out on the way, a sentence each.
    """
    assert len(models) in (1, 2), len(models)
    if len(models) == 1:
        return Page(title, truth, models, notes=notes)
    draws = min(DRAWS, _ALL_DRAWS // max(1, models[0].scores.size))
    if draws < _LEAST_DRAWS:
        left_out = "The data set is too large for intervals here; `manylabel compare` draws them"
        return Page(title, truth, models, notes=(*notes, left_out))
    a, b = (_predictions(model, truth) for model in models)
    found = compare(a, b, truth, threshold=_common_threshold(models), draws=draws)
    return Page(title, truth, models, found, notes)


def _common_threshold(models: tuple[ScoredModel, ...]) -> float:
    """The one of all labels of all models, 0.5 where they differ: a comparison has but one."""
    every = np.concatenate([model.thresholds for model in models])
    return float(every[0]) if np.ptp(every) == 0 else 0.5


def _predictions(model: ScoredModel, truth: Records) -> Predictions:
    return Predictions(truth.keys, truth.labels, model.scores, model.name)
