"""The demo's figures by group of labels, and what is true of them, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.synthetic import LABELS
from manylabel.data.synthetic.observer import GROUPS
from manylabel.demo.heads import ATTENTION, CONTENDERS, SRN
from manylabel.explain.localisation import PointingGame
from manylabel.html import change
from manylabel.metrics.bootstrap import (
    Interval,
    average_precision_draws,
    draw_weights,
    interval,
    mean_ap_draws,
)

ALL: Final = "all"
"""The group of all labels; its AP is mAP."""
ALL_GROUPS: Final[Mapping[str, Sequence[str]]] = {**GROUPS, ALL: LABELS}

MAPS: Final = {
    "attention": "SRN's U",
    "related-attention": "SRN's second look",
    "cam": "SRN's class activation map",
}
"""The methods of evidence maps that play the pointing game, with their titles."""
CHANCE: Final = "a random point"

DRAWS: Final = 1000

Measured = Mapping[str, Any]
"""The figures of one head, as `metrics.json` holds them."""


@final
@dataclass(frozen=True)
class Gain:
    """What SRN gains over attention alone: AP in fractions, below 0 if it loses.

    Args:
        total: The gain in mAP, with its interval over test images.
        groups: The gain in the AP of each group.
        shares: The part of `total` that comes from each group; they sum to it.
    """

    total: Interval
    groups: Mapping[str, float]
    shares: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON."""
        return {
            "over": ATTENTION.name,
            "mAP": self.total.as_dict(),
            "groups": dict(self.groups),
            "shares": dict(self.shares),
        }


def by_group(measured: Measured) -> dict[str, float | None]:
    """The mean AP of each group of labels, 0..1; None where no label has a positive image.

    Labels without a positive image are left out, as in mAP.
    """
    found = {row["label"]: row["AP"] for row in measured["labels"]}
    return {group: _mean([found[name] for name in names]) for group, names in ALL_GROUPS.items()}


def gain_of(
    heads: Mapping[str, Measured], logits: Mapping[str, NDArray[Any]], targets: NDArray[np.int8]
) -> Gain:
    """What SRN gains over attention alone.

    Args:
        heads: The figures of both heads, by name.
        logits: The logits of both heads on the test images, [N, C] in the order of the labels.
        targets: [N, C].
    """
    srn, alone = heads[SRN.name], heads[ATTENTION.name]
    moved = {
        one["label"]: one["AP"] - other["AP"]
        for one, other in zip(srn["labels"], alone["labels"], strict=True)
        if one["AP"] is not None
    }
    weights = draw_weights(len(targets), draws=DRAWS, seed=0)
    drawn = [
        mean_ap_draws(average_precision_draws(logits[each.name], targets, weights))
        for each in (SRN, ATTENTION)
    ]
    counted = {g: [moved[n] for n in names if n in moved] for g, names in GROUPS.items()}
    return Gain(
        total=interval(srn["mAP"] - alone["mAP"], drawn[0] - drawn[1]),
        groups={group: float(np.mean(each)) for group, each in counted.items() if each},
        shares={group: sum(each) / len(moved) for group, each in counted.items()},
    )


def pointing_by_group(games: Mapping[str, PointingGame]) -> dict[str, dict[str, float | None]]:
    """The share of hits in each group by method, 0..1, and that of a random point as `chance`.

    None where no label of the group is present with a box.
    """
    found = {method: _over_groups(games[method], lambda game: game.share) for method in MAPS}
    return {**found, "chance": _over_groups(games["attention"], lambda game: game.chance)}


def _over_groups(
    game: PointingGame, value: Callable[[PointingGame], float]
) -> dict[str, float | None]:
    return {
        group: _over_tries([game.per_label[name] for name in names], value)
        for group, names in ALL_GROUPS.items()
    }


def _over_tries(
    games: Sequence[PointingGame], value: Callable[[PointingGame], float]
) -> float | None:
    """The mean of a figure over the tries of some labels."""
    tried = [(game.hits + game.misses, game) for game in games if game.hits + game.misses]
    total = sum(tries for tries, _ in tried)
    return sum(tries * value(game) for tries, game in tried) / total if total else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def in_words(heads: Mapping[str, Measured], gain: Gain) -> str:
    """What is true of the figures, whichever way they point."""
    return " ".join([_gain_in_words(gain), _groups_in_words(gain), _best_in_words(heads)]).strip()


def _gain_in_words(gain: Gain) -> str:
    total = gain.total
    bounds = f"95 % interval over the test images: {change(total.low)} to {change(total.high)}"
    if not (total.low > 0 or total.high < 0):
        return (
            f"SRN's mAP differs by {change(total.value)} points from that of attention alone, "
            f"which may be chance ({bounds})."
        )
    verb, over = ("gains", "over") if total.value > 0 else ("loses", "against")
    return f"SRN {verb} {_points(total.value)} points of mAP {over} attention alone ({bounds})."


def _groups_in_words(gain: Gain) -> str:
    shares = sorted(gain.shares.items(), key=lambda pair: -abs(pair[1]))
    named = ", ".join(f"{change(share)} from '{group}'" for group, share in shares)
    return f"By group of labels, this is {named}."


def _best_in_words(heads: Mapping[str, Measured]) -> str:
    """Which baseline is the best, if it is not attention alone."""
    baselines = [each for each in CONTENDERS if each is not SRN]
    best = max(baselines, key=lambda each: heads[each.name]["mAP"])
    if best is ATTENTION:
        return ""
    ahead = heads[SRN.name]["mAP"] - heads[best.name]["mAP"]
    side = "above" if ahead >= 0 else "below"
    return f"The best baseline is the {best.title}; SRN is {_points(ahead)} points {side} it."


def _points(value: float) -> str:
    return f"{100 * abs(value):.1f}"
