"""The metrics beside profiles, against scikit-learn where it has them, loops and cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from manylabel.errors import DataError
from manylabel.metrics.additional import (
    average_precision_micro,
    average_precision_weighted,
    measure_additional,
)
from manylabel.metrics.attributes import instance_measures, mean_accuracy
from manylabel.metrics.per_image import (
    coverage_error,
    hamming_loss,
    label_ranking_average_precision,
    one_error,
    precision_at_k,
    ranking_loss,
    recall_at_k,
    subset_accuracy,
)

OF_SCORES = {
    "ranking_loss": ranking_loss,
    "coverage_error": coverage_error,
    "LRAP": label_ranking_average_precision,
    "one_error": one_error,
    "precision_at_2": lambda s, t: precision_at_k(s, t, 2),
    "recall_at_2": lambda s, t: recall_at_k(s, t, 2),
    "micro": average_precision_micro,
    "weighted": average_precision_weighted,
}
OF_DECISIONS = {
    "hamming_loss": hamming_loss,
    "subset_accuracy": subset_accuracy,
    "mA": mean_accuracy,
    "instance_accuracy": lambda d, t: instance_measures(d, t).accuracy,
    "instance_precision": lambda d, t: instance_measures(d, t).precision,
    "instance_recall": lambda d, t: instance_measures(d, t).recall,
    "instance_F1": lambda d, t: instance_measures(d, t).F1,
}


def draw(seed, images=60, labels=7, decimals=1, unknown=0.0):
    rng = np.random.default_rng(seed)
    targets = (rng.random((images, labels)) < 0.4).astype(np.int8)
    scores = (rng.random(targets.shape) * 0.7 + 0.3 * targets).round(decimals)
    targets[rng.random(targets.shape) < unknown] = -1
    return scores, targets


# Slow versions: each image (or label) by itself, without what is unknown


def known_rows(values, targets):
    """Each image's values and truth without unknown labels; images with none are left out."""
    for row, truth in zip(values.tolist(), targets.tolist(), strict=True):
        pairs = [(v, t) for v, t in zip(row, truth, strict=True) if t != -1]
        if pairs:
            yield pairs


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def slow_ranking_loss(pairs):
    wrong = [a <= b for a, s in pairs if s == 1 for b, t in pairs if t == 0]
    return sum(wrong) / len(wrong) if wrong else 0


def slow_coverage(pairs):
    return max((sum(v >= a for v, _ in pairs) for a, s in pairs if s == 1), default=0)


def slow_lrap(pairs):
    if len({truth for _, truth in pairs}) == 1:
        return 1
    return mean(
        sum(v >= a and t == 1 for v, t in pairs) / sum(v >= a for v, _ in pairs)
        for a, s in pairs
        if s == 1
    )


def best(pairs, k):
    """Truth of the best k labels; Python's sort keeps equal ones in order."""
    return [truth for _, truth in sorted(pairs, key=lambda pair: -pair[0])[:k]]


def slow_of_scores(scores, targets):
    rows = list(known_rows(scores, targets))
    with_any = [pairs for pairs in rows if any(t for _, t in pairs)]
    each_label = list(zip(scores.T.tolist(), targets.T.tolist(), strict=True))
    ap = [(slow_ap(s, t), t.count(1)) for s, t in each_label if t.count(1)]
    total = sum(count for _, count in ap)
    return {
        "ranking_loss": mean(map(slow_ranking_loss, rows)),
        "coverage_error": mean(map(slow_coverage, rows)),
        "LRAP": mean(map(slow_lrap, rows)),
        "one_error": mean(best(pairs, 1) == [0] for pairs in with_any),
        "precision_at_2": mean(mean(best(pairs, 2)) for pairs in rows),
        "recall_at_2": mean(sum(best(p, 2)) / sum(t for _, t in p) for p in with_any),
        "micro": slow_ap(scores.ravel().tolist(), targets.ravel().tolist()),
        "weighted": sum(a * count for a, count in ap) / total if total else math.nan,
    }


