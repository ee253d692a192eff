"""The bootstrap, against arrays in which images really stand as often as they were drawn."""

import numpy as np
import pytest

from manylabel.metrics import average_precision, decide_at_threshold, precision_recall_f1
from manylabel.metrics.bootstrap import (
    average_precision_draws,
    draw_weights,
    f1_draws,
    interval,
    mean_ap_draws,
)
from manylabel.metrics.ranking import mean_of_defined


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    scores = rng.random((60, 6)).round(1)  # many ties
    targets = rng.integers(-1, 2, (60, 6), dtype=np.int8)
    targets[:, 4] = 0
    targets[:, 5] = 0
    targets[3, 5] = 1  # in some draws without a positive
    return scores, targets, draw_weights(60, draws=40, seed=1)


def repeated(array, weights):
    return np.repeat(array, weights, axis=0)


def test_every_draw_takes_as_many_images_as_there_are(case):
    weights = case[2]
    assert weights.shape == (40, 60)
    assert (weights.sum(axis=1) == 60).all()
    assert len({row.tobytes() for row in weights}) == 40
    np.testing.assert_array_equal(weights, draw_weights(60, draws=40, seed=1))


def test_ap_is_that_of_the_repeated_images(case):
    scores, targets, weights = case
    found = average_precision_draws(scores, targets, weights)
    for row, taken in zip(found, weights, strict=True):
        expected = average_precision(repeated(scores, taken), repeated(targets, taken))
        np.testing.assert_allclose(row, expected, atol=1e-12)
    assert np.isnan(found[:, 5]).any()
    means = mean_ap_draws(found)
    np.testing.assert_allclose(means, [mean_of_defined(row) for row in found])


def test_parts_change_nothing(case, monkeypatch):
    whole = average_precision_draws(*case)
    monkeypatch.setattr("manylabel.metrics.bootstrap._AT_ONCE", 130)
    np.testing.assert_allclose(average_precision_draws(*case), whole, rtol=1e-12)


def test_f1_is_that_of_the_repeated_images(case):
    scores, targets, weights = case
    decided = decide_at_threshold(scores, 0.5)
    by_label, pooled = f1_draws(decided, targets, weights)
    for row, taken in enumerate(weights):
        expected = precision_recall_f1(repeated(decided, taken), repeated(targets, taken))
        assert by_label[row] == pytest.approx(expected.CF1, abs=1e-12)
        assert pooled[row] == pytest.approx(expected.OF1, abs=1e-12)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Of many samples of one population, 95 % of the intervals hold the population's AP."""
    rng = np.random.default_rng(5)
    present = rng.random(100_000) < 0.4
    population = np.where(present, 0.8, 0.0) + rng.normal(size=100_000)
    spread = (population - population.min()) / np.ptp(population)
    truth = average_precision(spread[:, None], present[:, None].astype(np.int8))[0]
    held = 0
    for trial in range(100):
        sample = rng.integers(0, 100_000, 300)
        scores, targets = spread[sample, None], present[sample, None].astype(np.int8)
        draws = average_precision_draws(scores, targets, draw_weights(300, draws=200, seed=trial))
        found = interval(average_precision(scores, targets)[0], draws[:, 0])
        held += found.low <= truth <= found.high
    assert 86 <= held <= 100


def test_what_is_not_defined_has_no_interval():
    found = interval(float("nan"), np.full(5, np.nan))
    assert all(np.isnan(value) for value in found.as_dict().values())
