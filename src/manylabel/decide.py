"""The decision: activation, calibration, thresholds and limits, which turn logits into labels.

The commands predict, evaluate, tune, explain and report all use a `Decision`. It needs only NumPy.
So scores and labels do not depend on the framework that computes the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import FailFast, Field, model_validator

from manylabel.config import Config
from manylabel.errors import ConfigError
from manylabel.labels import MAX_LABELS
from manylabel.metrics.calibration import Calibration
from manylabel.metrics.f1 import Decided
from manylabel.metrics.thresholds import check_limits, decide

Scores = NDArray[np.floating[Any]]
UNTUNED: Final = 0.5
"""The threshold of each label of a model that was trained but not tuned."""


@final
class Decision(Config):
    """Turns the logits of C labels into scores, and scores into predicted labels."""

    activation: Literal["sigmoid"] = "sigmoid"
    """The function that turns a logit into a score, 0..1."""
    calibration: Calibration | None = None
    """The calibration of the scores after the activation; None: they are not calibrated."""
    thresholds: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], FailFast()]
    """A threshold for each label: the label is predicted if its score reaches the threshold. If
    there is a calibration, they are thresholds of the calibrated scores."""
    at_least: Annotated[int, Field(ge=0, le=MAX_LABELS)] = 0
    """The smallest number of labels of each image, whatever the thresholds."""
    at_most: Annotated[int, Field(ge=1, le=MAX_LABELS)] | None = None
    """The largest number of labels of each image; None: no limit."""

    @model_validator(mode="after")
    def _check(self) -> Decision:
        try:
            check_limits(self.at_least, self.at_most)
        except ConfigError as error:
            raise ValueError(error.what) from None
        if self.calibration is not None and self.calibration.num_labels != self.num_labels:
            given = self.calibration.num_labels
            raise ValueError(f"a calibration of {given} labels for {self.num_labels} labels")
        return self

    @property
    def num_labels(self) -> int:
        """The number of labels C."""
        return len(self.thresholds)

    @property
    def limited(self) -> bool:
        """Whether the number of labels of an image has a limit."""
        return self.at_least > 0 or self.at_most is not None

    def scores(self, logits: Scores) -> Scores:
        """Scores [N, C], 0..1, after activation and calibration; same type as logits [N, C]."""
        return self.calibrated(sigmoid(logits))

    def calibrated(self, scores: Scores) -> Scores:
        """Scores [N, C] after the calibration, if there is one, of uncalibrated scores [N, C]."""
        return scores if self.calibration is None else self.calibration.apply(scores)

    def decide(self, scores: ArrayLike) -> Decided:
        """The predicted labels, boolean [N, C], of scores [N, C] that `scores` returns.

        Raises:
            DataError: The scores cannot be used.
        """
        return decide(scores, self.thresholds, at_least=self.at_least, at_most=self.at_most)

    def uncalibrated(self) -> Decision:
        """This decision without its calibration."""
        return self.model_copy(update={"calibration": None})

    def at_threshold(self, threshold: float) -> Decision:
        """This decision with one threshold, 0..1, for all labels."""
        return self.at_thresholds([threshold] * self.num_labels)

    def at_thresholds(self, thresholds: Sequence[float]) -> Decision:
        """This decision with other thresholds [C], 0..1."""
        assert len(thresholds) == self.num_labels, (len(thresholds), self.num_labels)
        return self.model_copy(update={"thresholds": tuple(map(float, thresholds))})


def sigmoid(logits: Scores) -> Scores:
    """The sigmoid of logits of any shape, in the type of the logits.

    It is computed in double precision and rounded once. So a score does not depend on the processor
    or on the position of the logit in the array.
    """
    exact = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(exact))  # exp(-|x|) cannot overflow
    return np.where(exact >= 0, 1 / (1 + small), small / (1 + small)).astype(logits.dtype)
