"""Metrics of multi-label classification on NumPy arrays: what is measured, and by which definition.

`measure` gives all figures of a data set under a named profile; the functions that the profiles
are made of can be used by themselves.
"""

from __future__ import annotations

from manylabel.metrics.accumulate import ScoreTable
from manylabel.metrics.decisions import (
    Decisions,
    decide_above_threshold,
    decide_at_threshold,
    decide_top_k,
    decide_top_k_above,
    precision_recall_f1,
    precision_recall_f1_srn,
)
from manylabel.metrics.profiles import (
    PROFILES,
    LabelMeasures,
    Measures,
    Profile,
    find_profile,
    measure,
)
from manylabel.metrics.ranking import average_precision, average_precision_interpolated

__all__ = [
    "PROFILES",
    "Decisions",
    "LabelMeasures",
    "Measures",
    "Profile",
    "ScoreTable",
    "average_precision",
    "average_precision_interpolated",
    "decide_above_threshold",
    "decide_at_threshold",
    "decide_top_k",
    "decide_top_k_above",
    "find_profile",
    "measure",
    "precision_recall_f1",
    "precision_recall_f1_srn",
]
