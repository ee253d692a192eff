"""Calibration: scores that mean what they say. Of pairs with score 0.7, 70 % are to be present.

Three kinds are one curve in the logarithms of a score s and of 1 - s, and differ in what is free:

    logit(calibrated) = rise * log(s) - fall * log(1 - s) + offset

    temperature   rise = fall, no offset
    platt         rise = fall, and an offset
    beta          rise, fall and offset

`isotonic` is the best rising function of all, straight lines between its steps. Each is fitted by
maximum likelihood on images that the model was not trained on. None ever falls, so a label's
ranking stays and with it AP; `isotonic` makes flat parts, whose ties can move AP.

Source: temperature, Guo et al. (arXiv:1706.04599); Platt (1999); beta, Kull et al. (AISTATS
2017); isotonic, Zadrozny and Elkan (KDD 2002). Different here: each label has its own curve, and
a weak pull towards "as it is" keeps the curve of a label that is told apart without a fault finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from manylabel.config import Config
from manylabel.errors import DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN
from manylabel.metrics.ranking import Scores, Targets, check_scored

Floats = NDArray[np.float64]
Kind = Literal["temperature", "platt", "beta", "isotonic"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

FEWEST: Final[dict[Kind, int]] = {"temperature": 10, "platt": 20, "beta": 30, "isotonic": 100}
"""Known positives and negatives that a label needs, each, for a curve of its own.

