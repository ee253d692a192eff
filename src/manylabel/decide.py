"""From logits to decisions: activation, calibration, thresholds, limits, in one value.

Every command decides by a `Decision`: predict, evaluate, tune, explain and report. It needs NumPy
only, so whatever computes the logits, the scores and labels are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from manylabel.config import Config
from manylabel.errors import ConfigError
from manylabel.metrics.calibration import Calibration
from manylabel.metrics.f1 import Decided
from manylabel.metrics.thresholds import check_limits, decide

Scores = NDArray[np.floating[Any]]


@final
class Decision(Config):
    """What turns the logits of C labels into scores, and scores into labels."""

    activation: Literal["sigmoid"] = "sigmoid"
    """From a logit to a score, 0..1."""
    calibration: Calibration | None = None
    """What the scores go through after the activation; None: nothing."""
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    """One for each label: a score that reaches it is a decision for the label. They are thresholds
    of the calibrated scores if there is a calibration."""
    at_least: Annotated[int, Field(ge=0)] = 0
    """How many labels each image is given at least, whatever the thresholds."""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """How many labels at most; None: any number."""

    @model_validator(mode="after")
    def _check(self) -> Decision:
        try:
            check_limits(self.at_least, self.at_most)
        except ConfigError as error:
            raise ValueError(error.what) from None
        if self.calibration is not None and self.calibration.num_labels != self.num_labels:
            given = self.calibration.num_labels
            raise ValueError(f"a calibration of {given} labels for {self.num_labels}")
        return self

    @property
    def num_labels(self) -> int:
        """C."""
        return len(self.thresholds)

    @property
    def limited(self) -> bool:
        """Whether the number of labels of an image has a limit."""
        return self.at_least > 0 or self.at_most is not None

    def scores(self, logits: Scores) -> Scores:
        """Scores [N, C], 0..1, of logits [N, C], in their type: activated, then calibrated."""
        return self.calibrated(sigmoid(logits))

    def calibrated(self, scores: Scores) -> Scores:
        """Scores [N, C] as they come out, of uncalibrated scores [N, C]."""
        return scores if self.calibration is None else self.calibration.apply(scores)

    def decide(self, scores: ArrayLike) -> Decided:
        """Which labels are decided for: boolean [N, C] of scores [N, C] as they come out.

        Raises:
            DataError: The scores cannot be used.
        """
        return decide(scores, self.thresholds, at_least=self.at_least, at_most=self.at_most)

    def uncalibrated(self) -> Decision:
        """The same without a calibration."""
        return self.model_copy(update={"calibration": None})

    def at_threshold(self, threshold: float) -> Decision:
        """The same with one threshold, 0..1, for all labels."""
        return self.at_thresholds([threshold] * self.num_labels)

    def at_thresholds(self, thresholds: Sequence[float]) -> Decision:
        """The same with other thresholds [C], 0..1."""
        assert len(thresholds) == self.num_labels, (len(thresholds), self.num_labels)
        return self.model_copy(update={"thresholds": tuple(map(float, thresholds))})


def sigmoid(logits: Scores) -> Scores:
    """Scores of logits of any shape, in their type.

    They are computed in double precision and rounded once, so they do not depend on the processor
    or on where in an array a logit stands.
    """
    exact = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(exact))  # of -|x|, which cannot overflow
    return np.where(exact >= 0, 1 / (1 + small), small / (1 + small)).astype(logits.dtype)
