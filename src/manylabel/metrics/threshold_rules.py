"""Rules that say which threshold is best, and the search for the best threshold of a label."""

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
"""Scores are clipped to this distance from 0 and 1, so that their logits are finite."""


class Rule(Config):
    """What a label's threshold should optimise."""

    kind: Literal["f1", "precision", "recall", "cost"] = "f1"
    """`f1`: the highest F1. `precision`: the highest recall with at least the precision `at`.
    `recall`: the highest precision with at least the recall `at`. `cost`: the lowest cost."""
    at: Annotated[float, Field(gt=0, le=1)] | None = None
    """The least precision or recall, 0..1; for `precision` and `recall` only."""
    costs: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    """The cost of a false positive and of a false negative; for `cost` only."""

    @model_validator(mode="after")
    def _check(self) -> Rule:
        if (self.at is not None) != (self.kind in {"precision", "recall"}):
            raise ValueError("'precision' and 'recall' take 'at', the others do not")
        if (self.costs is not None) != (self.kind == "cost"):
            raise ValueError("'cost' takes 'costs', the others do not")
        return self

    @property
    def words(self) -> str:
        """The rule in words, for people."""
        if self.costs is not None:
            return (
                f"lowest cost, {self.costs[0]:g} per false positive and "
                f"{self.costs[1]:g} per false negative"
            )
        if self.at is not None:
            best = "recall" if self.kind == "precision" else "precision"
            return f"highest {best} at {self.kind} >= {self.at:g}"
        return "highest F1"


class DecisionCounts(NamedTuple):
    """Counts of known targets, each [C], or [K, C] for K candidate thresholds of each label."""

    true_positives: Counts
    false_positives: Counts
    present: Counts
    known: Counts


def best_thresholds(scores: Scores, targets: Targets, rule: Rule) -> Floats:
    """The best threshold of each label by a rule, [C]; the highest of equally good ones.

    It is halfway, in logits, between the lowest score that is a yes and the next lower score. If
    all known images are a yes, it is the lowest score. If none is, it is just above the highest.
    """
    known = targets != UNKNOWN
    keys = np.where(known, scores, -np.inf).astype(scores.dtype)
    order = np.argsort(-keys, axis=0, kind="stable")
    keys = np.take_along_axis(keys, order, axis=0)
    # Row k: the k best images are a yes. A threshold cannot separate equal scores, so rows with
    # equal scores on both sides are not allowed, and neither are rows after the last known image.
    zero = np.zeros((1, scores.shape[1]), dtype=np.int64)
    true_positives = np.take_along_axis(targets == PRESENT, order, axis=0).cumsum(axis=0)
    true_positives = np.concatenate([zero, true_positives])
    predicted = np.take_along_axis(known, order, axis=0).cumsum(axis=0)
    false_positives = np.concatenate([zero, predicted]) - true_positives
    end = np.full((1, scores.shape[1]), np.inf, dtype=scores.dtype)
    above, below = np.concatenate([end, keys]), np.concatenate([keys, -end])
    counts = DecisionCounts(true_positives, false_positives, true_positives[-1], known.sum(axis=0))
    value, allowed = _rule_values(rule, counts)
    best = np.where(allowed & (above > below), value, -np.inf).argmax(axis=0)[None]
    above = np.take_along_axis(above, best, axis=0)[0]
    below = np.take_along_axis(below, best, axis=0)[0]
    return _between(above, below)


def _between(above: Scores, below: Scores) -> Floats:
    """Thresholds that the scores `above` reach and the scores `below` do not reach.

    Args:
        above: [C], the lowest score that is a yes; infinity if no score is.
        below: [C], the highest score that is a no; minus infinity if no score is.
    """
    middle = sigmoid((logit(above) + logit(below)) / 2).astype(above.dtype)
    middle = np.where((middle > below) & (middle <= above), middle, above)
    just_above = np.minimum(np.nextafter(below, above.dtype.type(2)), 1)
    inner = np.where(np.isinf(below), above, middle)
    # For a label without a known target, both are infinite. Its threshold is never used.
    return np.clip(np.where(np.isinf(above), just_above, inner), 0, 1).astype(np.float64)


def _rule_values(rule: Rule, counts: DecisionCounts) -> tuple[Floats, NDArray[np.bool_]]:
    """The value that the rule optimises (higher is better), and whether its minimum is reached."""
    right, wrong, present, known = counts
    if rule.costs is not None:
        cost = rule.costs[0] * wrong + rule.costs[1] * (present - right)
        return -cost / np.maximum(known, 1), np.ones_like(cost, dtype=np.bool_)
    precision, recall = right / np.maximum(right + wrong, 1), right / np.maximum(present, 1)
    if rule.kind == "f1":
        f1 = 2 * right / np.maximum(right + wrong + present, 1)
        return f1, np.ones_like(f1, dtype=np.bool_)
    assert rule.at is not None
    if rule.kind == "precision":  # if nothing is predicted, every precision is reached
        return recall, right >= rule.at * (right + wrong) - 1e-9
    return precision, right >= rule.at * present - 1e-9


def mean_rule_value(rule: Rule, counts: DecisionCounts) -> float:
    """The mean over labels of the value that the rule optimises.

    A label that misses the rule's minimum has the value 0. Labels for which the value is not
    defined are left out. The mean is NaN if no label is left.
    """
    value, allowed = _rule_values(rule, counts)
    counted = counts.known if rule.kind == "cost" else counts.present
    return mean_of_defined(np.where(counted > 0, np.where(allowed, value, 0.0), np.nan))


def logit(scores: NDArray[np.floating]) -> Floats:
    """Finite logits of scores; scores are clipped to 1e-12 from 0 and 1."""
    inner = np.clip(np.asarray(scores, dtype=np.float64), _CLOSEST, 1 - _CLOSEST)
    return np.log(inner) - np.log1p(-inner)


def sigmoid(logits: Floats) -> Floats:
    """Scores of finite logits."""
    return 1 / (1 + np.exp(-logits))
