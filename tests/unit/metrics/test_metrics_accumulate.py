from __future__ import annotations

import numpy as np
import pytest

from manylabel.errors import DataError
from manylabel.metrics import ScoreTable

KEYS = [f"{i}.jpg" for i in range(10)]
SCORES = np.arange(20, dtype=np.float32).reshape(10, 2) / 20
TARGETS = (np.arange(20).reshape(10, 2) % 3 - 1).astype(np.int8)


def filled(batches: list[list[int]]) -> ScoreTable:
    table = ScoreTable()
    for rows in batches:
        table.add([KEYS[row] for row in rows], SCORES[rows], TARGETS[rows])
    return table


@pytest.mark.parametrize(
    "batches",
    [
        [list(range(10))],
        [[9, 3, 1], [0, 2, 4, 5], [8, 7, 6]],
        # Two processes of alternating images, the last batch filled up from the start.
        [[0, 2, 4], [1, 3, 5], [6, 8, 0], [7, 9, 1]],
        [[4, 4, 0, 1, 2, 3], [5, 6, 7, 8, 9]],
    ],
    ids=["one batch", "any order", "two processes, padded", "twice in a batch"],
)
def test_comes_out_in_the_order_of_the_data_set(batches):
    table = filled(batches)
    scores, targets = table.finish(KEYS)
    np.testing.assert_array_equal(scores, SCORES)
    np.testing.assert_array_equal(targets, TARGETS)
    assert scores.dtype == np.float32
    assert targets.dtype == np.int8
    assert len(table) == 10


def test_the_first_scores_of_a_repeated_image_are_kept():
    table = ScoreTable()
    table.add(["a"], [[0.1]], [[1]])
    table.add(["a", "b"], [[0.9], [0.2]], [[1], [0]])
    scores, _ = table.finish(["a", "b"])
    assert scores.tolist() == [[0.1], [0.2]]


@pytest.mark.parametrize("second", [["b", "a"], ["b", "b"]])
def test_a_repeated_image_is_refused_where_declared_and_nothing_is_taken(second):
    table = ScoreTable(repeats="refuse")
    table.add(["a"], [[0.1]], [[1]])
    with pytest.raises(DataError, match="scored twice") as caught:
        table.add(second, [[0.9], [0.2]], [[1], [0]])
    assert caught.value.where == second[1]
    assert table.finish(["a"])[0].tolist() == [[0.1]]


def test_an_image_that_was_not_scored_is_noticed():
    with pytest.raises(AssertionError, match=r"1 of 10 images were not scored: \['9.jpg'\]"):
        filled([[0, 1, 2, 3, 4, 5, 6, 7, 8]]).finish(KEYS)


def test_an_image_of_another_data_set_is_noticed():
    with pytest.raises(AssertionError, match=r"1 images are not of the data set: \['9.jpg'\]"):
        filled([list(range(10))]).finish(KEYS[:9])


def test_keys_that_are_not_unique_are_noticed():
    with pytest.raises(AssertionError, match="not unique"):
        filled([[0, 1]]).finish([KEYS[0], KEYS[1], KEYS[0]])


def test_a_score_that_is_no_number_names_its_image():
    with pytest.raises(DataError) as caught:
        ScoreTable().add(["a.jpg", "b.jpg"], [[0.1], [np.nan]], [[0], [1]])
    assert "image b.jpg, label 0: nan" in caught.value.where


def test_a_target_that_is_none_names_its_image():
    with pytest.raises(DataError) as caught:
        ScoreTable().add(["a.jpg", "b.jpg"], [[0.1], [0.2]], [[0], [3]])
    assert "image b.jpg, label 0: 3" in caught.value.where


def test_keys_scores_and_targets_must_go_together():
    with pytest.raises(AssertionError):
        ScoreTable().add(["a"], [[0.1], [0.2]], [[0], [1]])


def test_scores_and_targets_must_have_the_same_labels():
    with pytest.raises(DataError, match=r"scores are \[1, 2\], the targets \[1, 1\]"):
        ScoreTable().add(["a"], [[0.1, 0.2]], [[0]])
