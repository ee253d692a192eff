from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from manylabel.config import parse
from manylabel.errors import ConfigError, DataError
from manylabel.metrics import average_precision
from manylabel.metrics.calibration import (
    KINDS,
    MIN_EXAMPLES,
    SmoothCalibration,
    StepCalibration,
    fit_calibration,
)
from manylabel.metrics.reliability import class_wise_ece


def drawn(images: int = 3000, labels: int = 3, *, seed: int = 0):
    """float64 scores too sure of themselves, of labels that are shifted as well, and targets."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (images, labels))
    chance = 1 / (1 + np.exp(-(0.6 * logits - np.linspace(0, 1.5, labels))))
    targets = (rng.random(chance.shape) < chance).astype(np.int8)
    return 1 / (1 + np.exp(-logits)), targets


def regressed(features: np.ndarray, targets: np.ndarray, *, offset: bool) -> list[float]:
    model = LogisticRegression(C=math.inf, fit_intercept=offset, tol=1e-9, max_iter=2000)
    model.fit(features, targets)
    return [*model.coef_[0].tolist(), *np.atleast_1d(model.intercept_).tolist()]


@pytest.mark.parametrize("kind", ["temperature", "platt"])
def test_slopes_and_offsets_are_those_of_a_logistic_regression(kind) -> None:
    scores, targets = drawn()
    found = fit_calibration(scores, targets, kind)
    assert isinstance(found, SmoothCalibration)
    for label in range(3):
        logits = np.log(scores[:, [label]] / (1 - scores[:, [label]]))
        slope, offset = regressed(logits, targets[:, label], offset=kind == "platt")
        assert found.rise[label] == found.fall[label] == pytest.approx(slope, rel=1e-3)
        assert found.offset[label] == pytest.approx(offset, abs=1e-3)


def test_beta_is_a_logistic_regression_on_two_logarithms() -> None:
    scores, targets = drawn()
    found = fit_calibration(scores, targets, "beta")
    assert isinstance(found, SmoothCalibration)
    for label in range(3):
        column = scores[:, label]
        features = np.stack([np.log(column), -np.log(1 - column)], axis=1)
        expected = regressed(features, targets[:, label], offset=True)
        curve = [found.rise[label], found.fall[label], found.offset[label]]
        np.testing.assert_allclose(curve, expected, rtol=2e-3, atol=2e-3)


def test_beta_does_not_fall_where_the_free_one_would() -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.02, 0.98, (4000, 1))
    chance = 0.2 + 0.5 * (scores - 0.35) ** 2  # falls, then rises
    targets = (rng.random(scores.shape) < chance).astype(np.int8)
    found = fit_calibration(scores, targets, "beta")
    assert isinstance(found, SmoothCalibration)
    features = np.concatenate([np.log(scores), -np.log(1 - scores), np.ones_like(scores)], 1)

    def loss(weights: np.ndarray) -> float:
        logits = features @ weights
        return float((np.logaddexp(0, logits) - targets[:, 0] * logits).sum())

    bounds = [(0, None), (0, None), (None, None)]
    best = minimize(loss, [1, 1, 0], bounds=bounds, method="L-BFGS-B")
    assert found.rise[0] == 0.0
    ours = loss(np.array([found.rise[0], found.fall[0], found.offset[0]]))
    assert ours == pytest.approx(best.fun, rel=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_isotonic_is_scikit_learns(ties: bool) -> None:
    scores, targets = drawn()
    scores = np.round(scores, 2) if ties else scores
    found = fit_calibration(scores, targets, "isotonic").apply(scores)
    for label in range(3):
        reference = IsotonicRegression(out_of_bounds="clip")
        expected = reference.fit_transform(scores[:, label], targets[:, label])
        np.testing.assert_allclose(found[:, label], expected, atol=1e-12)


def test_isotonic_is_flat_outside_and_straight_between() -> None:
    steps = StepCalibration(at=((0.2, 0.6),), value=((0.1, 0.5),), pooled=(False,))
    found = steps.apply(np.array([[0.0], [0.2], [0.4], [0.6], [1.0]]))
    assert found.ravel().tolist() == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5])


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_new_images_mean_what_they_say(kind) -> None:
    labels = 1 if kind == "temperature" else 3  # it cannot mend the shift of the other two
    calibration = fit_calibration(*drawn(labels=labels, seed=0), kind)
    scores, targets = drawn(labels=labels, seed=1)
    better = calibration.apply(scores)
    assert class_wise_ece(better, targets).mean() < 0.6 * class_wise_ece(scores, targets).mean()
    before = brier_score_loss(targets.ravel(), scores.ravel())
    assert brier_score_loss(targets.ravel(), better.ravel()) < before


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_falls_and_ap_stays(kind) -> None:
    scores, targets = drawn()
    better = fit_calibration(scores, targets, kind).apply(scores)
    for label in range(3):
        order = np.argsort(scores[:, label])
        assert (np.diff(better[order, label]) >= 0).all()
    before, after = average_precision(scores, targets), average_precision(better, targets)
    tolerance = 0.05 if kind == "isotonic" else 1e-9  # its flat parts are ties
    np.testing.assert_allclose(after, before, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_of_the_range_are_scores_like_others(kind) -> None:
    scores, targets = drawn()
    calibration = fit_calibration(scores, targets, kind)
    ends = np.array([[0.0] * 3, [1e-30] * 3, [0.5] * 3, [1.0] * 3], dtype=np.float32)
    found = calibration.apply(ends)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found, axis=0) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_small_labels_take_the_curve_of_all_pairs(kind) -> None:
    scores, targets = drawn(1500)
    positives = np.flatnonzero(targets[:, 1] == 1)
    few = targets.copy()
    few[positives[MIN_EXAMPLES[kind] - 1 :], 1] = -1  # one positive fewer than it takes
    enough = few.copy()
    enough[positives[MIN_EXAMPLES[kind] - 1], 1] = 1
    assert fit_calibration(scores, few, kind).pooled == (False, True, False)
    assert fit_calibration(scores, enough, kind).pooled == (False, False, False)
    known = few != -1
    alone = fit_calibration(scores[known][:, None], few[known][:, None], kind)
    grid = np.linspace(0.01, 0.99, 50)
    pooled = fit_calibration(scores, few, kind).apply(np.stack([grid] * 3, axis=1))[:, 1]
    np.testing.assert_allclose(pooled, alone.apply(grid[:, None])[:, 0], atol=1e-9)


@pytest.mark.parametrize("kind", ["temperature", "platt", "beta"])
def test_a_label_that_ranks_worse_than_chance_takes_the_common_curve(kind) -> None:
    scores, targets = drawn()
    targets[:, 0] = 1 - targets[:, 0]
    assert fit_calibration(scores, targets, kind).pooled == (True, False, False)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_told_apart_without_a_fault_have_a_curve(kind) -> None:
    scores = np.linspace(0.01, 0.99, 400)[:, None]
    targets = (scores > 0.6).astype(np.int8)
    found = fit_calibration(scores, targets, kind).apply(scores)
    assert np.isfinite(found).all()
    assert (average_precision(found, targets) == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_targets_change_nothing(kind) -> None:
    scores, targets = drawn()
    hidden = np.where(np.random.default_rng(0).random(targets.shape) < 0.3, -1, targets)
    other = np.where(hidden == -1, 0.123, scores)
    assert fit_calibration(scores, hidden, kind) == fit_calibration(other, hidden, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_trip_through_json_gives_the_same(kind) -> None:
    found = fit_calibration(*drawn(), kind)
    again = type(found).model_validate_json(found.model_dump_json())
    assert again == found
    assert found.num_labels == 3


@pytest.mark.parametrize(
    ("scores", "targets", "what"),
    [
        ([[0.5], [0.6]], [[1], [1]], "both 1 and 0"),
        ([[0.5], [1.6]], [[0], [1]], "0..1"),
        ([[0.9], [0.8], [0.2], [0.1]], [[0], [0], [1], [1]], "worse than chance"),
    ],
)
def test_what_cannot_be_calibrated(scores, targets, what: str) -> None:
    with pytest.raises(DataError, match=what):
        fit_calibration(scores, targets, "platt")


def test_a_temperature_that_would_turn_scores_round_is_refused() -> None:
    """They rank well but all lie above 0.5, where most targets are absent."""
    scores, targets = drawn(labels=1)
    shifted = 0.6 + 0.4 * scores
    targets = np.where(scores > np.quantile(scores, 0.9), targets, 0).astype(np.int8)
    with pytest.raises(DataError, match="wrong side of 0.5"):
        fit_calibration(shifted, targets, "temperature")
    assert (average_precision(shifted, targets) > 2 * targets.mean()).all()


@pytest.mark.parametrize(
    ("kind", "tables"),
    [
        (
            SmoothCalibration,
            {"kind": "platt", "rise": [1], "fall": [1, 1], "offset": [0], "pooled": [True]},
        ),
        (
            SmoothCalibration,
            {"kind": "platt", "rise": [-1], "fall": [1], "offset": [0], "pooled": [True]},
        ),
        (StepCalibration, {"at": [[0.5, 0.2]], "value": [[0.1, 0.2]], "pooled": [True]}),
        (StepCalibration, {"at": [[0.2, 0.5]], "value": [[0.3, 0.2]], "pooled": [True]}),
        (StepCalibration, {"at": [[]], "value": [[]], "pooled": [True]}),
        (StepCalibration, {"at": [[0.1]], "value": [], "pooled": [True]}),
    ],
)
def test_damaged_calibrations_are_refused(kind, tables: dict) -> None:
    with pytest.raises(ConfigError):
        parse(kind, tables, where="here")
