from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from manylabel.config import parse
from manylabel.errors import ConfigError, DataError
from manylabel.metrics.threshold_rules import Rule, best_thresholds
from manylabel.metrics.thresholds import decide, tune_thresholds

F1 = Rule()
RULES = [
    F1,
    Rule(kind="precision", at=0.7),
    Rule(kind="recall", at=0.6),
    Rule(kind="cost", costs=(1, 3)),
]


def value(rule: Rule, yes: list[bool], truth: list[int]) -> float:
    """The rule's figure of one label by counting; minus infinity where it is not kept."""
    tp = sum(y and t == 1 for y, t in zip(yes, truth, strict=True))
    fp = sum(y and t == 0 for y, t in zip(yes, truth, strict=True))
    fn = sum(not y and t == 1 for y, t in zip(yes, truth, strict=True))
    precision, recall = tp / (tp + fp) if tp + fp else 1.0, tp / (tp + fn)
    if rule.kind == "f1":
        return 2 * tp / (2 * tp + fp + fn)
    if rule.kind == "precision":
        return recall if precision >= rule.at - 1e-9 else -math.inf
    if rule.kind == "recall":
        shown = tp / (tp + fp) if tp + fp else 0.0
        return shown if recall >= rule.at - 1e-9 else -math.inf
    return -(rule.costs[0] * fp + rule.costs[1] * fn)


columns = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99]), st.sampled_from([1, 0, -1])),
    min_size=2,
    max_size=9,
).filter(lambda column: {t for _, t in column} >= {0, 1})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(column=columns)
def test_no_threshold_is_better(rule: Rule, dtype, column) -> None:
    scores = np.array([s for s, _ in column], dtype=dtype)
    truth = [t for _, t in column]
    (found,) = best_thresholds(scores[:, None], np.array(truth, np.int8)[:, None], rule)
    every = [*np.unique(scores), np.nextafter(scores.max(), dtype(2))]
    best = max(value(rule, (scores >= each).tolist(), truth) for each in every)
    assert value(rule, (scores >= dtype(found)).tolist(), truth) == pytest.approx(best)


def test_neighbouring_scores_are_told_apart() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    scores = np.array([[low], [high]], np.float32)
    (found,) = best_thresholds(scores, np.array([[0], [1]], np.int8), F1)
    assert (scores >= np.float32(found)).ravel().tolist() == [False, True]


def test_a_threshold_lies_halfway_between_logits() -> None:
    scores = np.array([[0.9], [0.2], [0.05]])
    (found,) = best_thresholds(scores, np.array([[1], [0], [0]], np.int8), F1)
    odds = math.sqrt(0.9 / 0.1 * 0.2 / 0.8)
    assert found == pytest.approx(odds / (1 + odds))


def simulated(seed: int, images: int, labels: int = 30, *, test: int = 8000):
    """Scores with a shift of each label's own, for which the best threshold is another one."""
    rng = np.random.default_rng(seed)
    prior = np.exp(rng.uniform(np.log(0.01), np.log(0.3), labels))
    apart, shift = rng.uniform(1, 3.5, labels), rng.normal(0, 0.7, labels)

    def draw(count: int):
        targets = (rng.random((count, labels)) < prior).astype(np.int8)
        evidence = (rng.normal(size=targets.shape) + apart * targets) * apart - apart**2 / 2
        logits = evidence + np.log(prior / (1 - prior)) + shift
        return (1 / (1 + np.exp(-logits))).astype(np.float32), targets

    return draw(images), draw(test)


def macro(thresholds, scores, targets) -> float:
    decided = scores >= np.asarray(thresholds, scores.dtype)
    return float(f1_score(targets, decided, average="macro", zero_division=0))


def test_drawn_thresholds_beat_naive_and_common_ones_on_new_images() -> None:
    gains = []
    for seed in range(12):
        (scores, targets), new = simulated(seed, 250)
        found = tune_thresholds(scores, targets, seed=seed)
        ours = macro(found.thresholds, *new)
        gains.append([ours - macro(found.naive, *new), ours - macro(found.common, *new)])
    mean = np.mean(gains, axis=0)
    error = np.std(gains, axis=0, ddof=1) / math.sqrt(len(gains))
    assert (mean > error).all(), (mean, error)


