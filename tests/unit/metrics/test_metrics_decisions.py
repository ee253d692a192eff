from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from manylabel.errors import ConfigError, DataError
from manylabel.metrics import (
    decide_above_threshold,
    decide_at_threshold,
    decide_top_k,
    decide_top_k_above,
    precision_recall_f1,
    precision_recall_f1_srn,
)

BOTH = [precision_recall_f1, precision_recall_f1_srn]


def draw(seed: int, images: int = 300, labels: int = 9):
    rng = np.random.default_rng(seed)
    targets = (rng.random((images, labels)) < 0.25).astype(np.int8)
    decided = rng.random((images, labels)) < 0.1 + 0.6 * targets
    return decided, targets


def srn_by_loop(decided, targets):
    """SRN's formulas, label by label: CP, CR, CF1 and the pooled three."""
    eps = 2.0**-52

    def three(said, has):
        right = sum(bool(s and h) for s, h in zip(said, has, strict=True)) + eps
        p, r = right / (sum(said) + eps), right / (sum(has) + eps)
        return p, r, 2 * p * r / (p + r)

    has = targets == 1
    each = [three(said, true) for said, true in zip(decided.T, has.T, strict=True)]
    return *np.mean(each, axis=0), *three(decided.ravel(), has.ravel())


def six(decisions):
    return list(decisions.as_dict().values())


@pytest.mark.parametrize("never", [False, True], ids=["all predicted", "one never predicted"])
def test_equals_scikit_learn(never):
    decided, targets = draw(0)
    if never:
        decided[:, 2] = False
    found = precision_recall_f1(decided, targets)
    settings = {"zero_division": 0}
    p, r, f, support = precision_recall_fscore_support(targets, decided, **settings)
    np.testing.assert_allclose(found.precision, p)
    np.testing.assert_allclose(found.recall, r)
    np.testing.assert_allclose(found.f1, f)
    np.testing.assert_array_equal(found.positives, support)
    macro = precision_recall_fscore_support(targets, decided, average="macro", **settings)
    micro = precision_recall_fscore_support(targets, decided, average="micro", **settings)
    cf1 = 2 * macro[0] * macro[1] / (macro[0] + macro[1])
    assert six(found) == pytest.approx([macro[0], macro[1], cf1, *micro[:3]])
    assert abs(cf1 - macro[2]) > 1e-4  # the two CF1 do differ here


@pytest.mark.parametrize("hidden", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, 1])
def test_srn_equals_the_slow_transcription(seed, hidden):
    decided, targets = draw(seed)
    decided[:, 2] = False
    targets[:, 3] = 0
    targets[np.random.default_rng(seed).random(targets.shape) < hidden] = -1
    found = precision_recall_f1_srn(decided, targets)
    assert six(found) == pytest.approx(srn_by_loop(decided, targets), abs=1e-12)


def test_srn_mean_of_labels_f1_equals_scikit_learn():
    decided, targets = draw(2)
    macro = precision_recall_fscore_support(targets, decided, average="macro")
    assert pytest.approx(macro[2]) == precision_recall_f1_srn(decided, targets).CF1


@pytest.mark.parametrize("function", BOTH)
def test_two_right_of_two_is_one(function):
    found = function(np.array([[True, True]]), np.array([[1, 1]]))
    assert six(found) == pytest.approx([1.0] * 6)


def test_by_hand():
    # Label 0: 1 right of 2 decided, 1 positive. Label 1: 1 right of 1 decided, 2 positives.
    decided = np.array([[True, True], [True, False], [False, False]])
    targets = np.array([[1, 1], [0, 1], [0, 0]])
    found = precision_recall_f1(decided, targets)
    assert six(found) == pytest.approx([3 / 4, 3 / 4, 3 / 4, 2 / 3, 2 / 3, 2 / 3])
    assert pytest.approx(2 / 3) == precision_recall_f1_srn(decided, targets).CF1
    assert found.right.tolist() == [1, 1]
    assert found.predicted.tolist() == [2, 1]
    assert found.positives.tolist() == [1, 2]


def test_a_label_never_predicted_has_precision_0_or_1():
    decided, targets = np.array([[True, False]]), np.array([[1, 1]])
    assert precision_recall_f1(decided, targets).precision.tolist() == [1, 0]
    assert precision_recall_f1_srn(decided, targets).precision.tolist() == [1, 1]


