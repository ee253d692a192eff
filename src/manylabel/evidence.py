"""Evidence maps: what their numbers mean, whoever computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final


@final
@dataclass(frozen=True, slots=True)
class MapKind:
    """What one kind of evidence map shows.

    A map has a number for each label and position: how much that place speaks for the label. Only
    the numbers of one label's map can be compared with one another.

    Args:
        title: What a map shows, for people.
        low: No number in a map is below this; None: there is no bound.
        high: No number in a map is above this; None: there is no bound.
    """

    title: str
    low: float | None
    high: float | None


WEIGHTED_ATTENTION: Final = MapKind("SRN's weighted attention U", low=0, high=1)
"""A label's attention times its confidence; sums to at most 1 over the positions."""
QUERY_ATTENTION: Final = MapKind("where each label's query looked, present or not", low=0, high=1)
"""The attention of a label's query; sums to 1 over the positions, for absent labels, too."""
CLASS_ACTIVATION: Final = MapKind("class activation maps", low=None, high=None)
"""What each position adds to a label's logit; in logits, with a sign."""