def test_with_many_images_it_finds_the_best_there_is() -> None:
    """Of calibrated scores the best threshold is half of the best F1 (Lipton et al., 2014)."""
    rng = np.random.default_rng(0)
    scores = rng.beta(1, [4.0, 2.0], (60_000, 2))
    targets = (rng.random(scores.shape) < scores).astype(np.int8)
    found = tune_thresholds(scores, targets)
    best = [
        f1_score(targets[:, i], scores[:, i] >= t, zero_division=0)
        for i, t in enumerate(found.thresholds)
    ]
    np.testing.assert_allclose(found.thresholds, np.array(best) / 2, atol=0.02)


def test_the_expected_figure_is_what_new_images_give() -> None:
    off = []
    for seed in range(8):
        (scores, targets), new = simulated(seed, 1500, 10)
        found = tune_thresholds(scores, targets, seed=seed)
        off.append(found.expected["tuned"] - macro(found.thresholds, *new))
    assert abs(np.mean(off)) < 0.02


def test_out_of_fold_decisions_give_the_expected_figure() -> None:
    (scores, targets), _ = simulated(3, 400)
    found = tune_thresholds(scores, targets)
    some = targets.any(axis=0)
    expected = f1_score(targets[:, some], found.decided[:, some], average="macro", zero_division=0)
    assert found.expected["tuned"] == pytest.approx(expected)


def test_an_image_has_no_part_in_its_own_decision() -> None:
    """Noise: what decides on an image without seeing it is right no more often than chance."""
    rng = np.random.default_rng(0)
    scores = rng.random((60, 400))
    targets = (rng.random(scores.shape) < 0.1).astype(np.int8)
    found = tune_thresholds(scores, targets, strength=0.0)
    chance = targets.mean()
    assert targets[found.decided].mean() == pytest.approx(chance, abs=0.02)
    assert targets[scores >= found.naive].mean() > chance + 0.03  # the same, having seen it


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_strength_leads_from_own_to_common(rule: Rule) -> None:
    (scores, targets), _ = simulated(1, 300)
    own, half, common = (
        tune_thresholds(scores, targets, rule, strength=strength) for strength in (0, 10, np.inf)
    )
    np.testing.assert_array_equal(own.thresholds, own.naive)
    np.testing.assert_array_equal(common.thresholds, common.common)
    assert own.common == half.common == common.common
    pair = np.sort([half.naive, np.full(len(half.naive), half.common)], axis=0)
    assert ((half.thresholds >= pair[0] - 1e-6) & (half.thresholds <= pair[1] + 1e-6)).all()


