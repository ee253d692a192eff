"""Calibration: turns scores into probabilities. Of pairs with score 0.7, 70 % should be present.

Three kinds use the same curve in the logarithms of a score s and of 1 - s. They differ in the
parameters that are fitted:

    logit(calibrated) = rise * log(s) - fall * log(1 - s) + offset

    temperature   rise = fall, no offset
    platt         rise = fall, and an offset
    beta          rise, fall and offset

`isotonic` is the best non-falling function, linear between its knots. Each kind is fitted by
maximum likelihood on images that the model was not trained on. No curve ever falls, so the ranking
and the AP of a label stay the same. But `isotonic` has flat parts, and their ties can change AP.

Source: temperature, Guo et al. (arXiv:1706.04599); Platt (1999); beta, Kull et al. (AISTATS
2017); isotonic, Zadrozny and Elkan (KDD 2002). Two differences: each label has its own curve. And a
weak prior for unchanged scores keeps the curve finite if the scores separate a label perfectly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import FailFast, Field, FiniteFloat, model_validator

from manylabel.config import Config
from manylabel.errors import DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN
from manylabel.metrics.ranking import Scores, Targets, check_scores_and_targets

Floats = NDArray[np.float64]
_Number = TypeVar("_Number")
_Lists = Annotated[tuple[Annotated[tuple[_Number, ...], FailFast()], ...], FailFast()]
Kind = Literal["temperature", "platt", "beta", "isotonic"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MIN_EXAMPLES: Final[dict[Kind, int]] = {
    "temperature": 10,
    "platt": 20,
    "beta": 30,
    "isotonic": 100,
}
"""The smallest number of positives, and of negatives, of a label with a curve of its own.

It is ten for each fitted parameter; the isotonic curve has no fixed number of parameters.
Labels with fewer take the curve of all pairs of image and label pooled.
"""

_PRIOR: Final = 0.01
"""The strength of the prior: half of it times the squared distance from the parameters that leave
scores unchanged is added to the loss of all pairs."""

_ROUNDS: Final = 100
"""The largest number of iterations of Newton's method."""
_LOWEST: Final = 1e-30
"""Scores are raised to at least this, so that their logarithms are finite."""
_ROOM: Final = 2.0**-26
"""The least distance of a score from 1: half the distance between 1 and the next lower float32."""


class SmoothCalibration(Config):
    """A smooth calibration curve for each label: temperature, Platt or beta."""

    kind: Literal["temperature", "platt", "beta"]
    """Which parameters were fitted."""
    rise: Annotated[tuple[Annotated[FiniteFloat, Field(ge=0)], ...], FailFast()]
    """[C], the factor of log(s)."""
    fall: Annotated[tuple[Annotated[FiniteFloat, Field(ge=0)], ...], FailFast()]
    """[C], the factor of -log(1 - s)."""
    offset: Annotated[tuple[FiniteFloat, ...], FailFast()]
    """[C], the constant of the logit."""
    pooled: Annotated[tuple[bool, ...], FailFast()]
    """[C], whether the label takes the curve of all pairs."""

    @model_validator(mode="after")
    def _check(self) -> SmoothCalibration:
        if not len(self.rise) == len(self.fall) == len(self.offset) == len(self.pooled):
            raise ValueError("rise, fall, offset and pooled are of different lengths")
        return self

    @property
    def num_labels(self) -> int:
        """The number of labels, C."""
        return len(self.rise)

    def apply(self, scores: Scores) -> Scores:
        """Calibrates scores [N, C]; the result has the same shape and type."""
        up, down = _features(scores)
        logits = np.array(self.rise) * up + np.array(self.fall) * down + np.array(self.offset)
        return _sigmoid(logits).astype(scores.dtype)


