"""What relations could bring at most: an observer of drawn scenes who knows the generating rules.

The observer has a model's local evidence: calibrated scores of a model that was trained where
labels are independent and objects lie anywhere, so that no relation could be learned. It also
knows the truth about the *other* labels (semantic observer), and besides where the shapes that
stand for two labels lie relative to their reference (spatial observer). Its scores are posterior
probabilities by Bayes' rule, so that no model with the same local evidence can rank images better,
except by chance. Two labels of one shape (bird and fish) look the same to the byte; the truth
about one would be the truth about the other, so the observer does not know that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.synthetic.layout import ASIDE, GAP, sample_scene
from manylabel.data.synthetic.rules import (
    LABELS,
    RULE_OF,
    RULES,
    LabelRule,
    Relations,
    chance_of,
    prior,
    stray_chance,
)
from manylabel.data.synthetic.scene import Item, Scene

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "told apart by layout": ("bird", "fish", "cloud", "pond"),
    "hidden or tiny": ("car", "bee", "mushroom"),
    "companions": ("boat", "bridge", "tree", "house", "signal", "flower"),
    "alone": ("balloon", "windmill"),
}
"""The labels by what relations could tell about them."""

_SHAPES: Final[Mapping[str, tuple[str, ...]]] = {
    shape: tuple(rule.name for rule in RULES if rule.shape == shape)
    for shape in dict.fromkeys(rule.shape for rule in RULES)
}
"""The labels of each shape: one, or two rivals."""

Zone = Literal["above", "below", "neither"]

_LEAST: Final = 1e-6
"""The smallest probability: no observer is certain, and logarithms stay finite."""
_SAMPLED: Final = 3000
"""The number of scenes from which the chance of a zone is estimated."""


@final
@dataclass(frozen=True, eq=False)
class Observed:
    """The scores of three observers for N scenes, each [N, C], 0..1.

    Args:
        local: The model's local evidence alone.
        semantic: With the true other labels.
        spatial: With the true other labels, and with the layout of the shapes of two labels.
    """

    local: NDArray[np.float64]
    semantic: NDArray[np.float64]
    spatial: NDArray[np.float64]


def observe(
    evidence: NDArray[np.floating[Any]], scenes: Sequence[Scene], relations: Relations
) -> Observed:
    """The scores of the observers.

    Args:
        evidence: [N, C], 0..1: calibrated scores, in the order of `LABELS`, of a model that was
            trained on scenes of strength 0.
        scenes: The N scenes.
        relations: The relations that the scenes were drawn with.
    """
    assert evidence.shape == (len(scenes), len(LABELS)), evidence.shape
    local = np.clip(np.asarray(evidence, dtype=np.float64), _LEAST, 1 - _LEAST)
    semantic, spatial = np.empty_like(local), np.empty_like(local)
    for row, scene in enumerate(scenes):
        for shape, names in _SHAPES.items():
            columns = [LABELS.index(name) for name in names]
            guess = _weigh(shape, local[row, columns], scene, relations.strength)
            semantic[row, columns] = guess.probabilities()
            layout = _layout_odds(shape, scene, relations)
            spatial[row, columns] = guess.given(layout).probabilities()
    return Observed(local, semantic, spatial)


@final
@dataclass(frozen=True, eq=False)
class _Guess:
    """The weights of what a scene may show of one shape; they need not sum to 1.

    Args:
        labels: The weight of each label of the shape.
        stray: The weight of the shape without a label.
        nothing: The weight of a scene without the shape.
    """

    labels: NDArray[np.float64]
    stray: float
    nothing: float

    def probabilities(self) -> NDArray[np.float64]:
        """The probability of each label of the shape, 0..1."""
        return self.labels / (self.labels.sum() + self.stray + self.nothing)

    def given(self, odds: tuple[NDArray[np.float64], float] | None) -> _Guess:
        """The weights after the place of the shape is known.

        A place says which of its labels the shape has. It must not say whether the shape is there
        at all, so the weight of a scene without the shape stays in proportion.
        """
        if odds is None:
            return self
        labels, stray = self.labels * odds[0], self.stray * odds[1]
        before, after = self.labels.sum() + self.stray, labels.sum() + stray
        return _Guess(labels, stray, self.nothing * after / before)


def _weigh(shape: str, local: NDArray[np.float64], scene: Scene, strength: float) -> _Guess:
    """The weights by the evidence for the shape's labels and by the true other labels.

    A shape without a label looks like one with a label. So where labels are independent, the
    evidence for the one is that for the other, in proportion to how often they occur.
    """
    names = _SHAPES[shape]
    others = frozenset(scene.labels) - set(names)
    priors = np.array([prior(name) for name in names])
    labels = local / priors * [_joint(others | {name}, strength) for name in names]
    absent = _joint(others, strength)
    if len(names) == 1:
        return _Guess(labels, 0.0, (1 - local[0]) / (1 - priors[0]) * absent)
    rule = RULE_OF[names[0]]
    usual = stray_chance(rule, with_reference=True, strength=0.0)
    chance = stray_chance(rule, with_reference=rule.companion in others, strength=strength)
    odds = usual * (1 - priors.sum()) / priors.sum()  # of the shape without a label to one with
    nothing = max(1 - local.sum() * (1 + odds), _LEAST) / ((1 - priors.sum()) * (1 - usual))
    return _Guess(
        labels,
        local.sum() / priors.sum() * max(chance, _LEAST) * absent,
        nothing * (1 - chance) * absent,
    )


def _joint(present: frozenset[str], strength: float) -> float:
    """The exact probability of a set of labels, but never 0."""
    value = 1.0
    for rule in RULES:
        chance = _cached_chance(rule.name, _before(rule, present), strength)
        value *= max(chance if rule.name in present else 1 - chance, _LEAST)
    return value


def _before(rule: LabelRule, present: frozenset[str]) -> frozenset[str]:
    """Those of the present labels on which the rule's label depends."""
    return present & {rule.companion or "", rule.rival or ""}


