"""What is measured, and the measures that compare one map with one region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

HALF: Final = 0.5
"""The threshold of `iou_half`, as a share of the map's maximum."""

SHARES: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The thresholds among which `iou_best` takes the best one for the whole set."""


@final
@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of maps.

    Args:
        title: A name for the heads of tables.
        definition: What it is, in one sentence.
        higher_is_better: Whether a larger number is better.
    """

    title: str
    definition: str
    higher_is_better: bool = True


MEASURES: Final[Mapping[str, Measure]] = {
    "pointing": Measure(
        "pointing game", "share of pairs whose map has its highest point in the label's region"
    ),
    "energy_inside": Measure(
        "energy inside", "share of the map's positive values that lies in the label's region"
    ),
    "iou_half": Measure(
        "IoU at 0.5",
        "intersection over union of the region and of the places where the map reaches half of its "
        "maximum",
    ),
    "iou_best": Measure(
        "IoU at best",
        "the same at the one share of the maximum, 0.02 to 0.9, that is best for the method on "
        "this very set, so it flatters",
    ),
    "insertion": Measure(
        "insertion",
        "mean score of the label while pixels are put into a blurred image, highest ones first",
    ),
    "deletion": Measure(
        "deletion",
        "mean score of the label while pixels are made the mean colour, highest ones first; lower "
        "is better",
        higher_is_better=False,
    ),
}
"""All measures by name, in the order of tables."""

REMOVAL: Final = ("insertion", "deletion")
"""The measures that ask the model."""


def energy_inside(maps: NDArray[np.float64], cover: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each map's positive values that lies in the region, [...], 0..1.

    A map without a positive value points nowhere: its energy inside is 0.

    Args:
        maps: [..., H, W], on any scale. Negative values count as 0.
        cover: [H, W], 0..1: how much of each position is in the region.

    Source: H. Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural
    Networks", CVPR workshops 2020, section 4.3 (the energy-based pointing game). Deliberate
    difference: regions are boxes or masks, and an edge position counts by its covered part.
    """
    positive = maps.clip(0)
    inside = (positive * cover).sum(axis=(-2, -1))
    total = positive.sum(axis=(-2, -1))
    return np.divide(inside, total, out=np.zeros_like(total), where=total > 0)


def iou_at(
    maps: NDArray[np.float64], cover: NDArray[np.float64], shares: Sequence[float]
) -> NDArray[np.float64]:
    """The intersection over union of the region and of each map's high places, [..., S], 0..1.

    High are the places whose value is at least a share of the map's maximum. A map without a
    positive value has no high place: its IoU is 0.

    Args:
        maps: [..., H, W], on any scale.
        cover: [H, W], 0..1: how much of each position is in the region.
        shares: S shares of the maximum, each above 0 and at most 1.
    """
    top = maps.max(axis=(-2, -1))[..., None, None]
    found = [_iou((maps >= share * top) & (top > 0), cover) for share in shares]
    return np.stack(found, axis=-1)


def _iou(high: NDArray[np.bool_], cover: NDArray[np.float64]) -> NDArray[np.float64]:
    both = (high * cover).sum(axis=(-2, -1))
    either = high.sum(axis=(-2, -1)) + cover.sum() - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)
