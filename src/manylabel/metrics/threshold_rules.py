"""The cuts through the scores of a label, and the figure that a rule gives each of them."""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from manylabel.config import Config
from manylabel.labels import PRESENT, UNKNOWN
from manylabel.metrics.ranking import Scores, Targets, mean_of_defined

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_CLOSEST: Final = 1e-12
"""How close to 0 and 1 a score still has a logit of its own here."""


class Rule(Config):
    """What a label's threshold is the best for."""

    kind: Literal["f1", "precision", "recall", "cost"] = "f1"
    """F1; recall at a precision; precision at a recall; or the least cost."""
    at: Annotated[float, Field(gt=0, le=1)] | None = None
    """The precision or recall to keep, 0..1; for those two only."""
    costs: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    """Of a wrong yes and of a wrong no; for `cost` only."""

    @model_validator(mode="after")
    def _check(self) -> Rule:
        if (self.at is not None) != (self.kind in {"precision", "recall"}):
            raise ValueError("'precision' and 'recall' take 'at', the others do not")
        if (self.costs is not None) != (self.kind == "cost"):
            raise ValueError("'cost' takes 'costs', the others do not")
        return self

    @property
    def words(self) -> str:
        """What is sought, for people."""
        if self.costs is not None:
            return f"least cost, {self.costs[0]:g} a wrong yes and {self.costs[1]:g} a wrong no"
        if self.at is not None:
            sought = "recall" if self.kind == "precision" else "precision"
            return f"most {sought} at {self.kind} >= {self.at:g}"
        return "most F1"


class Tally(NamedTuple):
    """What decisions came to, each [C] or [cuts, C]: counts of known targets."""

    right: Counts
    wrong: Counts
    present: Counts
    known: Counts


def best_thresholds(scores: Scores, targets: Targets, rule: Rule) -> Floats:
    """[C]: the threshold with the best figure; of equally good ones the highest.

    It lies halfway, as logits, between the lowest score that is a yes and the next one below. If
    all known images are a yes, it is the lowest score; if none, just above the highest.
    """
    known = targets != UNKNOWN
    keys = np.where(known, scores, -np.inf).astype(scores.dtype)
    order = np.argsort(-keys, axis=0, kind="stable")
    keys = np.take_along_axis(keys, order, axis=0)
    # Row k is the cut after the k best. It cannot part equal scores, nor pass into the unknown.
    nothing = np.zeros((1, scores.shape[1]), dtype=np.int64)
    right = np.take_along_axis(targets == PRESENT, order, axis=0).cumsum(axis=0)
    right = np.concatenate([nothing, right])
    taken = np.take_along_axis(known, order, axis=0).cumsum(axis=0)
    wrong = np.concatenate([nothing, taken]) - right
    end = np.full((1, scores.shape[1]), np.inf, dtype=scores.dtype)
    above, below = np.concatenate([end, keys]), np.concatenate([keys, -end])
    tally = Tally(right, wrong, right[-1], known.sum(axis=0))
    value, kept = figures_of(rule, tally)
    best = np.where(kept & (above > below), value, -np.inf).argmax(axis=0)[None]
    above = np.take_along_axis(above, best, axis=0)[0]
    below = np.take_along_axis(below, best, axis=0)[0]
    return _between(above, below)


def _between(above: Scores, below: Scores) -> Floats:
    """Thresholds that `above` reaches and `below` does not; infinite where there is no score."""
    middle = sigmoid((logit(above) + logit(below)) / 2).astype(above.dtype)
    middle = np.where((middle > below) & (middle <= above), middle, above)
    over = np.minimum(np.nextafter(below, above.dtype.type(2)), 1)
    inner = np.where(np.isinf(below), above, middle)
    # Of a label without a known target both are infinite; its threshold is never used.
    return np.clip(np.where(np.isinf(above), over, inner), 0, 1).astype(np.float64)


def figures_of(rule: Rule, tally: Tally) -> tuple[Floats, NDArray[np.bool_]]:
    """The rule's figure, and whether what it was to keep was kept."""
    right, wrong, present, known = tally
    if rule.costs is not None:
        cost = rule.costs[0] * wrong + rule.costs[1] * (present - right)
        return -cost / np.maximum(known, 1), np.ones_like(cost, dtype=np.bool_)
    precision, recall = right / np.maximum(right + wrong, 1), right / np.maximum(present, 1)
    if rule.kind == "f1":
        f1 = 2 * right / np.maximum(right + wrong + present, 1)
        return f1, np.ones_like(f1, dtype=np.bool_)
    assert rule.at is not None
    if rule.kind == "precision":  # where nothing is decided, nothing is wrong
        return recall, right >= rule.at * (right + wrong) - 1e-9
    return precision, right >= rule.at * present - 1e-9


def figure_of(rule: Rule, tally: Tally) -> float:
    """The mean over labels, of those that can have the figure; NaN if none can."""
    value, kept = figures_of(rule, tally)
    counted = tally.known if rule.kind == "cost" else tally.present
    return mean_of_defined(np.where(counted > 0, np.where(kept, value, 0.0), np.nan))


def logit(scores: NDArray[np.floating]) -> Floats:
    """Logits of scores, finite: nearer to 0 and 1 than 1e-12 they are all alike."""
    inner = np.clip(np.asarray(scores, dtype=np.float64), _CLOSEST, 1 - _CLOSEST)
    return np.log(inner) - np.log1p(-inner)


def sigmoid(logits: Floats) -> Floats:
    """Scores of finite logits."""
    return 1 / (1 + np.exp(-logits))
