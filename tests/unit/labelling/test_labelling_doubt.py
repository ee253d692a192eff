"""The order of photographs to check, by hand and against a slow version."""

import math

import numpy as np
import pytest

from manylabel.labelling.doubt import WORST, Doubts, doubt


def test_a_doubt_is_that_of_the_distance_in_logits():
    found = doubt([[0.5, 0.8, 0.2, 0.9]], [0.5, 0.5, 0.5, 0.9])
    # logit(0.8) = ln 4, so the doubt is 1 / (1 + 4)
    np.testing.assert_allclose(found, [[0.5, 0.2, 0.2, 0.5]])


def test_low_scores_may_be_far_from_a_low_threshold():
    """0.001 and 0.02 differ by little as scores, and by a factor of 20 as odds."""
    near, far = doubt([[0.45], [0.001]], [0.5])[0, 0], doubt([[0.001]], [0.02])[0, 0]
    assert near > 0.44
    assert far < 0.05


def test_scores_and_thresholds_of_0_and_1_give_numbers():
    assert np.isfinite(doubt([[0.0, 1.0, 0.0]], [0.0, 1.0, 1.0])).all()


def order_of(scores, thresholds, count=99):
    doubts = Doubts(thresholds)
    for row in scores:
        doubts.add(np.array(row, dtype=np.float32))
    return doubts.first(count)


def test_the_photograph_nearest_to_its_thresholds_is_first():
    scores = [[0.99, 0.01], [0.6, 0.01], [0.99, 0.3]]
    assert order_of(scores, [0.5, 0.5]) == [1, 2, 0]


def test_each_label_has_its_own_threshold():
    assert order_of([[0.1, 0.9], [0.5, 0.5]], [0.1, 0.9]) == [0, 1]


def test_two_doubtful_labels_are_more_than_one():
    assert order_of([[0.55, 0.02], [0.6, 0.4]], [0.5, 0.5])[0] == 1


def test_one_label_does_not_fill_the_page():
    """The first label is at its threshold everywhere. The second is doubtful in the last one."""
    scores = [[0.5, 0.001]] * 4 + [[0.001, 0.35]]
    assert order_of(scores, [0.5, 0.5])[:2] == [0, 4]


def test_many_small_doubts_do_not_hide_a_large_one():
    labels = 500
    small = np.full(labels, 0.02)
    large = np.full(labels, 0.0005)
    large[7] = 0.5
    assert order_of([small, large], [0.5] * labels)[0] == 1


def slow_order(scores, thresholds, count):
    logit = lambda p: math.log(p / (1 - p))  # noqa: E731
    doubts = [
        sorted(
            ((1 / (1 + math.exp(abs(logit(s) - logit(t)))), -c) for c, (s, t) in rows), reverse=True
        )[:WORST]
        for rows in ([*enumerate(zip(row, thresholds, strict=True))] for row in scores)
    ]
    shown, chosen = dict.fromkeys(range(len(thresholds)), 0.0), []
    while len(chosen) < min(count, len(scores)):
        gain = {
            i: sum(d / (1 + shown[-c]) for d, c in doubts[i])
            for i in range(len(scores))
            if i not in chosen
        }
        best = max(gain, key=gain.__getitem__)
        chosen.append(best)
        for d, c in doubts[best]:
            shown[-c] += 2 * d
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_that_of_a_slow_version(seed):
    random = np.random.default_rng(seed)
    scores = random.uniform(0.01, 0.99, size=(40, 7)).astype(np.float32)
    thresholds = random.uniform(0.1, 0.9, size=7).tolist()
    wanted = slow_order(scores.astype(float).tolist(), thresholds, 25)
    assert order_of(scores, thresholds, 25) == wanted


def test_no_photograph_gives_no_order():
    assert Doubts([0.5]).first(3) == []
