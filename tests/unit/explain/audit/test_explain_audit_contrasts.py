"""Images with and without a companion, against slow versions with loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from manylabel.explain.audit import contrasts as module
from manylabel.explain.audit.contrasts import Sampling, contrasts
from manylabel.explain.audit.pairs import Pair, usual_companions

SAMPLING = Sampling(draws=400, seed=0, fewest=10)


def case(size: int = 400, *, shortcut: float, seed: int = 0):
    """Scores of label 0 that also follow label 1, and unknown targets."""
    random = np.random.default_rng(seed)
    first = random.random(size) < 0.4
    second = random.random(size) < np.where(first, 0.7, 0.3)
    targets = np.stack([first, second], axis=1).astype(np.int8)
    targets[: size // 20, 0] = -1
    targets[-size // 20 :, 1] = -1
    logits = random.normal(0, 1, size) + 1.5 * first + shortcut * second
    scores = 1 / (1 + np.exp(-np.stack([logits, logits], axis=1)))
    return scores, scores >= 0.7, targets, usual_companions(targets, at_most=1)[0]


def group(targets: np.ndarray, own: int, other: int) -> list[int]:
    return [i for i, row in enumerate(targets) if (row[0], row[1]) == (own, other)]


def test_rates_are_those_of_the_four_groups():
    scores, decided, targets, pair = case(shortcut=1.0)
    found = contrasts(pair, scores, decided, targets, SAMPLING)
    assert found.recall is not None
    assert found.false_positives is not None
    for value, cell in [
        (found.recall.beside.value, (1, 1)),
        (found.recall.alone.value, (1, 0)),
        (found.false_positives.beside.value, (0, 1)),
        (found.false_positives.alone.value, (0, 0)),
    ]:
        assert value == pytest.approx(np.mean([decided[i, 0] for i in group(targets, *cell)]))
    false = found.false_positives
    assert false.difference.value == pytest.approx(false.beside.value - false.alone.value)


def test_ap_is_at_the_prevalence_of_all_images():
    scores, decided, targets, pair = case(shortcut=1.0)
    found = contrasts(pair, scores, decided, targets, SAMPLING).AP
    assert found is not None
    known = [row for row in targets if -1 not in row]
    prevalence = np.mean([row[0] for row in known])
    for other, value in [(1, found.beside.value), (0, found.alone.value)]:
        high, low = group(targets, 1, other), group(targets, 0, other)
        weights = [prevalence / len(high)] * len(high) + [(1 - prevalence) / len(low)] * len(low)
        truth = [1] * len(high) + [0] * len(low)
        expected = average_precision_score(truth, scores[high + low, 0], sample_weight=weights)
        assert value == pytest.approx(expected)


def test_auc_compares_images_without_the_label():
    scores, decided, targets, pair = case(shortcut=1.0)
    found = contrasts(pair, scores, decided, targets, SAMPLING)
    beside, alone = group(targets, 0, 1), group(targets, 0, 0)
    truth = [1] * len(beside) + [0] * len(alone)
    assert found.auc is not None
    assert found.auc.value == pytest.approx(roc_auc_score(truth, scores[beside + alone, 0]))
    assert found.auc.low > 0.5
    assert found.auc_p < 1e-6


def test_a_shortcut_shows_and_none_does_not():
    with_it = contrasts(*case_arguments(2.0), SAMPLING)
    without = contrasts(*case_arguments(0.0), SAMPLING)
    assert with_it.false_positives is not None
    assert without.false_positives is not None
    assert with_it.false_positives.difference.low > 0
    assert without.false_positives.difference.low < 0 < without.false_positives.difference.high
    assert without.auc_p > 0.01


def case_arguments(shortcut: float):
    scores, decided, targets, pair = case(shortcut=shortcut, seed=3)
    return pair, scores, decided, targets


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """The false positive rate beside the companion has a known value in this case."""
    truth, hits, tries = 0.4, 0, 120
    for seed in range(tries):
        random = np.random.default_rng(seed)
        targets = np.tile(np.array([[0, 1], [0, 0], [1, 1], [1, 0]], np.int8), (40, 1))
        decided = random.random((160, 2)) < truth
        found = contrasts(
            Pair(0, 1, 40, 40, 40, 40), decided.astype(float), decided, targets,
            Sampling(draws=300, seed=seed, fewest=10),
        )  # fmt: skip
        assert found.false_positives is not None
        hits += found.false_positives.beside.low <= truth <= found.false_positives.beside.high
    assert 0.87 <= hits / tries <= 0.995


def test_too_few_images_leave_out_a_figure_and_not_the_others():
    scores, decided, targets, pair = case(shortcut=1.0)
    few = group(targets, 1, 0)[5:]
    keep = np.setdiff1d(np.arange(len(targets)), few)
    found = contrasts(pair, scores[keep], decided[keep], targets[keep], SAMPLING)
    assert found.AP is None
    assert found.recall is None
    assert found.auc is not None
    none = contrasts(pair, scores[:8], decided[:8], targets[:8], SAMPLING)
    assert (none.AP, none.recall, none.false_positives, none.auc) == (None,) * 4
    assert np.isnan(none.auc_p)
    assert set(none.as_dict().values()) == {None}


def test_draws_in_parts_have_as_many_values(monkeypatch):
    arguments = case_arguments(1.0)
    whole = contrasts(*arguments, SAMPLING)
    monkeypatch.setattr(module, "_AT_ONCE", 4000)  # ten draws at once
    parts = contrasts(*arguments, SAMPLING)
    assert whole.auc is not None
    assert parts.auc is not None
    assert parts.auc.value == whole.auc.value
    assert parts.auc.low == pytest.approx(whole.auc.low, abs=0.02)