def slow_ap(scores, truth):
    pairs = [(s, t) for s, t in zip(scores, truth, strict=True) if t != -1]
    return mean(
        sum(t for s, t in pairs if s >= a) / sum(s >= a for s, _ in pairs) for a, t in pairs if t
    )


def slow_of_decisions(decided, targets):
    rows = list(known_rows(decided, targets))
    columns = [
        [(d, t) for d, t in zip(c, truth, strict=True) if t != -1]
        for c, truth in zip(decided.T.tolist(), targets.T.tolist(), strict=True)
    ]

    def recall(pairs, of):
        among = [d == bool(of) for d, t in pairs if t == of]
        return sum(among) / len(among) if among else 0

    def share(pairs, among):
        picked = [(d, t) for d, t in pairs if among(d, t)]
        return sum(d and t for d, t in picked) / len(picked) if picked else 0

    p = mean(share(pairs, lambda d, _: d) for pairs in rows)
    r = mean(share(pairs, lambda _, t: t) for pairs in rows)
    return {
        "hamming_loss": mean(d != bool(t) for pairs in rows for d, t in pairs),
        "subset_accuracy": mean(all(d == bool(t) for d, t in pairs) for pairs in rows),
        "mA": mean((recall(pairs, 1) + recall(pairs, 0)) / 2 for pairs in columns),
        "instance_accuracy": mean(share(pairs, lambda d, t: d or t) for pairs in rows),
        "instance_precision": p,
        "instance_recall": r,
        "instance_F1": 2 * p * r / (p + r) if p + r else 0,
    }


def assert_agree(scores, targets):
    expected = slow_of_scores(scores, targets)
    for name, metric in OF_SCORES.items():
        assert metric(scores, targets) == pytest.approx(expected[name], nan_ok=True), name
    decided = scores >= 0.5
    expected = slow_of_decisions(decided, targets)
    for name, metric in OF_DECISIONS.items():
        assert metric(decided, targets) == pytest.approx(expected[name], nan_ok=True), name


@pytest.mark.parametrize("unknown", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("decimals", [1, 6])
@pytest.mark.parametrize("labels", [1, 2, 7])
def test_equals_the_slow_version(labels, decimals, unknown):
    assert_agree(*draw(labels, labels=labels, decimals=decimals, unknown=unknown))


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.data())
def test_equals_it_on_whatever_is_tied_unknown_or_empty(data):
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 5)))
    cell = st.tuples(st.sampled_from([0.0, 0.4, 0.5, 1.0]), st.sampled_from([1, 0, -1]))
    cells = [data.draw(cell) for _ in range(shape[0] * shape[1])]
    scores, targets = (np.array(part).reshape(shape) for part in zip(*cells, strict=True))
    assert_agree(scores, targets.astype(np.int8))


def test_parts_change_nothing(monkeypatch):
    scores, targets = draw(3, unknown=0.3)
    names = ("ranking_loss", "coverage_error", "LRAP")
    whole = [OF_SCORES[name](scores, targets) for name in names]
    monkeypatch.setattr("manylabel.metrics.per_image._CELLS_AT_ONCE", 50)
    assert [OF_SCORES[name](scores, targets) for name in names] == pytest.approx(whole)


@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(seed):
    scores, targets = draw(seed)
    targets[0], targets[1] = 0, 1  # images with none and with all
    decided = scores >= 0.5
    for ours, other in (
        (ranking_loss(scores, targets), theirs.label_ranking_loss(targets, scores)),
        (coverage_error(scores, targets), theirs.coverage_error(targets, scores)),
        (
            label_ranking_average_precision(scores, targets),
            theirs.label_ranking_average_precision_score(targets, scores),
        ),
        (hamming_loss(decided, targets), theirs.hamming_loss(targets, decided)),
        (subset_accuracy(decided, targets), theirs.accuracy_score(targets, decided)),
        (
            average_precision_micro(scores, targets),
            theirs.average_precision_score(targets, scores, average="micro"),
        ),
        (
            average_precision_weighted(scores, targets),
            theirs.average_precision_score(targets, scores, average="weighted"),
        ),
    ):
        assert ours == pytest.approx(other)
    balanced = [
        theirs.balanced_accuracy_score(t, d) for t, d in zip(targets.T, decided.T, strict=True)
    ]
    assert mean_accuracy(decided, targets) == pytest.approx(np.mean(balanced))
    by_image = theirs.precision_recall_fscore_support(
        targets, decided, average="samples", zero_division=0
    )
    found = instance_measures(decided, targets)
    assert (found.precision, found.recall) == pytest.approx(by_image[:2])
    jaccard = theirs.jaccard_score(targets, decided, average="samples", zero_division=0)
    assert found.accuracy == pytest.approx(jaccard)