def test_half_way_where_the_support_is_the_strength() -> None:
    (scores, targets), _ = simulated(1, 300)
    n = int(tune_thresholds(scores, targets).support[0])
    found = tune_thresholds(scores, targets, strength=n)
    odds = [t / (1 - t) for t in (found.naive[0], found.common)]
    root = math.sqrt(odds[0] * odds[1])
    assert found.thresholds[0] == pytest.approx(root / (1 + root), rel=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_labels_that_one_side_is_known_of_take_the_common_threshold(rule: Rule) -> None:
    (scores, targets), _ = simulated(2, 200, 5)
    targets = np.concatenate(
        [targets, np.ones((200, 1)), np.zeros((200, 1)), -np.ones((200, 1))], 1
    )
    scores = np.concatenate([scores, scores[:, :3]], axis=1)
    found = tune_thresholds(scores, targets.astype(np.int8), rule)
    assert found.support[5:].tolist() == [0, 0, 0]
    assert found.thresholds[5:].tolist() == [found.common] * 3
    assert np.isfinite(found.thresholds).all()


def test_constant_scores_have_a_threshold() -> None:
    targets = (np.arange(40).reshape(20, 2) % 3 == 0).astype(np.int8)
    found = tune_thresholds(np.full((20, 2), 0.25), targets)
    assert found.thresholds.tolist() == pytest.approx([0.25, 0.25])
    assert found.decided.all()


def test_unknown_targets_change_nothing() -> None:
    (scores, targets), _ = simulated(5, 200, 6)
    hidden = np.where(np.random.default_rng(0).random(targets.shape) < 0.3, -1, targets)
    first = tune_thresholds(scores, hidden)
    second = tune_thresholds(np.where(hidden == -1, 0.999, scores).astype(np.float32), hidden)
    np.testing.assert_array_equal(first.thresholds, second.thresholds)
    assert first.expected == second.expected


@pytest.mark.parametrize("rule", RULES[1:3], ids=lambda rule: rule.kind)
def test_what_was_to_be_kept_is_kept(rule: Rule) -> None:
    (scores, targets), new = simulated(4, 6000, 8, test=20_000)
    found = tune_thresholds(scores, targets, rule, strength=0)
    decided = new[0] >= found.thresholds.astype(np.float32)
    right = (decided & (new[1] == 1)).sum(axis=0)
    whole = decided.sum(axis=0) if rule.kind == "precision" else new[1].sum(axis=0)
    busy = whole > 300  # others are luck
    assert busy.any()
    np.testing.assert_allclose((right / whole)[busy], rule.at, atol=0.09)


def test_the_same_seed_gives_the_same() -> None:
    (scores, targets), _ = simulated(6, 150)
    a, b, c = (tune_thresholds(scores, targets, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.decided, b.decided)
    assert (a.decided != c.decided).any()


# decide


def slowly(scores, thresholds, at_least, at_most) -> list[list[bool]]:
    rows = []
    for row in scores.tolist():
        margin = [
            math.log(s / (1 - s)) - math.log(t / (1 - t))
            for s, t in zip(row, thresholds, strict=True)
        ]
        best = sorted(range(len(row)), key=lambda i: (-margin[i], i))
        count = sum(s >= t for s, t in zip(row, thresholds, strict=True))
        count = max(count, at_least)
        count = count if at_most is None else min(count, at_most)
        rows.append([i in best[:count] for i in range(len(row))])
    return rows


@pytest.mark.parametrize(
    ("at_least", "at_most"),
    [(a, b) for a, b in itertools.product((0, 1, 2, 9), (None, 1, 3, 9)) if b is None or a <= b],
)
def test_decide_is_its_slow_transcription(at_least: int, at_most: int | None) -> None:
    rng = np.random.default_rng(0)
    scores, thresholds = rng.uniform(0.01, 0.99, (50, 5)), rng.uniform(0.2, 0.8, 5)
    found = decide(scores, thresholds, at_least=at_least, at_most=at_most)
    assert found.tolist() == slowly(scores, thresholds.tolist(), at_least, at_most)


def test_scores_of_0_and_1_are_decided_too() -> None:
    found = decide([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [0.5, 1.0, 0.5], at_least=1, at_most=1)
    assert found.sum(axis=1).tolist() == [1, 1]
    assert not found[0, 0]


@pytest.mark.parametrize(("at_least", "at_most"), [(-1, None), (0, 0), (3, 2)])
def test_limits_that_no_image_can_have(at_least: int, at_most: int | None) -> None:
    with pytest.raises(ConfigError, match="at least"):
        decide([[0.5]], 0.5, at_least=at_least, at_most=at_most)


# What cannot be used


@pytest.mark.parametrize(
    "tables",
    [{"kind": "precision"}, {"kind": "f1", "at": 0.5}, {"kind": "cost"}, {"costs": (1, 1)}]
    + [{"kind": "recall", "at": at} for at in (0, 1.5)]
    + [{"kind": "cost", "costs": (0, 1)}],
)
def test_rules_that_say_too_little_or_too_much(tables: dict) -> None:
    with pytest.raises(ConfigError):
        parse(Rule, tables, where="here")


@pytest.mark.parametrize(
    ("scores", "targets", "what"),
    [
        ([[0.5]] * 5, [[1]] * 5, "both 1 and 0"),
        ([[0.5]] * 5, [[-1]] * 5, "both 1 and 0"),
        ([[0.5]] * 3, [[1], [0], [1]], "3 images"),
        ([[1.5]] * 5, [[1], [0]] * 2 + [[1]], "0..1"),
        ([[0.5]] * 5, [[1, 0]] * 5, "the targets"),
        ([[float("nan")]] * 5, [[1]] * 5, "NaN"),
    ],
)
def test_bad_scores_and_targets(scores, targets, what: str) -> None:
    with pytest.raises(DataError, match=what):
        tune_thresholds(scores, targets)


@pytest.mark.parametrize("settings", [{"folds": 1}, {"strength": -1.0}, {"strength": math.nan}])
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ConfigError, match="folds"):
        tune_thresholds([[0.5]] * 5, [[1], [0]] * 2 + [[1]], **settings)