@cache
def _cached_chance(name: str, before: frozenset[str], strength: float) -> float:
    return chance_of(RULE_OF[name], before, strength)


def _layout_odds(
    shape: str, scene: Scene, relations: Relations
) -> tuple[NDArray[np.float64], float] | None:
    """The likelihood of the shape's place for each of its labels, and without a label.

    None if the place tells nothing.
    """
    rules = [RULE_OF[name] for name in _SHAPES[shape]]
    zone = _zone(rules[0], scene, relations)
    if zone is None:
        return None
    anywhere, strength = _anywhere(shape, relations)[zone], relations.strength
    own = np.array([strength * (rule.place == zone) for rule in rules])
    return np.maximum(own + (1 - strength) * anywhere, _LEAST), anywhere


def _zone(rule: LabelRule, scene: Scene, relations: Relations) -> Zone | None:
    """How the rule's shape lies to its reference; None if layout does not matter for it."""
    if rule.place not in ("above", "below"):
        return None
    reference = next((item for item in scene.items if item.label == rule.companion), None)
    shape = next((item for item in scene.items if item.shape == rule.shape), None)
    if reference is None or shape is None:
        return None
    return zone_of(shape, reference, relations)


def zone_of(shape: Item, reference: Item, relations: Relations) -> Zone:
    """Whether a shape lies above or below a reference as the rules would place it."""
    least, most = ASIDE[relations.distance]
    if not least <= abs(shape.centre[0] - reference.centre[0]) <= most:
        return "neither"
    if _is_gap(reference.top - shape.bottom):
        return "above"
    return "below" if _is_gap(shape.top - reference.bottom) else "neither"


def _is_gap(value: float) -> bool:
    slack = 1e-6  # of moving a block
    return GAP[0] - slack <= value <= GAP[1] + slack


@cache
def _anywhere(shape: str, relations: Relations) -> Mapping[Zone, float]:
    """The chance of each zone for a shape that lies anywhere, with one success added to each."""
    counts: dict[Zone, int] = {"above": 1, "below": 1, "neither": 1}
    rule = next(rule for rule in RULES if rule.shape == shape)
    for index in range(_SAMPLED):
        zone = _zone(rule, _loose_scene(index), relations)
        if zone is not None:
            counts[zone] += 1
    total = sum(counts.values())
    return {zone: count / total for zone, count in counts.items()}


@cache
def _loose_scene(index: int) -> Scene:
    return sample_scene(0, "train", index, Relations(strength=0.0))
