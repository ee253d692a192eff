import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from manylabel.errors import ConfigError, DataError
from manylabel.metrics import reliability as module
from manylabel.metrics.reliability import brier, class_wise_ece, reliability


def drawn(images: int = 400, labels: int = 5, *, unknown: float = 0.0):
    random = np.random.default_rng(7)
    scores = random.random((images, labels)) ** 2
    targets = (random.random((images, labels)) < scores**1.5).astype(np.int8)
    targets[random.random((images, labels)) < unknown] = -1
    return scores, targets


def slow_ece(scores, targets, bins):
    """One pair after the other, as the definition reads."""
    total, known = 0.0, [(s, t) for s, t in zip(scores, targets, strict=True) if t != -1]
    for k in range(bins):
        inside = [
            (s, t) for s, t in known if k / bins <= s and (s < (k + 1) / bins or k == bins - 1)
        ]
        if inside:
            gap = np.mean([t for _, t in inside]) - np.mean([s for s, _ in inside])
            total += len(inside) / len(known) * abs(gap)
    return total


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_ece_is_that_of_the_definition(bins, unknown):
    scores, targets = drawn(unknown=unknown)
    expected = [slow_ece(*pair, bins) for pair in zip(scores.T, targets.T, strict=True)]
    np.testing.assert_allclose(class_wise_ece(scores, targets, bins=bins), expected, atol=1e-12)


def test_brier_is_scikit_learns():
    scores, targets = drawn()
    expected = [brier_score_loss(t, s) for t, s in zip(targets.T, scores.T, strict=True)]
    np.testing.assert_allclose(brier(scores, targets), expected, atol=1e-12)


def test_brier_leaves_unknown_targets_out():
    scores, targets = drawn(unknown=0.4)
    for column in range(5):
        known = targets[:, column] != -1
        expected = brier_score_loss(targets[known, column], scores[known, column])
        assert brier(scores, targets)[column] == pytest.approx(expected, abs=1e-12)


def test_bins_are_those_of_scikit_learns_curve():
    scores, targets = drawn(labels=1)
    found = reliability(scores, targets, bins=10)
    frequency, mean_score = calibration_curve(targets[:, 0], scores[:, 0], n_bins=10)
    full = found.count[0] > 0
    np.testing.assert_allclose(found.frequency[0, full], frequency)
    np.testing.assert_allclose(found.mean_score[0, full], mean_score)


def test_pooled_is_all_pairs_as_one_label():
    scores, targets = drawn(unknown=0.2)
    pooled = reliability(scores, targets).pooled()
    one = reliability(scores.reshape(-1, 1), targets.reshape(-1, 1))
    np.testing.assert_array_equal(pooled.count, one.count)
    np.testing.assert_array_equal(pooled.present, one.present)
    np.testing.assert_allclose(pooled.ece, one.ece, atol=1e-12)


def test_a_bin_holds_its_left_end_and_the_last_one_holds_1():
    found = reliability([[0.0], [0.5], [1.0]], [[0], [1], [1]], bins=2)
    assert found.count.tolist() == [[1, 2]]
    assert found.present.tolist() == [[0, 2]]


def test_a_label_without_a_known_target_has_no_figure():
    scores, targets = [[0.2, 0.3], [0.9, 0.4]], [[0, -1], [1, -1]]
    assert np.isnan(class_wise_ece(scores, targets)).tolist() == [False, True]
    assert np.isnan(brier(scores, targets)).tolist() == [False, True]
    assert np.isnan(reliability(scores, targets).frequency[1]).all()


def test_no_image_gives_no_figure():
    nothing = np.zeros((0, 2))
    assert np.isnan(class_wise_ece(nothing, nothing)).tolist() == [True, True]
    assert np.isnan(brier(nothing, nothing)).tolist() == [True, True]


def test_the_size_of_the_parts_does_not_matter(monkeypatch):
    scores, targets = drawn(unknown=0.1)
    whole, error = reliability(scores, targets), brier(scores, targets)
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 900)
    parts = reliability(scores, targets)
    np.testing.assert_array_equal(parts.count, whole.count)
    np.testing.assert_array_equal(parts.score_sum, whole.score_sum)
    np.testing.assert_allclose(brier(scores, targets), error, atol=1e-15)


def test_single_precision_scores_are_summed_in_double_precision():
    scores = np.full((100_000, 1), 0.1, np.float32)
    found = reliability(scores, np.zeros((100_000, 1), np.int8))
    assert found.score_sum.sum() == pytest.approx(100_000 * float(np.float32(0.1)), rel=1e-9)


@pytest.mark.parametrize(
    ("scores", "targets", "error", "says"),
    [
        ([[1.5]], [[1]], DataError, "0..1"),
        ([[float("nan")]], [[1]], DataError, "NaN"),
        ([[0.5]], [[2]], DataError, "not 1, 0 or -1"),
        ([[0.5], [0.5]], [[1]], DataError, "[2, 1]"),
    ],
)
def test_what_cannot_be_used_is_refused(scores, targets, error, says):
    for figure in (reliability, brier, class_wise_ece):
        with pytest.raises(error) as caught:
            figure(scores, targets)
        assert says in str(caught.value)


def test_no_bins_are_refused():
    with pytest.raises(ConfigError, match="0 bins"):
        reliability([[0.5]], [[1]], bins=0)
