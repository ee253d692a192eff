"""Every profile against its project's definition, transcribed as plain loops, image by image.

The loops do what the projects' code does to numbers, with stable sorts. They know nothing of rules.
"""

from __future__ import annotations

import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from manylabel.labels import LabelSpace
from manylabel.metrics import PROFILES, compare_profiles, measure

NAN = math.nan
FIGURES = ("CP", "CR", "CF1", "OP", "OR", "OF1")


# Average precision


def falling(scores):
    """Positions of the scores, best first, equal ones in their order."""
    return sorted(range(len(scores)), key=lambda i: -scores[i])


def rising_reversed(scores):
    """What `argsort()[::-1]` gives with a stable sort: equal ones in reversed order."""
    return sorted(range(len(scores)), key=lambda i: scores[i])[::-1]


def mean_precision(truth_in_order):
    """Sum of the precision at each positive and number of positives."""
    right = total = 0.0
    for rank, has in enumerate(truth_in_order, start=1):
        if has == 1:
            right += 1
            total += right / rank
    return total, right


def asl_ap(scores, truth):
    total, positives = mean_precision([truth[i] for i in rising_reversed(scores)])
    return total / (positives + 1e-8)


def without_unknown(scores, truth):
    kept = [i for i in range(len(truth)) if truth[i] != -1]
    return [scores[i] for i in kept], [truth[i] for i in kept]


def ml_gcn_ap(scores, truth):
    right = count = total = 0.0
    for i in falling(scores):
        if truth[i] == -1:  # ML-GCN's own mark of a difficult one is 0
            continue
        count += 1
        if truth[i] == 1:
            right += 1
            total += right / count
    return total / right if right else NAN


def mmpretrain_ap(scores, truth):
    scores, truth = without_unknown(scores, truth)
    total, positives = mean_precision([truth[i] for i in falling(scores)])
    return total / max(positives, 1.2e-7)


def voc12_area(right, wrong, positives):
    """The area under the envelope of the curve; the counts are those after each image."""
    if positives == 0:
        return NAN
    recall = [0.0, *(r / positives for r in right), 1.0]
    precision = [0.0, *(r / max(r + w, 1e-300) for r, w in zip(right, wrong, strict=True)), 0.0]
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    steps = range(1, len(recall))
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in steps)


def running_counts(truth_in_order, absent):
    right = np.cumsum([has == 1 for has in truth_in_order]).tolist()
    wrong = np.cumsum([has in absent for has in truth_in_order]).tolist()
    return right, wrong


def srn_ap(scores, truth):
    """The rule of WIDER-Attribute, of which that of the other data sets is a case."""
    right, wrong = running_counts([truth[i] for i in falling(scores)], absent=(0,))
    return voc12_area(right, wrong, sum(has == 1 for has in truth))


def q2l_ap(scores, truth):
    right, wrong = running_counts([truth[i] for i in falling(scores)], absent=(0, -1))
    return voc12_area(right, wrong, sum(has == 1 for has in truth))


def voc07_ap(scores, truth):
    right, wrong = running_counts([truth[i] for i in falling(scores)], absent=(0,))
    positives = sum(has == 1 for has in truth)
    total = 0.0
    for tenth in range(11):
        reached = [
            r / (r + w)
            for r, w in zip(right, wrong, strict=True)
            if positives and r + w and 10 * r >= tenth * positives
        ]
        total += max(reached, default=0.0) / 11
    return total


def paddle_ap(scores, truth):
    """Precision times the rise in recall where recall rises."""
    count = sum(has == 1 for has in truth)
    if not count:
        return None
    right = before = area = 0.0
    for rank, i in enumerate(rising_reversed(scores), start=1):
        right += truth[i] == 1
        if abs(right / count - before) > 1e-6:
            area += right / rank * (right / count - before)
            before = right / count
    return area


def grouped_ap(scores, truth):
    """Steps over distinct scores; no positive gives None."""
    scores, truth = without_unknown(scores, truth)
    positives = sum(truth)
    if not positives:
        return None
    total = before = 0.0
    for cut in sorted(set(scores), reverse=True):
        taken = [has for score, has in zip(scores, truth, strict=True) if score >= cut]
        total += (sum(taken) - before) / positives * sum(taken) / len(taken)
        before = sum(taken)
    return total


