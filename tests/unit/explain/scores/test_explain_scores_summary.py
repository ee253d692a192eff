"""Means, differences and intervals: by hand, against resampling images one by one, and covering."""

from __future__ import annotations

import math

import numpy as np
import pytest

from manylabel.explain.scores.pairs import PairTable
from manylabel.explain.scores.summary import MIN_PAIRS, Resampling, summarise
from manylabel.labels import LabelSpace

LABELS = LabelSpace(["cat", "dog", "owl"])
METHODS = ("attention", "centre", "chance")


def table(images, labels, values, measure="pointing") -> PairTable:
    return PairTable(np.array(images), np.array(labels), {measure: np.array(values)}, METHODS)


def test_means_by_hand():
    # Two labels: ten pairs of cat and one of owl; no dog.
    values = [[1, 0, 0.5]] * 6 + [[0, 1, 0.5]] * 4 + [[1, 1, 0.1]]
    found = summarise(table(range(11), [0] * 10 + [2], values), LABELS, Resampling(draws=200))
    one = found["pointing"]["attention"]
    assert one.all_pairs.value == pytest.approx(7 / 11)
    assert one.over["centre"].value == pytest.approx(2 / 11)
    assert list(one.labels) == ["cat", "owl"]
    assert one.labels["cat"].pairs == MIN_PAIRS
    assert one.labels["cat"].found.value == pytest.approx(0.6)
    assert one.labels["cat"].over["centre"].value == pytest.approx(0.2)
    assert one.labels["cat"].sign == "="
    # One pair is not compared, and no part of the mean of labels.
    assert (one.labels["owl"].pairs, one.labels["owl"].sign) == (1, None)
    assert one.mean_of_labels.value == pytest.approx(0.6)
    assert found["pointing"]["chance"].all_pairs.value == pytest.approx((5 + 0.1) / 11)
    centre = found["pointing"]["centre"]
    assert centre.over["centre"].as_dict() == {"value": 0, "low": 0, "high": 0}
    assert (centre.sign, centre.labels["cat"].sign) == (None, None)


def test_no_label_with_enough_pairs_has_no_mean_of_labels():
    found = summarise(table([0, 1], [0, 1], [[1, 0, 0]] * 2), LABELS, Resampling(draws=100))
    one = found["pointing"]["attention"]
    assert math.isnan(one.mean_of_labels.value)
    assert one.sign is None  # two pairs are too few, also in total
    assert one.as_dict()["mean_of_labels"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("measure", "sign"), [("pointing", "+"), ("insertion", "+"), ("deletion", "-")]
)
def test_the_sign_says_better_also_where_lower_is_better(measure, sign):
    values = np.tile([[0.9, 0.2, 0.5], [0.8, 0.3, 0.5]], (10, 1))
    one = summarise(table(range(20), [0] * 20, values, measure), LABELS, Resampling(draws=200))
    found = one[measure]["attention"]
    assert (found.sign, found.labels["cat"].sign, found.count(sign)) == (sign, sign, 1)
    assert abs(found.over["centre"].value) == pytest.approx(0.6)
    assert abs(found.over["chance"].value) == pytest.approx(0.35)
    assert (found.over["centre"].value > 0) == (sign == "+")


@pytest.mark.parametrize(
    ("own", "sign"), [(0.9, "+"), (0.5, "-"), (0.1, "-"), (0.7, "="), (0.2, "-")]
)
def test_a_method_must_beat_the_centre_and_chance(own, sign):
    values = [[own + noise, 0.2, 0.7] for noise in (-0.05, 0.05) * 10]
    found = summarise(table(range(20), [0] * 20, values), LABELS, Resampling(draws=200))
    assert found["pointing"]["attention"].sign == sign


def test_whole_images_are_drawn():
    """The draws equal those of a loop that repeats all pairs of each drawn image."""
    rng = np.random.default_rng(3)
    images = np.repeat(np.arange(15) * 7, 3)[rng.permutation(45)[:30]]
    labels, values = rng.integers(0, 3, 30), rng.random((30, 3))
    found = summarise(table(images, labels, values), LABELS, Resampling(draws=300, seed=5))
    there = np.unique(images)
    means, cats, lifts = [], [], []
    random = np.random.default_rng(5)
    for _ in range(300):
        drawn = there[random.integers(0, len(there), len(there))]
        rows = [row for image in drawn for row in np.flatnonzero(images == image)]
        means.append(values[rows, 0].mean())
        lifts.append((values[rows, 0] - values[rows, 1]).mean())
        own = [row for row in rows if labels[row] == 0]
        cats.append(values[own, 0].mean())
    one = found["pointing"]["attention"]
    for interval, draws in (
        (one.all_pairs, means),
        (one.over["centre"], lifts),
        (one.labels["cat"].found, cats),
    ):
        expected = np.quantile(draws, (0.025, 0.975))
        assert [interval.low, interval.high] == pytest.approx(expected)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Pairs of one image agree, so intervals that resampled pairs would be far too narrow."""
    rng = np.random.default_rng(0)
    covered = narrow = 0
    for seed in range(200):
        of_images = rng.random(60) < 0.6  # all 5 pairs of an image are hits, or none is
        values = np.repeat(of_images, 5)[:, None] * np.ones(3)
        images = np.repeat(np.arange(60), 5)
        one = summarise(table(images, [0] * 300, values), LABELS, Resampling(200, seed))
        interval = one["pointing"]["attention"].all_pairs
        covered += interval.low <= 0.6 <= interval.high
        narrow += abs(interval.value - 0.6) < 1.96 * math.sqrt(0.24 / 300)
    assert 0.89 <= covered / 200 <= 0.99
    assert narrow / 200 < 0.8
