"""Evidence maps: what their numbers mean, whoever computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class MapKind:
    """What one kind of evidence map is.

    A map has a number for each label and position: how much that place speaks for the label. Only
    the numbers of one label's map can be compared with one another.

    Args:
        title: A few words for people, such as "class activation maps".
        low: The lowest number that a map can hold; minus infinity where there is none.
        high: The highest; infinity where there is none.
    """

    title: str
    low: float
    high: float