def grouped_or_zero(scores, truth):
    return grouped_ap(scores, truth) or 0.0


AP = {
    "manylabel": grouped_ap,
    "srn": srn_ap,
    "asl": asl_ap,
    "ml-gcn": ml_gcn_ap,
    "csra": ml_gcn_ap,
    "q2l": q2l_ap,
    "c-tran": grouped_ap,
    "mmpretrain": mmpretrain_ap,
    "paddle": paddle_ap,
    "sklearn": grouped_or_zero,
    "torchmetrics": grouped_or_zero,
    "voc07": voc07_ap,
}
"""AP of one label; None: the label is left out of the mean."""


def slow_map(name, scores, targets):
    each = [AP[name](s.tolist(), t.tolist()) for s, t in zip(scores.T, targets.T, strict=True)]
    each = [ap for ap in each if ap is not None]
    return sum(each) / len(each) if each else NAN


# Decisions


def divide(part, whole, nothing):
    return part / whole if whole else nothing


def harmonic(p, r, zeros):
    return divide(2 * p * r, p + r, zeros) if p == p and r == r else NAN


def counts(said, truth, *, skip_unknown):
    """Right, predicted and present of each label."""
    rows = []
    for column, has in zip(said.T, truth.T, strict=True):
        pairs = [(s, h) for s, h in zip(column, has, strict=True) if h != -1 or not skip_unknown]
        rows.append(
            (
                sum(bool(s) and h == 1 for s, h in pairs),
                sum(bool(s) for s, _ in pairs),
                sum(h == 1 for _, h in pairs),
            )
        )
    return rows


def manylabel_six(said, truth):
    rows = counts(said, truth, skip_unknown=True)
    scored = [row for row in rows if row[2]]
    cp = divide(sum(divide(r, p, 0) for r, p, _ in scored), len(scored), NAN)
    cr = divide(sum(r / g for r, _, g in scored), len(scored), NAN)
    right, predicted, present = map(sum, zip(*rows, strict=True))
    op, o_r = divide(right, predicted, 0), divide(right, present, NAN)
    return cp, cr, harmonic(cp, cr, 0), op, o_r, harmonic(op, o_r, 0)


def srn_six(said, truth):
    eps = 2.0**-52

    def three(r, p, g):
        precision, recall = (r + eps) / (p + eps), (r + eps) / (g + eps) + eps
        return precision, recall, 2 * precision * recall / (precision + recall)

    rows = counts(said, truth, skip_unknown=False)
    pooled = three(*map(sum, zip(*rows, strict=True)))
    return *np.mean([three(*row) for row in rows], axis=0), *pooled


def asl_six(said, truth):
    rows = counts(said, truth, skip_unknown=False)
    p = [r / d if r else 0 for r, d, _ in rows]
    q = [r / g if r else 0 for r, _, g in rows]
    f = [2 * a * b / (a + b) if a else 0 for a, b in zip(p, q, strict=True)]
    right, predicted, present = map(sum, zip(*rows, strict=True))
    op, o_r = divide(right, predicted, NAN), divide(right, present, NAN)
    return *(sum(each) / len(rows) for each in (p, q, f)), op, o_r, harmonic(op, o_r, NAN)


def ml_gcn_six(said, truth):
    rows = [(r, p or 1, g) for r, p, g in counts(said, truth, skip_unknown=False)]
    cp = sum(r / p for r, p, _ in rows) / len(rows)
    cr = sum(divide(r, g, NAN) for r, _, g in rows) / len(rows)
    right, predicted, present = map(sum, zip(*rows, strict=True))
    op, o_r = right / predicted, divide(right, present, NAN)
    return cp, cr, harmonic(cp, cr, NAN), op, o_r, harmonic(op, o_r, NAN)


