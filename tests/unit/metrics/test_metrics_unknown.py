"""What a classifier says where the truth is unknown changes no figure, or only as documented."""

from __future__ import annotations

import numpy as np
import pytest
from cases import case

from manylabel.labels import LabelSpace
from manylabel.metrics import PROFILES, measure

LABELS = LabelSpace([f"label {i}" for i in range(6)])
FIGURES = ("CP", "CR", "CF1", "OP", "OR", "OF1")

SEEDS = range(5)


def draw(seed):
    """Scores, targets with about a third unknown, and the same scores but for the unknown."""
    rng = np.random.default_rng(seed)
    scores = rng.random((60, len(LABELS)))
    targets = rng.integers(-1, 2, scores.shape).astype(np.int8)
    changed = np.where(targets == -1, rng.choice([0.0, 0.2, 0.9, 1.0], scores.shape), scores)
    assert (changed != scores).sum() > 100
    return scores, targets, changed


def test_no_figure_sees_unknown_targets():
    """Under manylabel's own profile: every figure of a report, those of single labels included."""
    for seed in SEEDS:
        scores, targets, changed = draw(seed)
        before, after = (measure(s, targets, LABELS).as_dict() for s in (scores, changed))
        with case(seed=seed):
            assert before == after
            assert before["num_unknown"] == (targets == -1).sum()


@pytest.mark.parametrize(
    "profile", [name for name, each in PROFILES.items() if each.ap.unknown == "left out"]
)
def test_ap_does_not_see_them_in_any_profile_that_leaves_them_out(profile):
    for seed in SEEDS:
        scores, targets, changed = draw(seed)
        before, after = (measure(s, targets, LABELS, profile=profile) for s in (scores, changed))
        with case(seed=seed):
            assert before.mAP == after.mAP
            assert [row.AP for row in before.per_label] == [row.AP for row in after.per_label]


@pytest.mark.parametrize("seed", SEEDS)
def test_srns_profile_takes_unknown_as_absent_in_precision_recall_and_f1(seed):
    """Its documented rule: those figures are exactly those of the same targets with 0 for -1."""
    scores, targets, changed = draw(seed)
    as_absent = np.maximum(targets, 0)
    for given in (scores, changed):
        found = measure(given, targets, LABELS, profile="srn")
        wanted = measure(given, as_absent, LABELS, profile="srn")
        for figure in FIGURES:
            assert getattr(found.all, figure) == getattr(wanted.all, figure)
            assert getattr(found.top3, figure) == getattr(wanted.top3, figure)
    precisions = {measure(s, targets, LABELS, profile="srn").all.OP for s in (scores, changed)}
    assert len(precisions) == 2, "so what is said of unknown ones does count there"
