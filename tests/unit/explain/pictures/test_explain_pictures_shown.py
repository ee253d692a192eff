"""What a picture shows: which labels, in which order, and whether they are right."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from manylabel.data.records import Box
from manylabel.evidence import CLASS_ACTIVATION
from manylabel.explain import Explanation
from manylabel.explain.pictures.shown import (
    Truth,
    about,
    best_labels,
    choose_labels,
    image_shown,
    open_shown,
)
from manylabel.predict import Predictor


@pytest.mark.parametrize(
    ("scores", "thresholds", "most", "expected"),
    [
        ([0.9, 0.1, 0.6, 0.3, 0.2], 0.5, 11, [0, 2, 3]),  # two predicted, filled up to three
        ([0.9, 0.8, 0.6, 0.7, 0.2], 0.5, 11, [0, 1, 3, 2]),  # four predicted
        ([0.9, 0.8, 0.6, 0.7, 0.2], 0.5, 3, [0, 1, 3]),
        ([0.5, 0.4], 0.5, 11, [0, 1]),  # fewer labels than three
        ([0.9, 0.2, 0.6, 0.4], [0.95, 0.1, 0.5, 0.5], 11, [0, 2, 1]),  # by score in the picture
        ([0.9, 0.2, 0.6, 0.4], [0.95, 0.1, 0.5, 0.5], 2, [2, 1]),  # predicted ones are chosen first
        ([0.5, 0.5, 0.5, 0.5], 0.6, 11, [0, 1, 2]),
    ],
)
def test_labels_worth_showing(scores, thresholds, most, expected):
    least = min(3, most)
    limits = np.broadcast_to(np.array(thresholds), len(scores))
    decided = np.array(scores) >= limits
    assert choose_labels(np.array(scores), decided, least=least, most=most) == expected


def test_missed_labels_are_shown_too():
    scores, decided = np.array([0.9, 0.05, 0.3, 0.2, 0.1]), np.array([True] + [False] * 4)
    present = np.array([True, True, False, False, False])
    assert choose_labels(scores, decided, least=1) == [0]
    assert choose_labels(scores, decided, present, least=1) == [0, 1]
    assert choose_labels(scores, decided, present, least=3) == [0, 2, 1]


def test_best_labels():
    assert best_labels(np.array([0.2, 0.9, 0.9, 0.1]), 3) == [1, 2, 0]
    assert best_labels(np.array([0.2, 0.9]), 9) == [1, 0]


@pytest.fixture
def predictor(make_bundle, tmp_path):
    bundle = make_bundle(
        tmp_path / "b", labels=("cat", "dog", "owl", "cow", "bee"), thresholds=(0.5,) * 4 + (0.25,)
    )
    return Predictor.load(bundle, device="cpu")


def explained() -> Explanation:
    """Cat, owl and bee are predicted."""
    scores = np.array([0.9, 0.1, 0.7, 0.2, 0.3])
    maps = np.arange(5 * 4, dtype=float).reshape(5, 2, 2) - 3
    maps[3] = -1
    decided = np.array([True, False, True, False, True])
    return Explanation(scores, decided, maps, "cam", CLASS_ACTIVATION, tuple(range(5)))


def shown(predictor, columns, targets=None, boxes=()):
    opened = open_shown(Image.new("RGB", (30, 20)), "a.png")
    truth = None if targets is None else Truth(np.array(targets, dtype=np.int8), boxes)
    return image_shown(predictor, opened, explained(), columns, truth)


def test_what_is_said_of_each_label(predictor):
    labels = shown(predictor, [0, 2, 4, 3, 1], [1, 1, 0, 0, -1]).labels
    assert [(each.name, each.said, each.right) for each in labels] == [
        ("cat", "found", True),
        ("owl", "wrongly predicted", False),
        ("bee", "predicted, truth unknown", None),
        ("cow", "rightly not predicted", True),
        ("dog", "missed", False),
    ]
    assert [each.threshold for each in labels] == [0.5, 0.5, 0.25, 0.5, 0.5]
    assert [each.score for each in labels] == [0.9, 0.7, 0.3, 0.2, 0.1]


def test_without_truth_nothing_is_right_or_wrong(predictor):
    found = shown(predictor, [0, 1])
    assert [(each.said, each.right) for each in found.labels] == [
        ("predicted", None),
        ("not predicted", None),
    ]
    assert found.present is None
    assert found.summary == "3 labels are predicted."


def test_the_summary_names_the_truth(predictor):
    assert shown(predictor, [0], [1, 1, 0, 0, 0]).summary == (
        "3 labels are predicted. In the data: cat, dog."
    )
    assert shown(predictor, [0], [0] * 5).summary.endswith("In the data: no label.")


def test_each_map_is_scaled_by_its_own_maximum(predictor):
    strengths = shown(predictor, [4, 0, 3]).strengths
    assert strengths[0].tolist() == [[13 / 16, 14 / 16], [15 / 16, 1]]
    assert strengths[1].tolist() == [[0, 0], [0, 0]]  # -3 to 0: nothing speaks for it
    assert not strengths[2].any()


def test_a_label_has_its_own_boxes(predictor):
    boxes = (Box("cat", 0, 0, 0.5, 0.5), Box("dog", 0, 0, 1, 1), Box("cat", 0.5, 0.5, 1, 1))
    found = shown(predictor, [0, 1, 2], [1, 1, 0, 0, 0], boxes)
    assert [len(each.boxes) for each in found.labels] == [2, 1, 0]
    assert found.boxes == boxes


def test_maps_of_some_labels_only_are_found_by_their_columns(predictor):
    whole = explained()
    part = Explanation(
        whole.scores, whole.decided, whole.maps[[4, 2]], "cam", CLASS_ACTIVATION, (4, 2)
    )
    opened = open_shown(Image.new("RGB", (30, 20)), "a.png")
    found = image_shown(predictor, opened, part, [2, 4])
    assert [each.name for each in found.labels] == ["owl", "bee"]
    assert np.array_equal(found.strengths, shown(predictor, [2, 4]).strengths)


def test_a_large_image_is_shrunk_but_its_size_is_told():
    opened = open_shown(Image.new("RGB", (300, 20), "red"), "wide.png", largest=100)
    assert opened.image.size == (100, 7)
    assert opened.size == (300, 20)
    assert open_shown(Image.new("RGB", (3000, 8)), "line.png", largest=100).image.size == (100, 1)


def test_limits_of_the_number_of_labels_are_told(predictor, make_bundle, tmp_path):
    assert not about(predictor, explained()).limited
    limited = Predictor.load(make_bundle(tmp_path / "limited", at_most=1), device="cpu")
    assert about(limited, explained()).limited
    assert about(predictor, explained()).grid == (2, 2)