def c_tran_six(said, truth):
    """scikit-learn's figures, column by column: it takes a single column for two classes."""

    def binary(has, guess):
        return precision_recall_fscore_support(has, guess, average="binary", zero_division=0)[:2]

    has = truth == 1
    cp, cr = np.mean([binary(h, s) for h, s in zip(has.T, said.T, strict=True)], axis=0)
    op, o_r = binary(has.ravel(), said.ravel())
    return cp, cr, harmonic(cp, cr, NAN), op, o_r, harmonic(op, o_r, NAN)


def zero_six(said, truth):
    """mmpretrain's clamps, scikit-learn's zero_division=0 and torchmetrics' safe division."""
    rows = counts(said, truth, skip_unknown=True)

    def three(r, p, g):
        precision, recall = r / max(p, 1), r / max(g, 1)
        return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)

    pooled = three(*map(sum, zip(*rows, strict=True)))
    return *np.mean([three(*row) for row in rows], axis=0), *pooled


def top_three(scores):
    """The first three of a stable sort by falling score."""
    said = np.zeros(scores.shape, dtype=bool)
    for row, kept in zip(scores, said, strict=True):
        kept[falling(list(row))[:3]] = True
    return said


def three_known(scores, targets):
    """The best three of each image's labels whose truth is known."""
    taken = np.zeros(scores.shape, dtype=bool)
    for row, (score, truth) in enumerate(zip(scores, targets, strict=True)):
        known = [i for i in range(len(score)) if truth[i] != -1]
        taken[row, sorted(known, key=lambda i: (-score[i], i))[:3]] = True
    return taken


def c_tran_top(scores):
    third = np.sort(scores, axis=1)[:, max(-3, -scores.shape[1])][:, None]
    return np.where(scores < third, 0, scores) >= 0.5


DECIDED = {
    "manylabel": (lambda s: s >= 0.5, top_three, manylabel_six),
    "srn": (lambda s: s > 0.5, lambda s: top_three(s) & (s > 0.5), srn_six),
    "asl": (lambda s: s > s.dtype.type(0.8), None, asl_six),
    "ml-gcn": (lambda s: s >= 0.5, lambda s: top_three(s) & (s >= 0.5), ml_gcn_six),
    "csra": (lambda s: s >= 0.5, lambda s: np.where(top_three(s), s, 0) >= 0.5, ml_gcn_six),
    "c-tran": (lambda s: s >= 0.5, c_tran_top, c_tran_six),
    "mmpretrain": (lambda s: s >= 0.5, top_three, zero_six),
    "sklearn": (lambda s: s >= 0.5, None, zero_six),
    "torchmetrics": (lambda s: s > 0.5, None, zero_six),
}


def labels_of(scores):
    return LabelSpace(f"label {i}" for i in range(scores.shape[1]))


def assert_all_agree(scores, targets):
    for found in compare_profiles(scores, targets, labels_of(scores)):
        name = found.profile.name
        expected = slow_map(name, scores, targets)
        assert found.mAP == pytest.approx(expected, abs=1e-7, nan_ok=True), name
        by_threshold, best, six = DECIDED.get(name, (None, None, None))
        if name == "manylabel":
            best = partial(three_known, targets=targets)
        for decide, figures in ((by_threshold, found.all), (best, found.top3)):
            expected = six(decide(scores), targets) if decide and six else [NAN] * 6
            values = list(figures.as_dict().values())
            assert values == pytest.approx(list(expected), abs=1e-9, nan_ok=True), name