def test_by_hand():
    scores = np.array([[0.9, 0.8, 0.1], [0.2, 0.6, 0.6]])
    targets = np.array([[0, 1, 1], [1, 1, -1]])
    # Image 0: both pairs wrong; image 1 has no absent label.
    assert ranking_loss(scores, targets) == 0.5
    assert coverage_error(scores, targets) == (3 + 2) / 2
    assert label_ranking_average_precision(scores, targets) == ((1 / 2 + 2 / 3) / 2 + 1) / 2
    assert one_error(scores, targets) == 0.5
    assert precision_at_k(scores, targets, 2) == (1 / 2 + 1) / 2
    assert recall_at_k(scores, targets, 2) == (1 / 2 + 1) / 2
    decided = scores >= 0.5  # image 0: labels 0 and 1; image 1: label 1 of the known
    assert hamming_loss(decided, targets) == 3 / 5
    assert subset_accuracy(decided, targets) == 0
    # Recalls: label 0: 0 of present, 0 of absent; label 1: 1 of present; label 2: 0 of present.
    assert mean_accuracy(decided, targets) == pytest.approx((0 + 1 / 2 + 0) / 3)
    found = instance_measures(decided, targets)
    assert (found.precision, found.recall, found.accuracy) == (3 / 4, 1 / 2, (1 / 3 + 1 / 2) / 2)
    assert pytest.approx(0.6) == found.F1


def test_all_at_once():
    scores, targets = draw(5, unknown=0.2)
    found = measure_additional(scores, targets, thresholds=np.full(7, 0.5))
    expected = slow_of_scores(scores, targets) | slow_of_decisions(scores >= 0.5, targets)
    for name in found.keys() & expected.keys():
        assert found[name] == pytest.approx(expected[name]), name
    assert found["AP_micro"] == pytest.approx(expected["micro"])
    assert found["mAP_weighted"] == pytest.approx(expected["weighted"])
    assert found["precision_at_1"] == precision_at_k(scores, targets, 1)
    assert found["recall_at_5"] == recall_at_k(scores, targets, 5)
    assert list(found)[:3] == ["mAP_macro", "mAP_weighted", "AP_micro"]


@pytest.mark.parametrize("images", [0, 4])
def test_nothing_known_is_nan_and_not_a_crash(images):
    found = measure_additional(np.full((images, 3), 0.7), np.full((images, 3), -1))
    defined = {name: value for name, value in found.items() if not math.isnan(value)}
    assert defined == {"mA": 0.0}


def test_does_not_change_its_arguments():
    scores, targets = draw(6, unknown=0.3)
    copies = scores.copy(), targets.copy()
    measure_additional(scores, targets)
    np.testing.assert_array_equal(scores, copies[0])
    np.testing.assert_array_equal(targets, copies[1])


@pytest.mark.parametrize("name", [*OF_SCORES, *OF_DECISIONS])
def test_refuses_what_does_not_fit(name):
    metric = (OF_SCORES | OF_DECISIONS)[name]
    values = np.zeros((2, 3), dtype=float if name in OF_SCORES else bool)
    with pytest.raises(DataError, match=r"\[2, 3\], the targets \[2, 2\]"):
        metric(values, np.zeros((2, 2)))
    with pytest.raises(DataError, match="not 1, 0 or -1"):
        metric(values, np.full((2, 3), 7))
