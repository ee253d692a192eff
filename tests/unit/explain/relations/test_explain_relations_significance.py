"""The tests of many pairs, beside scipy and beside all possible draws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cases import case
from scipy import stats

from manylabel.explain.relations.significance import (
    Changes,
    benjamini_hochberg,
    fisher,
    sign_flips,
    sign_flips_each,
    sign_test,
)


def test_fisher_is_scipys():
    random = np.random.default_rng(0)
    for _ in range(200):
        total = int(random.integers(1, 60))
        first, second = random.integers(0, total + 1, 2)
        both = int(random.integers(max(0, first + second - total), min(first, second) + 1))
        table = [[both, first - both], [second - both, total - first - second + both]]
        with case(table=table):
            found = fisher(*(np.array([each]) for each in (both, first, second, total)))
            assert found[0] == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6)


def test_fisher_of_many_images_is_scipys():
    table = [[300, 700], [2000, 97000]]
    found = fisher(*(np.array([each]) for each in (300, 1000, 2300, 100_000)))
    assert found[0] == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6)


def test_benjamini_hochberg_is_scipys_and_leaves_nans_alone():
    random = np.random.default_rng(1)
    p = random.random((4, 5)) ** 3
    expected = stats.false_discovery_control(p.ravel())
    np.testing.assert_allclose(benjamini_hochberg(p).ravel(), expected)
    holed = np.append(p.ravel(), np.nan)
    np.testing.assert_allclose(benjamini_hochberg(holed)[:-1], benjamini_hochberg(p).ravel())
    assert np.isnan(benjamini_hochberg(holed)[-1])
    assert benjamini_hochberg(np.array([])).size == 0


def test_the_sign_test_is_scipys():
    for first, second in product(range(6), range(6)):
        with case(first=first, second=second):
            expected = stats.binomtest(first, first + second).pvalue if first + second else 1
            assert sign_test(first, second) == pytest.approx(expected)


def t(values):
    return abs(values.mean()) / (values.std(ddof=0) / np.sqrt(len(values) - 1))


def test_turning_signs_is_counting_all_signs():
    """With 10 images all 1,024 signs can be tried; the largest of both columns counts."""
    random = np.random.default_rng(2)
    values = random.normal([0.5, 0.1], 1, (10, 2)).astype(np.float32)
    largest = [
        max(t(values[:, i] * np.array(signs)) for i in range(2))
        for signs in product([-1, 1], repeat=10)
    ]
    found = sign_flips([Changes(np.arange(10), values)], least=2, draws=20_000)[0]
    for i in range(2):
        expected = np.mean(np.array(largest) >= t(values[:, i]) - 1e-6)
        assert found[i] == pytest.approx(expected, abs=0.012)


def test_turning_signs_of_single_lists_is_counting_all_signs():
    values = np.random.default_rng(3).normal(0.4, 1, 11).astype(np.float32)
    sums = np.array([abs(np.dot(signs, values)) for signs in product([-1, 1], repeat=11)])
    found = sign_flips_each([values, values[:3]], least=4, draws=40_000)
    assert found[0] == pytest.approx(np.mean(sums >= abs(values.sum()) - 1e-6), abs=0.01)
    assert np.isnan(found[1])


def test_among_pairs_without_an_effect_a_false_one_is_rare():
    """Forty pairs at once, 60 times: any false discovery in about 5 % of them."""
    false = 0
    for seed in range(60):
        values = np.random.default_rng(seed).normal(0, 1, (40, 40)).astype(np.float32)
        p = sign_flips([Changes(np.arange(40), values)], least=2, draws=199, seed=seed)
        false += (p < 0.05).any()
    assert false <= 8  # more in one of 100 seeds, if 5 % are right; without correction nearly all


def test_a_small_effect_in_many_images_is_found():
    values = np.random.default_rng(4).normal([0.3, 0], 1, (400, 2)).astype(np.float32)
    p = sign_flips([Changes(np.arange(400), values)], least=2)[0]
    assert p[0] <= 0.001
    assert p[1] > 0.05


def test_changes_that_are_all_the_same_are_found_and_zeros_are_not():
    values = np.repeat(np.array([[2.0, 0.0]], dtype=np.float32), 30, axis=0)
    p = sign_flips([Changes(np.arange(30), values)], least=2)[0]
    assert p[0] == pytest.approx(0.001)
    assert p[1] == 1
