"""A way must beat the floor by more than chance."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from manylabel.train.auto.compare import compare

RANDOM = np.random.default_rng(5)


def scores(targets, skill, seed):
    noise = np.random.default_rng(seed).normal(size=targets.shape)
    return (1 / (1 + np.exp(-(skill * targets + noise)))).astype(np.float32)


@pytest.fixture
def targets():
    return (RANDOM.random((200, 6)) < 0.3).astype(np.int8)


def test_a_much_better_way_is_taken_and_its_figures_are_those_of_scikit_learn(targets):
    found = {"linear": scores(targets, 1, 0), "other": scores(targets, 3, 1)}
    best, compared = compare(found, targets)
    assert best == "other"
    assert compared["other"].better > 0.99
    for name, each in found.items():
        wanted = average_precision_score(targets, each, average="macro")
        assert compared[name].mAP == pytest.approx(wanted)
    assert compared["other"].gain == pytest.approx(compared["other"].mAP - compared["linear"].mAP)


def test_the_same_scores_are_never_better(targets):
    same = scores(targets, 1, 0)
    best, compared = compare({"linear": same, "other": same.copy()}, targets)
    assert (best, compared["other"].better) == ("linear", 0.0)


def test_of_ways_without_more_skill_the_floor_mostly_stays(targets):
    taken = [
        compare({"linear": scores(targets, 1, 0), "other": scores(targets, 1, seed)}, targets)[0]
        for seed in range(1, 21)
    ]
    assert taken.count("linear") >= 10


def test_among_surely_better_ways_the_highest_is_taken_whatever_their_order(targets):
    ways = {
        "linear": scores(targets, 1, 0),
        "best": scores(targets, 4, 1),
        "good": scores(targets, 3, 2),
    }
    assert compare(ways, targets)[0] == "best"


def test_without_a_positive_the_floor_stays():
    targets = np.zeros((10, 2), np.int8)
    ways = {"linear": np.full((10, 2), 0.5, np.float32), "other": np.full((10, 2), 0.4, np.float32)}
    best, compared = compare(ways, targets)
    assert best == "linear"
    assert compared["other"].as_dict() == {"val_mAP": None, "gain": None, "better": None}


def test_few_images_do_not_make_a_small_gain_sure():
    """Five images: by hand, the other way is better in one label by one swap."""
    targets = np.array([[1], [0], [1], [0], [0]], np.int8)
    floor = np.array([[0.9], [0.8], [0.7], [0.2], [0.1]], np.float32)
    other = np.array([[0.9], [0.7], [0.8], [0.2], [0.1]], np.float32)
    best, compared = compare({"linear": floor, "other": other}, targets)
    assert compared["other"].mAP == 1.0
    assert (best, compared["other"].better < 0.8) == ("linear", True)
