"""The declared table: how often a label comes, with what, where, how large and how plainly.

docs/drawn-scenes.md tells why the table is as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, final

from numpy.random import Generator

VERSION: Final = 1
"""Raised whenever the same seed would draw other scenes."""

SHY_SHARE: Final = 0.85
"""Share of a shy label's objects that come small or hidden; the rest are shown plainly."""
HIDDEN: Final = (0.5, 0.8)
"""What a thicket covers of a hidden object's area, uniform between the two."""
TINY: Final = (10.0, 14.0)
"""The longer side of an object that comes small."""
STRAY_CHANCE: Final = 0.15
"""P(an ambiguous shape that is no label | its reference is absent)."""
BARE_THICKET_CHANCE: Final = 0.35
"""P(a thicket that hides nothing | nothing is hidden)."""


@final
@dataclass(frozen=True)
class LabelRule:
    """How often a label comes, what it goes with, and how it is shown."""

    name: str
    shape: str
    """Its drawing in `SHAPES`; two labels with one shape differ by `place` alone."""
    sizes: tuple[float, float]
    """Smallest and largest longer side in units, uniform between."""
    chance: float
    """P(label) in a scene without its companion, or in any scene if it has none."""
    companion: str | None = None
    """An earlier label that this one depends on."""
    chance_with: float = 0.0
    """P(label | companion)."""
    place: Literal["anywhere", "near", "above", "below"] = "anywhere"
    """Where it lies with respect to its companion, if that is in the scene."""
    shy: Literal["small", "hidden"] | None = None
    """How it comes in `SHY_SHARE` of its scenes."""
    rival: str | None = None
    """An earlier label of the same companion that never comes together with this one."""


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
"""The table's row of each label."""


def prior(name: str) -> float:
    """P(label), exact: every label depends on one earlier label at most."""
    rule = RULE_OF[name]
    if rule.companion is None:
        return rule.chance
    with_it = prior(rule.companion)
    return rule.chance_with * with_it + rule.chance * (1 - with_it)


def companion_given(name: str) -> float:
    """P(companion | label), exact, by Bayes; the label must have a companion."""
    rule = RULE_OF[name]
    assert rule.companion is not None
    return rule.chance_with * prior(rule.companion) / prior(name)


def toss_labels(rng: Generator) -> tuple[LabelRule, ...]:
    """The rules of the labels that are present: one toss a row of the table."""
    present: dict[str, LabelRule] = {}
    for rule in RULES:
        if rng.random() < _chance(rule, present):
            present[rule.name] = rule
    return tuple(present.values())


def _chance(rule: LabelRule, present: Mapping[str, LabelRule]) -> float:
    """P(label | the labels tossed before it)."""
    chance = rule.chance_with if rule.companion in present else rule.chance
    if rule.rival is None:
        return chance
    if rule.rival in present:
        return 0.0
    return chance / (1 - _chance(RULE_OF[rule.rival], present))