def test_a_label_without_positives_leaves_the_means_but_its_errors_count_in_op():
    decided, targets = np.array([[True, True]]), np.array([[1, 0]])
    found = precision_recall_f1(decided, targets)
    np.testing.assert_array_equal(found.precision, [1, np.nan])
    np.testing.assert_array_equal(found.recall, [1, np.nan])
    np.testing.assert_array_equal(found.f1, [1, np.nan])
    assert six(found) == pytest.approx([1, 1, 1, 1 / 2, 1, 2 / 3])
    srn = precision_recall_f1_srn(decided, targets)
    assert pytest.approx(1 / 2) == srn.CP
    assert pytest.approx(1) == srn.CR


def test_unknown_counts_nowhere_or_as_absent():
    decided, targets = np.array([[True], [True]]), np.array([[1], [-1]])
    assert precision_recall_f1(decided, targets).OP == 1
    assert pytest.approx(1 / 2) == precision_recall_f1_srn(decided, targets).OP


@pytest.mark.parametrize("images", [0, 3])
@pytest.mark.parametrize("target", [0, -1])
def test_no_positive_at_all_is_nan_without_a_warning(images, target):
    table = np.full((images, 2), target)
    found = precision_recall_f1(np.zeros((images, 2), dtype=bool), table)
    np.testing.assert_array_equal(six(found), [np.nan, np.nan, np.nan, 0, np.nan, np.nan])


def test_nothing_right_is_zero_without_a_warning():
    found = precision_recall_f1(np.array([[False, True]]), np.array([[1, 0]]))
    assert six(found) == [0.0] * 6


@pytest.mark.parametrize("function", BOTH)
def test_decisions_must_be_boolean(function):
    with pytest.raises(DataError, match="float64, not boolean"):
        function(np.array([[0.7, 0.2]]), np.array([[1, 0]]))


@pytest.mark.parametrize("function", BOTH)
def test_shapes_must_agree(function):
    with pytest.raises(DataError, match=r"decisions have the shape \[1, 2\], the targets \[2, 2\]"):
        function(np.array([[True, False]]), np.zeros((2, 2)))


def test_a_score_at_the_threshold_is_where_the_two_differ():
    scores = np.array([[0.4, 0.5, 0.6]])
    assert decide_at_threshold(scores, 0.5).tolist() == [[False, True, True]]
    assert decide_above_threshold(scores, 0.5).tolist() == [[False, False, True]]


def test_one_threshold_a_label():
    scores = np.array([[0.4, 0.5], [0.2, 0.9]])
    assert decide_at_threshold(scores, [0.3, 0.6]).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("thresholds", [0.7, [0.7, 0.7], np.array([0.7, 0.7])])
def test_a_float32_score_reaches_the_threshold_it_was_read_from(thresholds):
    scores = np.array([[0.7, 0.7]], dtype=np.float32)
    assert decide_at_threshold(scores, thresholds).all()
    assert not decide_above_threshold(scores, thresholds).any()


@pytest.mark.parametrize("decide", [decide_at_threshold, decide_above_threshold])
@pytest.mark.parametrize(
    ("thresholds", "what"),
    [
        ([0.5, 0.5, 0.5], r"shape \[3\] do not fit 2 labels"),
        ([[0.5, 0.5]], r"shape \[1, 2\] do not fit 2 labels"),
        (1.5, "must be in 0..1"),
        ([0.5, -0.1], "must be in 0..1"),
        (float("nan"), "must be in 0..1"),
    ],
)
def test_thresholds_are_checked(decide, thresholds, what):
    with pytest.raises(ConfigError, match=what):
        decide(np.array([[0.2, 0.9]]), thresholds)


def test_top_k_is_exactly_k():
    scores = np.array([[0.1, 0.9, 0.3, 0.8, 0.2], [0.05, 0.04, 0.03, 0.02, 0.01]])
    assert decide_top_k(scores, 3).tolist() == [
        [False, True, True, True, False],
        [True, True, True, False, False],
    ]


def test_top_k_of_equal_scores_takes_the_first_labels():
    decided = decide_top_k(np.array([[0.5, 0.7, 0.5, 0.5, 0.5]]), 3)
    assert decided.tolist() == [[True, True, True, False, False]]


def test_top_k_of_fewer_labels_takes_all():
    assert decide_top_k(np.array([[0.5, 0.1]]), 3).tolist() == [[True, True]]


def test_top_k_above_takes_at_most_k_over_the_threshold():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.9, 0.5, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4]])
    assert decide_top_k_above(scores, 3, 0.5).tolist() == [
        [True, True, True, False],
        [True, False, False, False],
        [False, False, False, False],
    ]


def test_top_k_agrees_with_a_loop():
    scores = np.random.default_rng(0).random((50, 10)).round(1)
    expected = [
        [label in sorted(range(10), key=lambda i, row=row: (-row[i], i))[:4] for label in range(10)]
        for row in scores
    ]
    assert decide_top_k(scores, 4).tolist() == expected
