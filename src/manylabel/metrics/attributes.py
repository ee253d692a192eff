"""The metrics that papers on attributes of people use: mA, and means over images.

Unknown targets are ignored. A division by 0 gives 0, as in the code of these papers.
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

    If a label has no present image, its recall of present is 0; likewise for absent.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        Li, Zhang, Chen, Huang, "A Richly Annotated Dataset for Pedestrian Attribute Recognition",
        arXiv:1603.07054.
    """
    decided, targets = check_decided(decided, targets)
    present, absent = targets == PRESENT, targets == ABSENT
    present_recall = _share((decided & present).sum(axis=0), present.sum(axis=0))
    absent_recall = _share((~decided & absent).sum(axis=0), absent.sum(axis=0))
    return mean_or_nan((present_recall + absent_recall) / 2)


@final
@dataclass(frozen=True, slots=True)
class InstanceMeasures:
    """Metrics of each image's decisions, averaged over images: fractions 0..1; NaN without images.

    Args:
        accuracy: Labels both predicted and present, divided by labels predicted or present.
        precision: Labels both predicted and present, divided by labels predicted.
        recall: Labels both predicted and present, divided by labels present.
        F1: The harmonic mean of `precision` and `recall`, not the mean of the images' F1.
    """

    accuracy: float
    precision: float
    recall: float
    F1: float


def instance_measures(decided: ArrayLike, targets: ArrayLike) -> InstanceMeasures:
    """Accuracy, precision, recall and F1 per image; images without a known target are left out.

    Args:
        decided: Boolean [N, C].
        targets: [N, C] of 1, 0 and -1.

    Raises:
        DataError: Decisions or targets cannot be used.

    Source:
        The paper of `mean_accuracy`.
    """
    decisions, targets = check_decided(decided, targets)
    known = targets != UNKNOWN
    images = known.any(axis=1)
    predicted, present = (decisions & known)[images], (targets == PRESENT)[images]
    right = (predicted & present).sum(axis=1)
    precision = mean_or_nan(_share(right, predicted.sum(axis=1)))
    recall = mean_or_nan(_share(right, present.sum(axis=1)))
    total = precision + recall
    return InstanceMeasures(
        accuracy=mean_or_nan(_share(right, (predicted | present).sum(axis=1))),
        precision=precision,
        recall=recall,
        F1=2 * precision * recall / total if total else 0.0,
    )


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return part / np.maximum(whole, 1)
