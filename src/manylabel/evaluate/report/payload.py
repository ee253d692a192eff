"""The numbers that the script of the page uses, as plain JSON.

The scores themselves are not in it: 80 labels x 5,000 images would be 4 MB.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manylabel.evaluate.report.content import Report, ScoredModel
from manylabel.evaluate.report.curves import points_for, threshold_curve
from manylabel.labels import PRESENT
from manylabel.metrics.reliability import Reliability, brier, reliability
from manylabel.text import visible

MOST_PLOTS: Final = 1000
"""If there are more labels, they have no reliability plots of their own."""


def payload(report: Report) -> dict[str, Any]:
    """The data of the script: labels, counts, curves and bins; None where not defined."""
    targets = report.truth.targets
    points = points_for(len(report.truth.labels) * len(report.models))
    return {
        "labels": [visible(name) for name in report.truth.labels],
        "positives": (targets == PRESENT).sum(axis=0).tolist(),
        "models": [_model(model, targets, points) for model in report.models],
        "differences": _differences(report),
    }


def _model(model: ScoredModel, targets: NDArray[np.int8], points: int) -> dict[str, Any]:
    bins = reliability(model.scores, targets)
    columns = zip(model.scores.T, targets.T, model.thresholds.tolist(), strict=True)
    each = len(bins.ece) <= MOST_PLOTS
    return {
        "AP": _short(row.AP for row in model.measures.per_label),
        "ECE": _short(bins.ece.tolist()),
        "Brier": _short(brier(model.scores, targets).tolist()),
        "curves": [threshold_curve(*column, points=points).as_list() for column in columns],
        "pooled": _bins(bins.pooled())[0],
        "bins": _bins(bins) if each else None,
    }


def _bins(bins: Reliability) -> list[list[list[float]]]:
    """The bins of each row that are not empty: mean score, frequency, count."""
    means, shares = bins.mean_score.round(5).tolist(), bins.frequency.round(5).tolist()
    rows = zip(means, shares, bins.count.tolist(), strict=True)
    return [[list(each) for each in zip(*row, strict=True) if each[2]] for row in rows]


def _differences(report: Report) -> list[list[float] | None] | None:
    """The difference in AP of each label, with both ends of its interval."""
    if report.comparison is None:
        return None
    by_name = {row.label: row.difference for row in report.comparison.labels}
    rows = (by_name.get(name) for name in report.truth.labels)
    return [
        None if row is None else [round(value, 5) for value in (row.value, row.low, row.high)]
        for row in rows
    ]


def _short(values: Any) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 5) for value in values]
