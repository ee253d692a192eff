"""The label graph beside plain loops, and files of label vectors, good and bad."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manylabel.errors import DataError
from manylabel.labels import LabelSpace
from manylabel.models.heads import ml_gcn as module
from manylabel.models.heads.ml_gcn import (
    conditional_probabilities,
    label_graph,
    read_label_vectors,
)

quick = settings(max_examples=60, deadline=None, database=None, derandomize=True)
matrices = st.integers(0, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([1, 1, 0, -1]), min_size=4, max_size=4), min_size=n, max_size=n
    ).map(lambda rows: np.array(rows, dtype=np.int8).reshape(-1, 4))
)


def by_counting(targets: np.ndarray) -> np.ndarray:
    """P(j | i), one pair of labels and one image at a time."""
    num_labels = targets.shape[1]
    result = np.zeros((num_labels, num_labels))
    for i in range(num_labels):
        for j in range(num_labels):
            known = [row[j] for row in targets if row[i] == 1 and row[j] != -1]
            result[i, j] = known.count(1) / len(known) if known else 0
    return result


def by_the_paper(probabilities: np.ndarray, tau: float, p: float) -> np.ndarray:
    """A' of P: binarised at tau, then re-weighted, an entry at a time."""
    num_labels = len(probabilities)
    result = np.zeros((num_labels, num_labels))
    for i in range(num_labels):
        linked = [j for j in range(num_labels) if j != i and probabilities[i, j] >= tau]
        result[i, i] = 1 - p
        for j in linked:
            result[i, j] = p / len(linked)
    return result


@quick
@given(matrices)
def test_probabilities_are_what_counting_gives(targets):
    np.testing.assert_allclose(conditional_probabilities(targets), by_counting(targets))


@quick
@given(matrices, st.sampled_from([0.2, 0.4, 0.5, 1.0]), st.sampled_from([0.0, 0.2, 0.9]))
def test_the_graph_is_the_papers(targets, tau, p):
    found = label_graph(targets, tau=tau, neighbour_weight=p)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_the_paper(by_counting(targets), tau, p), rtol=1e-6)


@quick
@given(matrices, st.permutations(range(4)))
def test_labels_in_another_order_are_the_same_graph(targets, order):
    graph = label_graph(targets, tau=0.4, neighbour_weight=0.2)
    moved = label_graph(targets[:, order], tau=0.4, neighbour_weight=0.2)
    np.testing.assert_array_equal(moved, graph[np.ix_(order, order)])


def test_by_hand():
    """Skis are always with a person, a person seldom with skis: the graph has a direction."""
    targets = np.zeros((10, 3), dtype=np.int8)
    targets[:, 0] = 1  # a person in every image
    targets[:2, 1] = 1  # skis in two; the third label is never seen
    probabilities = conditional_probabilities(targets)
    assert probabilities.tolist() == [[1, 0.2, 0], [1, 1, 0], [0, 0, 0]]
    graph = label_graph(targets, tau=0.4, neighbour_weight=0.2)
    np.testing.assert_allclose(graph, [[0.8, 0, 0], [0.2, 0.8, 0], [0, 0, 0.8]])


def test_unknown_targets_are_left_out():
    """Of three images with label 0, label 1 is known in one: there it is present."""
    targets = np.array([[1, 1], [1, -1], [1, -1], [-1, 1], [-1, 1]], dtype=np.int8)
    assert conditional_probabilities(targets).tolist() == [[1, 1], [1, 1]]


def test_more_images_than_are_counted_at_a_time():
    few = np.random.default_rng(0).integers(-1, 2, (97, 5)).astype(np.int8)
    many = np.tile(few, (130, 1))
    assert len(many) > 3 * module._ROWS
    np.testing.assert_allclose(conditional_probabilities(many), by_counting(few))


def test_examples():
    failed, tried = doctest.testmod(module, extraglobs={"np": np})
    assert (failed, tried) == (0, 3)


# ---- vectors ----------------------------------------------------------------------------------

LABELS = LabelSpace(["cat", "traffic light", "7"])
LINES = "traffic light 1 2.5 -3e-1\n\ncat\t0 0 1\nowl 9 9 9\n7 4 5 6\n"


def test_vectors_follow_the_labels(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text(LINES, encoding="utf-8")
    found = read_label_vectors(path, LABELS, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0, 0, 1], [1, 2.5, -0.3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        (LINES.replace("cat", "dog"), "1 of 3 labels have no vector: cat", None),
        (LINES.replace("cat\t0 0 1", "cat 0 0 1 1"), "no vector: cat", None),
        (LINES.replace("cat\t0 0 1", "cat 0 1"), "fewer than 3 numbers", 3),
        (LINES.replace("0 0 1", "0 x 1"), "'x' is not a finite number", 3),
        (LINES.replace("0 0 1", "0 nan 1"), "'nan' is not a finite number", 3),
        (LINES.replace("0 0 1", "0 1e300 1"), "'1e300' is not a finite number", 3),
        (LINES.replace("owl", "cat"), "two vectors for 'cat'", 4),
        ("", "3 of 3 labels", None),
    ],
)
def test_files_that_do_not_fit(tmp_path, text, what, line):
    path = tmp_path / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_label_vectors(path, LABELS, 3)
    assert what in caught.value.what
    assert caught.value.where == (str(path) if line is None else f"{path}, line {line}")
    assert "head.vector_size" in caught.value.fix or line == 4


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_label_vectors(tmp_path / "none.txt", LABELS, 3)
