from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import multilabel_average_precision

from manylabel.errors import DataError
from manylabel.metrics import average_precision, average_precision_interpolated

BOTH = [average_precision, average_precision_interpolated]


def draw(seed: int, images: int = 200, labels: int = 12, dtype=np.float32):
    """Long-tailed targets with unknowns, and scores that know something about them."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0.02, 0.6, size=labels)
    targets = (rng.random((images, labels)) < rate).astype(np.int8)
    targets[0] = 1  # each label has a positive
    logits = rng.normal(size=(images, labels)) + 1.5 * targets
    return (1 / (1 + np.exp(-logits))).astype(dtype), targets


def as_bf16(scores):
    return torch.from_numpy(scores).bfloat16().float().numpy()


def hide(targets, seed: int, share: float = 0.3):
    """Some targets made unknown; the first image, which has every label, is kept."""
    rng = np.random.default_rng(seed)
    hidden = rng.random(targets.shape) < share
    hidden[0] = False
    return np.where(hidden, -1, targets).astype(np.int8)


def grouped_by_loop(scores, targets) -> float:
    """Sum over the distinct scores, high to low, of precision times the rise in recall."""
    pairs = [(s, t) for s, t in zip(scores, targets, strict=True) if t != -1]
    positives = sum(t for _, t in pairs)
    total = recall_before = 0.0
    for cut in sorted({s for s, _ in pairs}, reverse=True):
        kept = [t for s, t in pairs if s >= cut]
        recall = sum(kept) / positives
        total += (recall - recall_before) * sum(kept) / len(kept)
        recall_before = recall
    return total


def interpolated_by_loop(scores, targets) -> float:
    """Area under the precision envelope, image by image in the stable order of the scores."""
    pairs = [(s, t) for s, t in zip(scores, targets, strict=True) if t != -1]
    pairs.sort(key=lambda pair: -pair[0])  # Python's sort is stable
    positives = sum(t for _, t in pairs)
    recall, precision, right = [0.0], [0.0], 0
    for rank, (_, target) in enumerate(pairs, start=1):
        right += target
        recall.append(right / positives)
        precision.append(right / rank)
    return sum((recall[i] - recall[i - 1]) * max(precision[i:]) for i in range(1, len(recall)))


@pytest.mark.parametrize("rounded", [None, 2, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", [0, 1])
def test_grouped_equals_scikit_learn(seed, dtype, rounded):
    scores, targets = draw(seed, dtype=dtype)
    if rounded is not None:
        scores = scores.round(rounded)
    expected = average_precision_score(targets, scores, average=None)
    np.testing.assert_allclose(average_precision(scores, targets), expected, rtol=1e-12)


def test_grouped_equals_scikit_learn_on_bf16_scores_with_many_ties():
    scores, targets = draw(3, images=4000, labels=5)
    scores = as_bf16(scores)
    assert len(np.unique(scores[:, 0])) < 1000
    expected = average_precision_score(targets, scores, average=None)
    np.testing.assert_allclose(average_precision(scores, targets), expected, rtol=1e-12)


@pytest.mark.parametrize("unknown", [False, True])
def test_grouped_equals_torchmetrics(unknown):
    scores, targets = draw(4)
    scores = as_bf16(scores)
    if unknown:
        targets = hide(targets, seed=4)
    expected = multilabel_average_precision(
        torch.from_numpy(scores),
        torch.from_numpy(targets).long(),
        num_labels=targets.shape[1],
        average="none",
        thresholds=None,
        ignore_index=-1,
    )
    np.testing.assert_allclose(average_precision(scores, targets), expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("rounded", [6, 1])
@pytest.mark.parametrize(
    ("function", "loop"),
    [
        (average_precision, grouped_by_loop),
        (average_precision_interpolated, interpolated_by_loop),
    ],
)
def test_equals_the_slow_transcription(function, loop, rounded, unknown):
    scores, targets = draw(5, images=60)
    scores = scores.round(rounded)
    if unknown:
        targets = hide(targets, seed=5)
    expected = [loop(s, t) for s, t in zip(scores.T, targets.T, strict=True)]
    np.testing.assert_allclose(function(scores, targets), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("scores", "targets", "grouped", "interpolated"),
    [
        ([0.9, 0.8, 0.1], [1, 1, 0], 1, 1),
        ([0.9, 0.8, 0.1], [1, 1, 1], 1, 1),
        ([0.9, 0.8, 0.1], [0, 0, 1], 1 / 3, 1 / 3),
        # Precision at the positives is 1/2 and 2/3; the envelope lifts the first to 2/3.
        ([0.9, 0.8, 0.7], [0, 1, 1], 7 / 12, 2 / 3),
        # One tie: grouped does not look at who comes first.
        ([0.5, 0.5], [1, 0], 1 / 2, 1),
        ([0.5, 0.5], [0, 1], 1 / 2, 1 / 2),
        # All tied: grouped gives the rate of positives.
        ([0.5, 0.5, 0.5, 0.5], [0, 1, 0, 0], 1 / 4, 1 / 2),
        # The unknown one on top is not there.
        ([0.9, 0.8, 0.1], [-1, 1, 0], 1, 1),
        ([0.9], [1], 1, 1),
        # Logits rank as well.
        ([3.0, -2.0, -5.0], [0, 1, 0], 1 / 2, 1 / 2),
    ],
)
def test_by_hand(scores, targets, grouped, interpolated):
    scores, targets = np.array(scores)[:, None], np.array(targets)[:, None]
    assert average_precision(scores, targets) == pytest.approx([grouped])
    assert average_precision_interpolated(scores, targets) == pytest.approx([interpolated])


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("column", [[0, 0], [-1, -1], [0, -1]])
def test_no_positive_is_nan_and_harms_no_other_label(function, column):
    targets = np.array([column, [1, 0]]).T
    result = function([[0.5, 0.9], [0.4, 0.1]], targets)
    np.testing.assert_array_equal(result, [np.nan, 1.0])


@pytest.mark.parametrize("function", BOTH)
def test_no_image_at_all_is_nan(function):
    result = function(np.zeros((0, 2)), np.zeros((0, 2), dtype=np.int8))
    np.testing.assert_array_equal(result, [np.nan, np.nan])


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_grouped_does_not_depend_on_the_order_of_the_images(data):
    row = st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.7]), st.sampled_from([1, 0, -1]))
    rows = data.draw(st.lists(row, min_size=1, max_size=20))
    shuffled = data.draw(st.permutations(rows))
    first, second = (
        average_precision(*(np.array(column)[:, None] for column in zip(*some, strict=True)))
        for some in (rows, shuffled)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("function", BOTH)
def test_does_not_change_its_arguments(function):
    scores, targets = draw(6)
    copies = scores.copy(), targets.copy()
    function(scores, targets)
    np.testing.assert_array_equal(scores, copies[0])
    np.testing.assert_array_equal(targets, copies[1])


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("targets", [np.array([[True], [False]]), np.array([[1.0], [0.0]])])
def test_takes_targets_of_any_numeric_type(function, targets):
    assert function([[0.2], [0.7]], targets) == pytest.approx([0.5])


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize(
    ("scores", "targets", "what", "where"),
    [
        (
            [[0.1, np.nan], [np.inf, 0.2]],
            [[1, 0], [0, 1]],
            "2 of 4 scores are NaN or infinite.",
            "image 0, label 1: nan; image 1, label 0: inf (counted from 0)",
        ),
        (
            [[0.1, 0.2]],
            [[2, -7]],
            "2 of 2 targets are not 1, 0 or -1.",
            "image 0, label 0: 2; image 0, label 1: -7 (counted from 0)",
        ),
        ([[0.1, 0.2]], [[0.5, np.nan]], "2 of 2 targets", "label 0: 0.5; image 0, label 1: nan"),
        (
            [[0.1, 0.2]],
            [[1], [0]],
            "The scores have the shape [1, 2], the targets [2, 1].",
            "scores and targets",
        ),
        ([0.1, 0.2], [[1, 0]], "The scores are not a table of numbers: shape [2]", "scores"),
        ([[0.1, 0.2]], [["cat", "dog"]], "The targets are not a table of numbers", "targets"),
    ],
)
def test_refuses_what_it_cannot_use(function, scores, targets, what, where):
    with pytest.raises(DataError) as caught:
        function(scores, targets)
    assert caught.value.what.startswith(what)
    assert where in caught.value.where


def test_an_error_names_three_at_most():
    with pytest.raises(DataError) as caught:
        average_precision(np.full((50, 2), np.nan), np.ones((50, 2)))
    assert caught.value.what.startswith("100 of 100")
    assert caught.value.where.count("nan") == 3