class StepCalibration(Config):
    """A non-falling function for each label, linear between its knots and constant outside them."""

    kind: Literal["isotonic"] = "isotonic"
    """Isotonic regression."""
    at: _Lists[FiniteFloat]
    """The scores at the knots of each of C labels, rising."""
    value: _Lists[Annotated[float, Field(ge=0, le=1)]]
    """The calibrated scores at these knots, never falling."""
    pooled: Annotated[tuple[bool, ...], FailFast()]
    """[C], whether the label takes the curve of all pairs."""

    @model_validator(mode="after")
    def _check(self) -> StepCalibration:
        if not len(self.at) == len(self.value) == len(self.pooled):
            raise ValueError("at, value and pooled are of different lengths")
        for at, value in zip(self.at, self.value, strict=True):
            if not at or len(at) != len(value):
                raise ValueError("a label has no knots, or not one value for each knot")
            rising = all(left < right for left, right in pairwise(at))
            if not rising or any(left > right for left, right in pairwise(value)):
                raise ValueError("the knots of a label do not rise")
        return self

    @property
    def num_labels(self) -> int:
        """The number of labels, C."""
        return len(self.at)

    def apply(self, scores: Scores) -> Scores:
        """Calibrates scores [N, C]; the result has the same shape and type."""
        calibrated = np.empty_like(scores)
        for label, (at, value) in enumerate(zip(self.at, self.value, strict=True)):
            calibrated[:, label] = np.interp(scores[:, label], at, value)
        return calibrated


Calibration = Annotated[SmoothCalibration | StepCalibration, Field(discriminator="kind")]


def fit_calibration(
    scores: ArrayLike, targets: ArrayLike, kind: Kind
) -> SmoothCalibration | StepCalibration:
    """Fits the calibration of each label by maximum likelihood.

    A label takes the curve of all pairs of image and label pooled if it has fewer examples than
    `MIN_EXAMPLES`, or if its own curve would fall. A curve falls if the scores rank worse than
    chance. A temperature has no offset, so its curve also falls if most scores are on the wrong
    side of 0.5.

    Args:
        scores: [N, C], after the sigmoid, 0..1, of images that the model was not trained on.
        targets: [N, C] of 1, 0 and -1; unknown ones are ignored.
        kind: The kind of calibration, a key of `MIN_EXAMPLES`.

    Raises:
        DataError: Scores or targets cannot be used, the targets do not include both 1 and 0, or the
            curve of all pairs would fall.
    """
    scores, targets = _checked(scores, targets)
    present, absent = (targets == PRESENT).sum(axis=0), (targets == ABSENT).sum(axis=0)
    own = np.minimum(present, absent) >= MIN_EXAMPLES[kind]
    if kind == "isotonic":
        return _fit_steps(scores, targets, own)
    return _fit_curves(scores, targets, own, kind)


def _checked(scores: ArrayLike, targets: ArrayLike) -> tuple[Scores, Targets]:
    scores, targets = check_scores_and_targets(scores, targets)
    if not ((targets == PRESENT).any() and (targets == ABSENT).any()):
        raise DataError(
            "There is nothing to calibrate: the targets do not include both 1 and 0.",
            where="targets",
            fix="Calibrate on images of which some have labels and some do not.",
        )
    return scores, targets


def _known(scores: Scores, targets: Targets) -> tuple[Floats, Floats]:
    """The scores and the presence (1 or 0) of all pairs with known targets, as flat arrays."""
    known = targets != UNKNOWN
    return scores[known].astype(np.float64), (targets[known] == PRESENT).astype(np.float64)


# Curves


def _fit_curves(
    scores: Scores,
    targets: Targets,
    own: NDArray[np.bool_],
    kind: Literal["temperature", "platt", "beta"],
) -> SmoothCalibration:
    common = _fit_curve(*_known(scores, targets), kind)
    if common is None:
        raise _no_rising_curve(kind)
    found = [
        _fit_curve(*_known(scores[:, label], targets[:, label]), kind) if own[label] else None
        for label in range(scores.shape[1])
    ]
    rows = np.array([common if curve is None else curve for curve in found])
    return SmoothCalibration(
        kind=kind,
        rise=tuple(rows[:, 0].tolist()),
        fall=tuple(rows[:, 1].tolist()),
        offset=tuple(rows[:, 2].tolist()),
        pooled=tuple(curve is None for curve in found),
    )


def _no_rising_curve(kind: str) -> DataError:
    if kind == "temperature":
        return DataError(
            "No temperature fits: too many scores are on the wrong side of 0.5.",
            where="scores and targets",
            fix="Use platt, which also has an offset.",
        )
    return DataError(
        "Calibration would reverse the ranking: the scores rank worse than chance.",
        where="scores and targets",
        fix="Check that scores and targets belong to the same labels and images.",
    )


