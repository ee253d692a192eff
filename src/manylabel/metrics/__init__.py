"""Metrics of multi-label classification on NumPy arrays, with the definition of each.

`measure` computes all metrics of a data set under a named profile. The functions that the profiles
use can also be called alone.
"""

from __future__ import annotations

from manylabel.metrics.accumulate import ScoreTable
from manylabel.metrics.decisions import (
    DecideRule,
    decide_above_threshold,
    decide_at_threshold,
    decide_top_k,
    decide_top_k_above,
    precision_recall_f1,
    precision_recall_f1_srn,
)
from manylabel.metrics.definitions import PROFILES, Profile
from manylabel.metrics.f1 import Decisions, F1Rule, decisions_by
from manylabel.metrics.profiles import (
    LabelMeasures,
    Measures,
    compare_profiles,
    explain_gap,
    find_profile,
    measure,
)
from manylabel.metrics.ranking import (
    APRule,
    average_precision,
    average_precision_by,
    average_precision_interpolated,
)

__all__ = [
    "PROFILES",
    "APRule",
    "DecideRule",
    "Decisions",
    "F1Rule",
    "LabelMeasures",
    "Measures",
    "Profile",
    "ScoreTable",
    "average_precision",
    "average_precision_by",
    "average_precision_interpolated",
    "compare_profiles",
    "decide_above_threshold",
    "decide_at_threshold",
    "decide_top_k",
    "decide_top_k_above",
    "decisions_by",
    "explain_gap",
    "find_profile",
    "measure",
    "precision_recall_f1",
    "precision_recall_f1_srn",
]
