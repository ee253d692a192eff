"""The table of rules: how often a label occurs, with which label, where, how large, how visible.

docs/drawn-scenes.md explains the table.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final, Literal, final

from numpy.random import Generator

VERSION: Final = 2
"""This number is increased whenever the same seed gives other scenes."""

SHY_SHARE: Final = 0.85
"""The fraction of a shy label's objects that are small or hidden; the others are fully visible."""
HIDDEN: Final = (0.5, 0.8)
"""The fraction of a hidden object's area that a thicket covers, uniform between these two."""
TINY: Final = (10.0, 14.0)
"""The longer side of a small object in units, uniform between these two."""
STRAY_CHANCE: Final = 0.15
"""P(an ambiguous shape without a label | its reference is absent)."""
BARE_THICKET_CHANCE: Final = 0.35
"""P(a thicket that hides nothing | nothing is hidden)."""

Distance = Literal["near", "far"]


@final
@dataclass(frozen=True)
class Relations:
    """How much the labels of a scene depend on one another, and over which distance.

    The marginal P(label) and the drawing of each object are the same for all strengths.

    Args:
        strength: 0..1. At 1, the table holds. At 0, labels occur independently (but for rivals,
            which exclude one another), and every object may be anywhere. Between them, P(label |
            companion) is interpolated linearly, and each object keeps its place relative to its
            companion with this probability.
        distance: `near`: an object lies beside its companion. `far`: half the picture or more is
            between their centres, and above or below still decides.
    """

    strength: float = 1.0
    distance: Distance = "near"


STANDARD: Final = Relations()
"""The relations of the table."""


@final
@dataclass(frozen=True)
class LabelRule:
    """How often a label occurs, with which other label, and how it is drawn."""

    name: str
    shape: str
    """The name of its drawing in `SHAPES`. Two labels with the same shape differ only in
    `place`."""
    sizes: tuple[float, float]
    """The range of the longer side in units, uniform between the two."""
    chance: float
    """P(label) in a scene without its companion, or in any scene if it has no companion."""
    companion: str | None = None
    """An earlier label on which this one depends."""
    chance_with: float = 0.0
    """P(label | companion)."""
    place: Literal["anywhere", "near", "above", "below"] = "anywhere"
    """Its position relative to its companion, if the companion is in the scene."""
    shy: Literal["small", "hidden"] | None = None
    """How the object is made hard to see in `SHY_SHARE` of its scenes."""
    rival: str | None = None
    """An earlier label with the same companion that never occurs together with this one."""


# fmt: off
RULES: Final = (
    #         name        shape       sizes     chance companion chance_with place   shy
    LabelRule("boat",     "boat",     (22, 45), 0.38),
    LabelRule("bird",     "spindle",  (18, 34), 0.0,   "boat",   0.42, "above"),
    LabelRule("fish",     "spindle",  (18, 34), 0.0,   "boat",   0.42, "below", rival="bird"),
    LabelRule("bridge",   "bridge",   (22, 45), 0.42,  "boat",   0.14),
    LabelRule("cloud",    "puff",     (18, 36), 0.0,   "bridge", 0.42, "above"),
    LabelRule("pond",     "puff",     (18, 36), 0.0,   "bridge", 0.42, "below", rival="cloud"),
    LabelRule("tree",     "tree",     (22, 54), 0.40),
    LabelRule("house",    "house",    (20, 48), 0.14,  "tree",   0.40),
    LabelRule("signal",   "signal",   (20, 48), 0.32,  "tree",   0.12),
    LabelRule("flower",   "flower",   (20, 48), 0.26),
    LabelRule("car",      "car",      (20, 40), 0.026, "signal", 0.50, "near", "hidden"),
    LabelRule("bee",      "bee",      (18, 32), 0.031, "flower", 0.50, "near", "small"),
    LabelRule("mushroom", "mushroom", (18, 32), 0.035, "tree",   0.30, "near", "small"),
    LabelRule("balloon",  "balloon",  (20, 48), 0.07),
    LabelRule("windmill", "windmill", (22, 54), 0.05),
)
# fmt: on

LABELS: Final = tuple(rule.name for rule in RULES)
RULE_OF: Final = {rule.name: rule for rule in RULES}
"""The row of the table for each label."""


def prior(name: str) -> float:
    """The exact P(label). Every label depends on at most one earlier label."""
    rule = RULE_OF[name]
    if rule.companion is None:
        return rule.chance
    with_it = prior(rule.companion)
    return rule.chance_with * with_it + rule.chance * (1 - with_it)


def companion_given(name: str) -> float:
    """The exact P(companion | label), by Bayes' rule. The label must have a companion."""
    rule = RULE_OF[name]
    assert rule.companion is not None
    return rule.chance_with * prior(rule.companion) / prior(name)


def sample_labels(rng: Generator, strength: float = 1.0) -> tuple[LabelRule, ...]:
    """Samples the labels of a scene, and returns their rules: one random number for each row."""
    present: dict[str, LabelRule] = {}
    for rule in RULES:
        if rng.random() < chance_of(rule, present, strength):
            present[rule.name] = rule
    return tuple(present.values())


def chance_of(rule: LabelRule, present: Container[str], strength: float = 1.0) -> float:
    """The exact P(label | the labels of earlier rows), 0..1.

    Args:
        rule: The row of the label.
        present: The earlier labels that are in the scene.
        strength: As in `Relations`.
    """
    alone = prior(rule.name)
    chance = rule.chance_with if (rule.companion or "") in present else rule.chance
    chance = alone + strength * (chance - alone) if strength < 1 else chance
    if rule.rival is None:
        return chance
    if rule.rival in present:
        return 0.0
    return chance / (1 - chance_of(RULE_OF[rule.rival], present, strength))


def stray_chance(rule: LabelRule, *, with_reference: bool, strength: float = 1.0) -> float:
    """P(a shape without a label | neither of its two labels is present), 0..1.

    How many such shapes there are does not depend on the strength. At strength 1 they are only in
    scenes without the reference; at strength 0 the reference makes no difference.

    Args:
        rule: The row of the first label of the shape.
        with_reference: Whether the reference is in the scene.
        strength: As in `Relations`.
    """
    assert rule.companion is not None
    reference = prior(rule.companion)
    free = {
        there: (reference if there else 1 - reference) * (1 - 2 * _mixed(rule, there, strength))
        for there in (True, False)
    }
    total = STRAY_CHANCE * (1 - reference)
    without = total / (free[False] + (1 - strength) * free[True])
    return (1 - strength) * without if with_reference else without


def _mixed(rule: LabelRule, there: bool, strength: float) -> float:
    """P(label | companion there or not) of a label without an earlier rival."""
    return chance_of(rule, {rule.companion} if there else set(), strength)
