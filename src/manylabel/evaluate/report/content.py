"""The content of a report of predictions, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.records import Records
from manylabel.decide import Decision
from manylabel.evaluate.compare.paired import Comparison, compare
from manylabel.evaluate.predictions.table import Predictions
from manylabel.evaluate.receipt import Receipt
from manylabel.evaluate.report.pictures import Overlay
from manylabel.html import PageSection
from manylabel.metrics.profiles import Measures

DRAWS: Final = 1000
"""The number of bootstrap draws for the intervals; fewer if the data set is large."""

_MAX_WORK: Final = 3_000_000_000
"""The limit for draws times pairs of image and label. It takes about half a minute."""

_MIN_DRAWS: Final = 100
"""If fewer draws are possible, there are no intervals."""


@final
@dataclass(frozen=True, eq=False)
class ScoredModel:
    """The scores and metrics of a model on the images of a report.

    Args:
        name: The name of the model, usually its path.
        scores: [N, C], 0..1, in the order of the report's images and labels.
        measures: Its metrics under the profile `manylabel`.
        receipt: How they were measured.
        decision: Turns the scores into labels. The scores are already calibrated.
        overlay: Draws the evidence for a label; None if there are only scores.
    """

    name: str
    scores: NDArray[np.floating[Any]]
    measures: Measures
    receipt: Receipt
    decision: Decision
    overlay: Overlay | None = None

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """The threshold of each label, [C], 0..1; a score that reaches it is a yes."""
        return np.array(self.decision.thresholds)

    @property
    def decided(self) -> NDArray[np.bool_]:
        """The decisions of the model, boolean [N, C]."""
        return self.decision.decide(self.scores)


@final
@dataclass(frozen=True, eq=False)
class Report:
    """The content of a report of predictions.

    Args:
        title: The title of the page.
        truth: The images with their targets.
        models: One model or two. The second is compared with the first.
        comparison: The comparison of the second model with the first; None if there is one model,
            or if the data set is too large for intervals.
        notes: What was decided or left out, one sentence each.
        sections: What is known about the inside of the models, drawn elsewhere.
    """

    title: str
    truth: Records
    models: tuple[ScoredModel, ...]
    comparison: Comparison | None = None
    notes: tuple[str, ...] = ()
    sections: tuple[PageSection, ...] = ()


def make_report(
    title: str, truth: Records, models: tuple[ScoredModel, ...], *, notes: tuple[str, ...] = ()
) -> Report:
    """Makes the report of one model, or of two models with their comparison.

    Args:
        title: The title of the page.
        truth: The images with their targets.
        models: One or two models, with images and labels in the order of `truth`.
        notes: What was decided or left out, one sentence each.
    """
    assert len(models) in (1, 2), len(models)
    if len(models) == 1:
        return Report(title, truth, models, notes=notes)
    draws = min(DRAWS, _MAX_WORK // max(1, models[0].scores.size))
    if draws < _MIN_DRAWS:
        left_out = "The data set is too large for intervals here; use `manylabel compare` for them"
        return Report(title, truth, models, notes=(*notes, left_out))
    a, b = (_predictions(model, truth) for model in models)
    found = compare(a, b, truth, draws=draws)
    return Report(title, truth, models, found, notes)


def _predictions(model: ScoredModel, truth: Records) -> Predictions:
    return Predictions(truth.keys, truth.labels, model.scores, model.name, decision=model.decision)