def _fit_curve(scores: Floats, present: Floats, kind: str) -> Floats | None:
    """The parameters [rise, fall, offset] of a curve; None if it would fall or be flat."""
    up, down = _features(scores)
    ones = np.ones_like(up)
    if kind == "temperature":
        (slope,) = _newton(np.stack([up + down], 1), present, [1.0])
        return np.array([slope, slope, 0.0]) if slope > 0 else None
    if kind == "platt":
        slope, offset = _newton(np.stack([up + down, ones], 1), present, [1.0, 0.0])
        return np.array([slope, slope, offset]) if slope > 0 else None
    rise, fall, offset = _newton(np.stack([up, down, ones], 1), present, [1.0, 1.0, 0.0])
    if rise < 0:  # then the best curve that does not fall has a rise of 0; likewise for fall
        rise, (fall, offset) = 0.0, _newton(np.stack([down, ones], 1), present, [1.0, 0.0])
    elif fall < 0:
        fall, (rise, offset) = 0.0, _newton(np.stack([up, ones], 1), present, [1.0, 0.0])
    curve = np.array([rise, fall, offset])
    return curve if rise >= 0 and fall >= 0 and rise + fall > 0 else None


def _features(scores: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Finite log(s) and -log(1 - s). Their sum is the logit, and both rise with s."""
    inner = np.clip(scores.astype(np.float64), _LOWEST, 1 - _ROOM)
    return np.log(inner), -np.log1p(-inner)


def _newton(features: Floats, present: Floats, start: Sequence[float]) -> Floats:
    """The weights [P] of a logistic regression on features [n, P], by Newton's method.

    The loss is convex.
    """
    prior: Floats = np.array(start)
    weights = prior
    loss = _loss(features, present, weights, prior)
    for _ in range(_ROUNDS):
        chance = _sigmoid(features @ weights)
        gradient = features.T @ (chance - present) + _PRIOR * (weights - prior)
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features
        curvature += _PRIOR * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient).astype(np.float64)
        for _ in range(30):  # far from the optimum, a full step may be too long
            new_loss = _loss(features, present, weights - step, prior)
            if new_loss <= loss:
                break
            step *= 0.5
        else:
            return weights
        weights, gained, loss = weights - step, loss - new_loss, new_loss
        if gained <= 1e-12 * max(1.0, loss):
            return weights
    return weights


def _loss(features: Floats, present: Floats, weights: Floats, prior: Floats) -> float:
    logits = features @ weights
    each = np.logaddexp(0, logits) - present * logits
    return float(each.sum() + _PRIOR / 2 * ((weights - prior) ** 2).sum())


# StepCalibration


def _fit_steps(scores: Scores, targets: Targets, own: NDArray[np.bool_]) -> StepCalibration:
    @cache
    def common() -> tuple[Floats, Floats]:
        """The curve of all pairs; sorting all of them takes long, so only if a label needs it."""
        return _rising(*_known(scores, targets))

    found = [
        _rising(*_known(scores[:, label], targets[:, label])) if own[label] else common()
        for label in range(scores.shape[1])
    ]
    return StepCalibration(
        at=tuple(tuple(at.tolist()) for at, _ in found),
        value=tuple(tuple(value.tolist()) for _, value in found),
        pooled=tuple((~own).tolist()),
    )


def _rising(scores: Floats, present: Floats) -> tuple[Floats, Floats]:
    """The knots of the best non-falling function: the ends of each flat part, and their values.

    Neighbours that do not rise are merged until all values rise. Whole runs of neighbours are
    merged at once. The result is the same as for one pair after another.
    """
    at, place = np.unique(scores, return_inverse=True)
    count = np.bincount(place).astype(np.float64)
    total = np.bincount(place, weights=present)
    first = np.arange(len(at))
    while True:
        height = total / count
        begins = np.concatenate([[True], height[1:] > height[:-1]])
        if begins.all():
            break
        starts = np.flatnonzero(begins)
        first = first[starts]
        count, total = np.add.reduceat(count, starts), np.add.reduceat(total, starts)
    last = np.append(first[1:] - 1, len(at) - 1)
    ends, owner = np.unique(np.stack([first, last], 1).ravel(), return_index=True)
    return at[ends], np.clip(height, 0, 1)[owner // 2]


def _sigmoid(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -logits))
