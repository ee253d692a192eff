"""Reasons for the gaps between profiles: those that bear on the predictions, and no others."""

import numpy as np
import pytest

from manylabel.evaluate.compare.profile_differences import SAME, has_ties, side_by_side
from manylabel.labels import LabelSpace
from manylabel.metrics import PROFILES, measure

LABELS = LabelSpace(["cat", "dog", "owl", "cow"])


def sides(scores, targets, **settings):
    return side_by_side(np.array(scores), np.array(targets, dtype=np.int8), LABELS, **settings)


@pytest.fixture
def plain():
    """No ties, no unknown target, no label that is empty, silent or never right."""
    random = np.random.default_rng(3)
    targets = (random.random((60, 4)) < 0.4).astype(np.int8)
    order = np.argsort(np.argsort(targets + random.normal(0, 0.7, (60, 4)), axis=0), axis=0)
    return (order + 0.5) / 60, targets


def test_every_profile_is_compared_with_the_reference(plain):
    found = sides(*plain, reference="srn")
    assert next(iter(found)) == "srn"
    assert set(found) == set(PROFILES)
    assert found["srn"].reason == ""
    for name, side in found.items():
        expected = measure(*plain, LABELS, profile=name).as_dict()
        given = side.as_dict()
        np.testing.assert_equal(
            [given["mAP"], given["CF1"]],
            [np.nan if expected[key] is None else expected[key] for key in ("mAP", "CF1")],
        )


def test_plain_predictions_differ_by_formulas_alone(plain):
    found = sides(*plain)
    assert found["srn"].reason == (
        "AP interpolated at all points; CF1 is the mean of the labels' F1; "
        "top-3 takes at most three labels an image, each one decided"
    )
    assert found["sklearn"].reason == "CF1 is the mean of the labels' F1; no top-3 figures"
    assert found["paddle"].reason == "no precision, recall or F1"
    assert found["voc07"].reason == "AP interpolated at 11 recalls; no precision, recall or F1"


def test_figures_that_are_the_same_need_no_reason(plain):
    assert sides(*plain, reference="sklearn")["torchmetrics"].reason == SAME


@pytest.mark.parametrize(
    ("change", "profile", "reason"),
    [
        ("tie", "ml-gcn", "ties in the order of the data set"),
        ("empty", "mmpretrain", "labels without a positive count as AP 0 in mAP"),
        ("empty", "srn", "mAP has no value if a label has no positive"),
        ("unknown", "asl", "unknown targets count as absent in AP"),
        ("unknown", "srn", "unknown targets count as absent in F1"),
        ("silent", "srn", "precision is 1 where nothing is predicted"),
        ("nothing", "asl", "OP has no value where nothing is predicted"),
        ("nothing", "asl", "CF1 or OF1 of two zeros has no value"),
    ],
)
def test_a_reason_is_given_if_its_cause_is_in_the_data(plain, change, profile, reason):
    scores, targets = plain[0].copy(), plain[1].copy()
    assert reason not in sides(scores, targets)[profile].reason
    match change:
        case "tie":
            scores[:, 0] = np.round(scores[:, 0], 1)
        case "empty":
            targets[:, 1] = 0
        case "unknown":
            targets[scores.argmax(axis=0), np.arange(4)] = -1
        case "silent":
            scores[:, 2] /= 3
        case "nothing":
            scores /= 3
    assert reason in sides(scores, targets)[profile].reason


def test_a_threshold_for_all_is_no_reason(plain):
    own = sides(*plain)["asl"].reason
    assert "decided where score > 0.8" in own
    assert "decided" not in sides(*plain, threshold=0.6)["asl"].reason
    scores = plain[0].copy()
    scores[scores > 0.5] = 0.6
    assert "decided where score > 0.6" in sides(scores, plain[1], threshold=0.6)["asl"].reason


def test_ties_are_those_of_one_label():
    assert not has_ties(np.array([[0.1, 0.2], [0.2, 0.1]]))
    assert has_ties(np.array([[0.1, 0.2], [0.3, 0.2]]))
    assert not has_ties(np.array([[0.1, 0.1]]))