def case(seed=0, images=40, labels=7, decimals=1, unknown=0.0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    targets = (rng.random((images, labels)) < rng.uniform(0.05, 0.7, labels)).astype(np.int8)
    scores = 1 / (1 + np.exp(1 - rng.normal(size=targets.shape) - 2 * targets))
    targets[rng.random(targets.shape) < unknown] = -1
    return scores.round(decimals).astype(dtype), targets


def no_positive():
    scores, targets = case(1)
    targets[:, 2] = 0
    return scores, targets


def all_unknown_in_a_label():
    scores, targets = case(2, unknown=0.2)
    targets[:, 3] = -1
    return scores, targets


def never_predicted():
    scores, targets = case(3)
    scores[:, 1] *= 0.4
    return scores, targets


def bf16():
    scores, targets = case(4, images=300, labels=4, decimals=7)
    return torch.from_numpy(scores).bfloat16().float().numpy(), targets


CASES = {
    "distinct": case(decimals=7),
    "ties": case(),
    "ties, unknown": case(unknown=0.3),
    "float64": case(dtype=np.float64),
    "no positive": no_positive(),
    "all unknown in a label": all_unknown_in_a_label(),
    "all unknown": (case()[0], np.full((40, 7), -1, np.int8)),
    "nothing predicted": (case()[0] * np.float32(0.4), case()[1]),
    "never predicted": never_predicted(),
    "all positive": (case()[0], np.ones((40, 7), np.int8)),
    "all absent": (case()[0], np.zeros((40, 7), np.int8)),
    "nothing right": (np.where(case()[1] == 1, 0.1, 0.9).astype(np.float32), case()[1]),
    "all equal": (np.full((40, 7), 0.5, np.float32), case()[1]),
    "one image": case(images=1),
    "one label": case(labels=1),
    "two labels": case(labels=2, unknown=0.2),
    "ten positives": case(images=25, labels=3, seed=8, decimals=3),
    "bf16": bf16(),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_projects_own_definition(name):
    scores, targets = CASES[name]
    if name.startswith("ten"):
        targets = np.zeros_like(targets)
        targets[:10] = 1  # recalls of exactly 0.1, 0.2 ..
    if name == "all unknown":  # PaddleClas alone says 0, which its profile says in words
        assert math.isnan(measure(scores, targets, labels_of(scores), profile="paddle").mAP)
    assert_all_agree(scores, targets)


@st.composite
def tables(draw):
    images, labels = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    score = st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.8, 0.8125, 1.0])
    truth = st.sampled_from([1, 0, 0, -1])
    pick = lambda kind: [[draw(kind) for _ in range(labels)] for _ in range(images)]  # noqa: E731
    return np.array(pick(score), np.float32), np.array(pick(truth), np.int8)


@settings(max_examples=120, deadline=None, database=None, derandomize=True)
@given(tables())
def test_equals_it_on_whatever_is_tied_unknown_or_empty(table):
    assert_all_agree(*table)


def test_every_profile_has_a_transcription():
    assert list(AP) == list(PROFILES)
    assert set(DECIDED) == {name for name, each in PROFILES.items() if each.f1 is not None}


# The two libraries themselves


@pytest.mark.parametrize("name", ["distinct", "ties", "no positive", "never predicted", "bf16"])
def test_sklearn_equals_scikit_learn(name):
    scores, targets = CASES[name]
    found = measure(scores, targets, labels_of(scores), profile="sklearn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.mAP == pytest.approx(average_precision_score(targets, scores, average="macro"))
        averages = ("macro", "micro")
        six = [
            precision_recall_fscore_support(targets, scores >= 0.5, average=average)[:3]
            for average in averages
        ]
    assert list(found.all.as_dict().values()) == pytest.approx([*six[0], *six[1]])


@pytest.mark.parametrize(
    "name", ["distinct", "ties", "ties, unknown", "no positive", "never predicted", "bf16"]
)
def test_torchmetrics_equals_torchmetrics(name):
    from torchmetrics.functional import classification as theirs

    scores, targets = CASES[name]
    found = measure(scores, targets, labels_of(scores), profile="torchmetrics")
    given = torch.from_numpy(scores), torch.from_numpy(targets).long(), scores.shape[1]
    ignore = -1 if "unknown" in name else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ap = theirs.multilabel_average_precision(*given, thresholds=None, ignore_index=ignore)
        six = [
            function(*given, average=average, ignore_index=ignore).item()
            for average in ("macro", "micro")
            for function in (
                theirs.multilabel_precision,
                theirs.multilabel_recall,
                theirs.multilabel_f1_score,
            )
        ]
    assert found.mAP == pytest.approx(ap.item(), abs=1e-6)
    assert list(found.all.as_dict().values()) == pytest.approx(six, abs=1e-6)
