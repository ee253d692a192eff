"""The audit's statistics against scikit-learn, SciPy and slow versions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from manylabel.explain.audit.statistics import (
    adjusted,
    ap_at_prevalence,
    auc,
    drawn,
    mean_p,
    rank_sum_p,
)


def samples(seed: int, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    high, low = random.normal(0.5, 1, 30), random.normal(0, 1, 50)
    return (high.round(1), low.round(1)) if ties else (high, low)


def single(*parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.ones((1, len(part)), np.int64) for part in parts)
    return first, second


@pytest.mark.parametrize("seed", range(4))
def test_ap_at_the_own_prevalence_is_average_precision(seed):
    high, low = samples(seed)
    scores, truth = np.concatenate([high, low]), np.repeat([1, 0], [30, 50])
    found = ap_at_prevalence(high, low, single(high, low), 30 / 80)
    assert found[0] == pytest.approx(average_precision_score(truth, scores))


@pytest.mark.parametrize("seed", range(4))
def test_ap_at_another_prevalence_weights_the_negatives(seed):
    high, low = samples(seed)
    scores, truth = np.concatenate([high, low]), np.repeat([1, 0], [30, 50])
    weights = np.where(truth == 1, 1 / 30, 1 / 50) * np.where(truth == 1, 0.1, 0.9)
    found = ap_at_prevalence(high, low, single(high, low), 0.1)
    expected = average_precision_score(truth, scores, sample_weight=weights)
    assert found[0] == pytest.approx(expected)


def test_ap_of_draws_is_that_of_the_repeated_images():
    high, low = samples(0)
    random = np.random.default_rng(0)
    weights = drawn(random, 30, 5), drawn(random, 50, 5)
    found = ap_at_prevalence(high, low, weights, 0.3)
    for row, value in enumerate(found):
        one, other = np.repeat(high, weights[0][row]), np.repeat(low, weights[1][row])
        assert value == pytest.approx(ap_at_prevalence(one, other, single(one, other), 0.3)[0])


def test_auc_is_scikit_learns_also_with_ties_and_draws():
    high, low = samples(1)
    truth = np.repeat([1, 0], [30, 50])
    assert auc(high, low, single(high, low))[0] == pytest.approx(
        roc_auc_score(truth, np.concatenate([high, low]))
    )
    random = np.random.default_rng(0)
    weights = drawn(random, 30, 4), drawn(random, 50, 4)
    for row, value in enumerate(auc(high, low, weights)):
        both = np.concatenate([np.repeat(high, weights[0][row]), np.repeat(low, weights[1][row])])
        assert value == pytest.approx(roc_auc_score(truth, both))


def test_draws_take_each_image_equally_often():
    weights = drawn(np.random.default_rng(0), 10, 5000)
    assert weights.shape == (5000, 10)
    assert (weights.sum(1) == 10).all()
    assert np.abs(weights.mean(0) - 1).max() < 0.06  # four standard errors
    assert abs(weights.var() - 0.9) < 0.05  # binomial: 10 tries of 1/10


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [True, False])
def test_the_rank_sum_test_is_scipys(seed, ties):
    high, low = samples(seed, ties)
    expected = stats.mannwhitneyu(high, low, method="asymptotic", use_continuity=False).pvalue
    assert rank_sum_p(high, low) == pytest.approx(expected)


def test_equal_scores_do_not_differ():
    assert rank_sum_p([1.0, 1.0, 1.0], [1.0, 1.0]) == 1


@pytest.mark.parametrize(
    ("size", "shift"), [(2, 1.0), (3, 0.0), (20, 0.3), (100, 2.0), (2000, 0.2)]
)
def test_the_t_test_is_scipys_also_far_in_the_tail(size, shift):
    values = np.random.default_rng(size).normal(shift, 1, size)
    assert mean_p(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-6)


def test_values_without_spread():
    assert (mean_p([0.0, 0.0]), mean_p([0.5, 0.5]), mean_p([0.5])) == (1, 0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_the_correction_for_many_tests_is_scipys(seed):
    p_values = np.random.default_rng(seed).uniform(0, 0.2, 20).round(2)
    np.testing.assert_allclose(adjusted(p_values), stats.false_discovery_control(p_values))


def test_what_is_no_test_does_not_count():
    found = adjusted([0.01, float("nan"), 0.04])
    assert found[[0, 2]].tolist() == [0.02, 0.04]
    assert np.isnan(found[1])
    assert adjusted([]).tolist() == []
