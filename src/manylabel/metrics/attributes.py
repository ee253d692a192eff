"""The metrics of the literature on attributes of people: mA, and means over images.

Unknown targets count nowhere. What would be divided by 0 counts 0, as in the literature's code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manylabel.labels import ABSENT, PRESENT, UNKNOWN
from manylabel.metrics.f1 import check_decided
from manylabel.metrics.ratios import mean_or_nan


def mean_accuracy(decided: ArrayLike, targets: ArrayLike) -> float:
    """The mean over labels of (recall of present + recall of absent) / 2, known as mA.

    A label without a present (or absent) image has a recall of 0 for that half.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        Li, Zhang, Chen, Huang, "A Richly Annotated Dataset for Pedestrian Attribute Recognition",
        arXiv:1603.07054.
    """
    said, targets = check_decided(decided, targets)
    present, absent = targets == PRESENT, targets == ABSENT
    of_present = _share((said & present).sum(axis=0), present.sum(axis=0))
    of_absent = _share((~said & absent).sum(axis=0), absent.sum(axis=0))
    return mean_or_nan((of_present + of_absent) / 2)


@final
@dataclass(frozen=True, slots=True)
class InstanceMeasures:
    """Means over images of what is decided for each, in fractions 0..1; NaN without an image.

    Args:
        accuracy: Labels decided and present, of those decided or present.
        precision: Labels decided and present, of those decided.
        recall: Labels decided and present, of those present.
        F1: The harmonic mean of `precision` and `recall`, not a mean of the images' F1.
    """

    accuracy: float
    precision: float
    recall: float
    F1: float


def instance_measures(decided: ArrayLike, targets: ArrayLike) -> InstanceMeasures:
    """Accuracy, precision, recall and F1 by image; images without a known target are left out.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        As `mean_accuracy`.
    """
    said, targets = check_decided(decided, targets)
    known = targets != UNKNOWN
    images = known.any(axis=1)
    said, present = (said & known)[images], (targets == PRESENT)[images]
    right = (said & present).sum(axis=1)
    precision = mean_or_nan(_share(right, said.sum(axis=1)))
    recall = mean_or_nan(_share(right, present.sum(axis=1)))
    total = precision + recall
    return InstanceMeasures(
        accuracy=mean_or_nan(_share(right, (said | present).sum(axis=1))),
        precision=precision,
        recall=recall,
        F1=2 * precision * recall / total if total else 0.0,
    )


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return part / np.maximum(whole, 1)
