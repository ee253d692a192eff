"""Two models compared on the same images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manylabel.data.records import Record, Records
from manylabel.decide import Decision
from manylabel.errors import DataError
from manylabel.evaluate.compare.paired import compare, conclusion
from manylabel.evaluate.predictions.table import Predictions
from manylabel.labels import LabelSpace
from manylabel.metrics import average_precision
from manylabel.metrics.bootstrap import Interval, draw_weights
from manylabel.metrics.ranking import mean_of_defined

KEYS = tuple(f"{i}.jpg" for i in range(200))
LABELS = LabelSpace(["cat", "dog", "owl", "never"])


@pytest.fixture
def truth():
    targets = (np.random.default_rng(0).random((200, 4)) < 0.3).astype(np.int8)
    targets[:, 3] = 0
    return Records.of(
        LABELS, tuple(Record(key, Path(key), row) for key, row in zip(KEYS, targets, strict=True)),
        "truth",
    )  # fmt: skip


def predictions(truth, noise, seed):
    scores = truth.targets + noise * np.random.default_rng(seed).normal(size=(200, 4))
    return Predictions(KEYS, LABELS, 1 / (1 + np.exp(-(scores - 0.5) * 4)), f"seed {seed}")


def test_a_better_model_is_distinguished_from_chance(truth):
    found = compare(predictions(truth, 1.0, 1), predictions(truth, 0.4, 2), truth, draws=300)
    assert found.differences["mAP"].low > 0
    assert {row.label for row in found.labels} == {"cat", "dog", "owl"}
    assert all(row.excludes_zero for row in found.labels)
    moves = [abs(row.difference.value) for row in found.labels]
    assert moves == sorted(moves, reverse=True)


def test_equal_models_do_not_differ(truth):
    alike = compare(predictions(truth, 0.8, 1), predictions(truth, 0.8, 2), truth, draws=300)
    assert alike.differences["mAP"].low < 0 < alike.differences["mAP"].high
    same = compare(predictions(truth, 0.8, 1), predictions(truth, 0.8, 1), truth, draws=20)
    assert same.differences["mAP"].as_dict() == {"value": 0, "low": 0, "high": 0}


def test_draws_are_paired(truth):
    """The interval is that of differences on the same drawn images, computed the long way."""
    a, b = predictions(truth, 1.0, 1), predictions(truth, 0.9, 2)
    found = compare(a, b, truth, draws=50, seed=7)
    targets = truth.targets
    differences = []
    for taken in draw_weights(200, draws=50, seed=7):
        rows = np.repeat(np.arange(200), taken)
        one, other = (
            mean_of_defined(average_precision(model.scores[rows], targets[rows]))
            for model in (a, b)
        )
        differences.append(other - one)
    expected = np.quantile(differences, (0.025, 0.975))
    told = found.differences["mAP"]
    np.testing.assert_allclose([told.low, told.high], expected, atol=1e-12)


def test_different_images_are_refused_unless_allowed(truth):
    a, b = predictions(truth, 1.0, 1), predictions(truth, 0.5, 2)
    part = Predictions(KEYS[:150], LABELS, b.scores[:150], "part")
    with pytest.raises(DataError, match=r"50 only in seed 1 \(150.jpg, .*; 150 are in both"):
        compare(a, part, truth)
    with pytest.raises(DataError, match="50 have targets but no predictions"):
        compare(part, part, truth)
    found = compare(a, part, truth, draws=10, common=True)
    assert found.as_dict()["images"] == 150
    assert found.truth.notes[-1] == (
        "Images that are not in all files are left out: 50 of 200 in seed 1, 50 of 200 in truth"
    )
    none = Predictions(("z.jpg",), LABELS, b.scores[:1], "none")
    with pytest.raises(DataError, match="no image in common"):
        compare(a, none, truth, common=True)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Interval(0.02, 0.005, 0.03), "mAP: B is better by 2.00 points (+0.50 to +3.00)."),
        (Interval(-0.02, -0.03, -0.005), "mAP: A is better by 2.00 points (-3.00 to -0.50)."),
        (Interval(0.01, -0.01, 0.03), "mAP: the interval (-1.00 to +3.00) includes 0, so these "
         "1,200 images do not show which of A and B is better."),
        (Interval(0.0, 0.0, 0.0), "mAP: the interval (+0.00 to +0.00) includes 0, so these "
         "1,200 images do not show which of A and B is better."),
        (Interval(np.nan, np.nan, np.nan), "mAP: no value, so A and B cannot be compared."),
    ],
)  # fmt: skip
def test_the_conclusion_follows_from_the_interval(found, said):
    assert conclusion("mAP", found, 1200) == said


def test_labels_that_moved_are_counted(truth):
    a, b = predictions(truth, 1.0, 1), predictions(truth, 0.4, 2)
    counted = compare(a, b, truth, draws=300).conclusions()[-1]
    assert counted.startswith("labels: for 3 of 3, the interval")
    assert compare(a, a, truth, draws=20).conclusions()[-1].startswith("labels: for 0 of 3")


def test_columns_in_another_order_are_matched_by_name(truth):
    a, b = predictions(truth, 1.0, 1), predictions(truth, 0.4, 2)
    turned = Predictions(KEYS[::-1], LabelSpace(LABELS.names[::-1]), b.scores[::-1, ::-1], b.source)
    expected = compare(a, b, truth, draws=50).as_dict()
    assert compare(a, turned, truth, draws=50).as_dict() == expected


def test_progress_counts_the_labels_of_both(truth):
    a = predictions(truth, 1.0, 1)
    told = []
    compare(a, a, truth, draws=5, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 8) for done in range(1, 9)]


# Decisions


def cf1_of1(decided, targets):
    """CF1 and OF1 by their definitions, label by label; labels without a positive are skipped."""
    right = [(decided[:, c] & (targets[:, c] == 1)).sum() for c in range(targets.shape[1])]
    said = [decided[:, c].sum() for c in range(targets.shape[1])]
    there = [(targets[:, c] == 1).sum() for c in range(targets.shape[1])]
    rows = [(r, s, t) for r, s, t in zip(right, said, there, strict=True) if t]
    precision = np.mean([r / s if s else 0 for r, s, _ in rows])
    recall = np.mean([r / t for r, _, t in rows])
    pooled = sum(right) / max(1, sum(said)), sum(right) / sum(there)
    return [2 * p * r / (p + r) if p + r else 0 for p, r in ((precision, recall), pooled)]


def test_each_model_is_compared_as_it_decides(truth):
    """Thresholds and limits of each model, in each draw, against loops over the drawn images."""
    own = {
        "a": Decision(thresholds=(0.9, 0.8, 0.7, 0.9)),
        "b": Decision(thresholds=(0.2, 0.3, 0.4, 0.5), at_least=1, at_most=2),
    }
    a, b = predictions(truth, 1.0, 1), predictions(truth, 1.0, 1)
    a, b = replace(a, decision=own["a"]), replace(b, decision=own["b"])
    found = compare(a, b, truth, draws=40, seed=3)

    logit = np.log(b.scores / (1 - b.scores))
    above = logit - np.log(np.array(own["b"].thresholds) / (1 - np.array(own["b"].thresholds)))
    decided = {"a": a.scores >= np.array(own["a"].thresholds), "b": above >= 0}
    for row, over in enumerate(above):  # at least one, at most two: the best ones
        best = sorted(range(4), key=lambda c: -over[c])
        keep = min(2, max(1, int((over >= 0).sum())))
        decided["b"][row] = [c in best[:keep] for c in range(4)]

    drawn = []
    for taken in draw_weights(200, draws=40, seed=3):
        rows = np.repeat(np.arange(200), taken)
        one, other = (cf1_of1(decided[name][rows], truth.targets[rows]) for name in "ab")
        drawn.append(np.subtract(other, one))
    for place, name in enumerate(("CF1", "OF1")):
        value = cf1_of1(decided["b"], truth.targets)[place] - cf1_of1(
            decided["a"], truth.targets)[place]  # fmt: skip
        low, high = np.quantile(np.array(drawn)[:, place], (0.025, 0.975))
        bounds = found.differences[name]
        assert [bounds.value, bounds.low, bounds.high] == pytest.approx([value, low, high])
        assert bounds.value != 0
    assert found.differences["mAP"].value == 0  # the scores are the same
    assert found.decided == (
        "score >= the label's threshold",
        "score >= the label's threshold, 1 to 2 labels an image",
    )
    assert found.decided_in_words.startswith("A decided where score >= the label's threshold; B d")


def test_a_threshold_that_is_given_replaces_both_decisions(truth):
    a = replace(predictions(truth, 1.0, 1), decision=Decision(thresholds=(0.9,) * 4))
    b = predictions(truth, 1.0, 1)
    found = compare(a, b, truth, draws=20, threshold=0.3)
    assert found.differences["CF1"].value == 0
    assert found.decided_in_words == "decided where score >= 0.3"
    assert compare(a, b, truth, draws=20).decided == ("score >= 0.9", "score >= 0.5")


def test_a_decision_follows_its_labels(truth):
    """Columns in another order in the file: each threshold stays with its label."""
    given = replace(predictions(truth, 1.0, 1), decision=Decision(thresholds=(0.9, 0.1, 0.5, 0.2)))
    turned = replace(
        given,
        labels=LabelSpace(LABELS.names[::-1]),
        scores=given.scores[:, ::-1],
        decision=Decision(thresholds=(0.2, 0.5, 0.1, 0.9)),
    )
    other = predictions(truth, 0.5, 2)
    expected = compare(given, other, truth, draws=20).as_dict()
    assert compare(turned, other, truth, draws=20).as_dict() == expected