Ten for each number that is fitted; the isotonic curve has no fixed number of them. Labels with
fewer take the curve of all pairs of image and label pooled.
"""

_PULL: Final = 0.01
"""Half of it times the squared distance from "as it is" is added to the loss of all pairs."""

_ROUNDS: Final = 100
_LOWEST: Final = 1e-30
_ROOM: Final = 2.0**-26
"""The nearest to 1 that a score lies: half of what a float32 below 1 can be away from it."""


class SmoothCalibration(Config):
    """A smooth curve for each label: temperature, Platt or beta."""

    kind: Literal["temperature", "platt", "beta"]
    """What was free to be fitted."""
    rise: tuple[Annotated[float, Field(ge=0)], ...]
    """[C], of log(s)."""
    fall: tuple[Annotated[float, Field(ge=0)], ...]
    """[C], of -log(1 - s)."""
    offset: tuple[float, ...]
    """[C]."""
    pooled: tuple[bool, ...]
    """[C]: the label takes the curve of all pairs."""

    @model_validator(mode="after")
    def _check(self) -> SmoothCalibration:
        if not len(self.rise) == len(self.fall) == len(self.offset) == len(self.pooled):
            raise ValueError("rise, fall, offset and pooled are of different lengths")
        return self

    @property
    def num_labels(self) -> int:
        """C."""
        return len(self.rise)

    def apply(self, scores: Scores) -> Scores:
        """Calibrated scores [N, C] of scores [N, C], in their type."""
        up, down = _features(scores)
        logits = np.array(self.rise) * up + np.array(self.fall) * down + np.array(self.offset)
        return _sigmoid(logits).astype(scores.dtype)


class StepCalibration(Config):
    """A rising function for each label, straight between its knots and flat outside of them."""

    kind: Literal["isotonic"] = "isotonic"
    """Isotonic regression."""
    at: tuple[tuple[float, ...], ...]
    """Of each of C labels the scores at its knots, rising."""
    value: tuple[tuple[Annotated[float, Field(ge=0, le=1)], ...], ...]
    """The calibrated scores there, never falling."""
    pooled: tuple[bool, ...]
    """[C]: the label takes the curve of all pairs."""

    @model_validator(mode="after")
    def _check(self) -> StepCalibration:
        if not len(self.at) == len(self.value) == len(self.pooled):
            raise ValueError("at, value and pooled are of different lengths")
        for at, value in zip(self.at, self.value, strict=True):
            if not at or len(at) != len(value):
                raise ValueError("a label has no knots, or not a value at each")
            if (np.diff(at) <= 0).any() or (np.diff(value) < 0).any():
                raise ValueError("the knots of a label do not rise")
        return self

    @property
    def num_labels(self) -> int:
        """C."""
        return len(self.at)

    def apply(self, scores: Scores) -> Scores:
        """Calibrated scores [N, C] of scores [N, C], in their type."""
        calibrated = np.empty_like(scores)
        for label, (at, value) in enumerate(zip(self.at, self.value, strict=True)):
            calibrated[:, label] = np.interp(scores[:, label], at, value)
        return calibrated


Calibration = Annotated[SmoothCalibration | StepCalibration, Field(discriminator="kind")]


def fit_calibration(
    scores: ArrayLike, targets: ArrayLike, kind: Kind
) -> SmoothCalibration | StepCalibration:
    """The calibration of each label, fitted by maximum likelihood.

    A label with fewer examples than `FEWEST`, or whose own curve would fall, takes the curve of
    all pairs of image and label pooled. Curves fall where scores rank worse than chance; and by
    temperature, which cannot shift, where most lie on the wrong side of 0.5.

    Args:
        scores: [N, C], after the sigmoid, 0..1, of images that the model was not trained on.
        targets: [N, C] of 1, 0 and -1; unknown ones count nowhere.
        kind: Which; a key of `FEWEST`.

    Raises:
        DataError: Scores or targets cannot be used, only one side is known of all labels, or
            the curve of all pairs would fall.
    """
    scores, targets = _checked(scores, targets)
    present, absent = (targets == PRESENT).sum(axis=0), (targets == ABSENT).sum(axis=0)
    own = np.minimum(present, absent) >= FEWEST[kind]
    if kind == "isotonic":
        return _fit_steps(scores, targets, own)
    return _fit_curves(scores, targets, own, kind)


def _checked(scores: ArrayLike, targets: ArrayLike) -> tuple[Scores, Targets]:
    scores, targets = check_scored(scores, targets)
    if not ((targets == PRESENT).any() and (targets == ABSENT).any()):
        raise DataError(
            "There is nothing to calibrate by: all known targets are alike.",
            where="targets",
            fix="Calibrate on images of which some have labels and some do not.",
        )
    return scores, targets


def _known(scores: Scores, targets: Targets) -> tuple[Floats, Floats]:
    """Scores and presence (1 or 0) of the pairs whose truth is known, flat."""
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
            "No temperature fits: too many scores lie on the wrong side of 0.5.",
            where="scores and targets",
            fix="Calibrate by platt, which shifts scores, too.",
        )
    return DataError(
        "Calibration would turn the ranking round: the scores rank worse than chance.",
        where="scores and targets",
        fix="Check that scores and targets belong to the same labels and images.",
    )


def _fit_curve(scores: Floats, present: Floats, kind: str) -> Floats | None:
    """[rise, fall, offset]; None if the curve would fall or be flat."""
    up, down = _features(scores)
    ones = np.ones_like(up)
    if kind == "temperature":
        (slope,) = _newton(np.stack([up + down], 1), present, [1.0])
        return np.array([slope, slope, 0.0]) if slope > 0 else None
    if kind == "platt":
        slope, offset = _newton(np.stack([up + down, ones], 1), present, [1.0, 0.0])
        return np.array([slope, slope, offset]) if slope > 0 else None
    rise, fall, offset = _newton(np.stack([up, down, ones], 1), present, [1.0, 1.0, 0.0])
    if rise < 0:  # the best that does not fall has none of it
        rise, (fall, offset) = 0.0, _newton(np.stack([down, ones], 1), present, [1.0, 0.0])
    elif fall < 0:
        fall, (rise, offset) = 0.0, _newton(np.stack([up, ones], 1), present, [1.0, 0.0])
    curve = np.array([rise, fall, offset])
    return curve if rise >= 0 and fall >= 0 and rise + fall > 0 else None


def _features(scores: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """log(s) and -log(1 - s), finite: their sum is the logit, and each rises with s."""
    inner = np.clip(scores.astype(np.float64), _LOWEST, 1 - _ROOM)
    return np.log(inner), -np.log1p(-inner)


def _newton(features: Floats, present: Floats, start: Sequence[float]) -> Floats:
    """The weights [P] of a logistic regression on features [n, P]; the loss is convex."""
    prior: Floats = np.array(start)
    weights = prior
    loss = _loss(features, present, weights, prior)
    for _ in range(_ROUNDS):
        chance = _sigmoid(features @ weights)
        gradient = features.T @ (chance - present) + _PULL * (weights - prior)
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features
        curvature += _PULL * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient).astype(np.float64)
        for _ in range(30):  # far from the best a whole step may lead too far
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
    return float(each.sum() + _PULL / 2 * ((weights - prior) ** 2).sum())


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
    """Knots of the best rising function: the ends of each flat part, and their heights.

    Neighbours that do not rise are merged until all do. Whole runs of them are merged at once,
    which ends in the same function as one pair after another.
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
