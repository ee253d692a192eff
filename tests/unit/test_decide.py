"""Decisions: logits to scores to labels, against plain transcriptions and cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from manylabel.decide import Decision, sigmoid
from manylabel.metrics.calibration import SmoothCalibration

PLATT = SmoothCalibration(
    kind="platt", rise=(2.0, 1.0), fall=(2.0, 1.0), offset=(-1.0, 0.0), pooled=(False, False)
)


def test_the_sigmoid_is_rounded_once() -> None:
    """Each score is the float32 nearest to the exact one, which math.exp gives to 53 bits."""
    logits = np.random.default_rng(0).normal(0, 20, 5000).astype(np.float32)
    exact = [1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x)) for x in logits]
    np.testing.assert_array_equal(sigmoid(logits), np.array(exact, dtype=np.float32))


def test_the_sigmoid_of_a_logit_does_not_depend_on_its_neighbours() -> None:
    logits = np.random.default_rng(1).normal(0, 8, (37, 11)).astype(np.float32)
    alone = np.array([[sigmoid(logits[i, j : j + 1])[0] for j in range(11)] for i in range(37)])
    np.testing.assert_array_equal(sigmoid(logits), alone)


def test_extreme_logits_do_not_overflow() -> None:
    found = sigmoid(np.array([-1e4, -100, 0, 100, 1e4], dtype=np.float32))
    assert found[[0, 2, 3, 4]].tolist() == [0, 0.5, 1, 1]
    assert 0 < found[1] < 1e-30
    assert sigmoid(np.zeros(1, dtype=np.float64)).dtype == np.float64


def test_scores_are_activated_then_calibrated_then_decided() -> None:
    decision = Decision(thresholds=(0.4, 0.5), calibration=PLATT)
    logits = np.array([[0.3, 0.1], [0.2, -0.1]], dtype=np.float32)
    scores = decision.scores(logits)
    by_hand = 1 / (1 + np.exp(-(logits * [2, 1] + [-1, 0])))
    np.testing.assert_allclose(scores, by_hand, atol=1e-6)
    assert scores.dtype == np.float32
    assert decision.decide(scores).tolist() == [[True, True], [False, False]]
    np.testing.assert_array_equal(decision.uncalibrated().scores(logits), sigmoid(logits))
    np.testing.assert_array_equal(decision.calibrated(sigmoid(logits)), scores)


def test_the_label_nearest_to_its_threshold_is_taken_and_not_the_highest_score() -> None:
    decision = Decision(thresholds=(0.9, 0.35), at_least=1)
    assert decision.limited
    assert decision.decide([[0.6, 0.3]]).tolist() == [[False, True]]


def test_other_thresholds_keep_the_rest() -> None:
    decision = Decision(thresholds=(0.4, 0.5), calibration=PLATT, at_most=1)
    assert decision.at_threshold(0.2) == Decision(
        thresholds=(0.2, 0.2), calibration=PLATT, at_most=1
    )
    assert not Decision(thresholds=(0.5,)).limited


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"thresholds": (0.5, 1.5)}, "less than or equal to 1"),
        ({"thresholds": (0.5, 0.5), "at_least": 3, "at_most": 2}, "at least 3 and at most 2"),
        ({"thresholds": (0.5,), "calibration": PLATT}, "calibration of 2 labels for 1"),
        ({"thresholds": (0.5,), "activation": "tanh"}, "sigmoid"),
    ],
)
def test_decisions_that_cannot_be(parts: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Decision(**parts)
