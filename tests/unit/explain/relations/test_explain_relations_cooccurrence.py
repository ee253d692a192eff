"""Which labels occur together, beside loops and bootstrap draws."""

from __future__ import annotations

import numpy as np
import pytest

from manylabel.explain.relations.cooccurrence import together_in_data


def drawn(images: int = 400, seed: int = 0) -> np.ndarray:
    """The second label follows the first, the third never occurs with it, the last is free."""
    random = np.random.default_rng(seed)
    first = random.random(images) < 0.3
    second = np.where(first, random.random(images) < 0.6, random.random(images) < 0.1)
    third = ~first & (random.random(images) < 0.3)
    return np.stack([first, second, third, random.random(images) < 0.4], axis=1).astype(np.int8)


def test_counts_and_lift_are_those_of_a_loop():
    targets = drawn()
    targets[np.random.default_rng(1).random(targets.shape) < 0.1] = -1
    found = together_in_data(targets)
    for a in range(4):
        for b in range(4):
            known = [row for row in targets.tolist() if row[a] != -1 and row[b] != -1]
            both = sum(row[a] == row[b] == 1 for row in known)
            ones = [sum(row[i] == 1 for row in known) for i in (a, b)]
            assert found.images[a, b] == len(known)
            assert found.first[a, b] == ones[0]
            assert found.both[a, b] == both
            chance = ones[0] / len(known) * ones[1] / len(known)
            assert found.lift[a, b] == pytest.approx(both / len(known) / chance)


def test_phi_is_the_correlation():
    targets = drawn()
    np.testing.assert_allclose(together_in_data(targets).phi, np.corrcoef(targets.T), atol=1e-12)


def test_the_interval_is_that_of_bootstrap_draws():
    targets = drawn(images=2000)
    found = together_in_data(targets)
    random = np.random.default_rng(2)
    draws = []
    for _ in range(1000):
        rows = targets[random.integers(0, len(targets), len(targets))].astype(float)
        draws.append((rows.T @ rows) * len(rows) / np.outer(rows.sum(0), rows.sum(0)))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    for a, b in [(0, 1), (0, 3), (1, 3), (2, 3)]:
        assert found.low[a, b] == pytest.approx(low[a, b], rel=0.03)
        assert found.high[a, b] == pytest.approx(high[a, b], rel=0.03)


def test_planted_pairs_are_significant_and_the_free_label_is_not():
    p = together_in_data(drawn()).p
    assert p[0, 1] < 1e-6
    assert p[0, 2] < 1e-6
    assert (p[3, :3] > 0.05).all()
    np.testing.assert_array_equal(p, p.T)
    assert np.isnan(np.diag(p)).all()


def test_a_pair_that_is_never_seen_has_an_upper_end():
    """0 of 2,000 images where 45 are expected: at most 3.7 / 45 of chance."""
    targets = np.zeros((2000, 2), dtype=np.int8)
    targets[:300, 0] = targets[300:600, 1] = 1
    found = together_in_data(targets)
    assert (found.lift[0, 1], found.low[0, 1]) == (0, 0)
    assert found.high[0, 1] == pytest.approx(3.6889 / 45, rel=1e-4)
    assert found.p[0, 1] < 1e-10


def test_a_label_that_never_occurs_has_no_lift():
    targets = drawn()
    targets[:, 1] = 0
    found = together_in_data(targets)
    assert np.isnan(found.lift[1]).all()
    assert np.isnan(found.p[1]).all()
    assert np.isfinite(found.lift[0, 2])
