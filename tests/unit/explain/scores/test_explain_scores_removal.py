"""Insertion and deletion of an engine whose score is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter
from toy_engine import LABELS, LEFT, RIGHT, SIDE, SPEC, checkerboard, record, toy_predictor

from manylabel.data.records import Records
from manylabel.explain.scores.pairs import measure_pairs
from manylabel.explain.scores.regions import BoxRegions
from manylabel.explain.scores.removal import (
    BLUR,
    RemovalPlan,
    area_under,
    blank,
    blur,
    measure_removal,
    ranks,
    removal_curves,
)
from manylabel.preprocess import InputSpec

STEPS = 16


def score(share: float) -> float:
    return 1 / (1 + math.exp(4 - 8 * share))


def own_first(t: float) -> float:
    """The share of the label's half that has gone or come, if it goes or comes first."""
    return min(1.0, 2 * t)


def own_last(t: float) -> float:
    return max(0.0, 2 * t - 1)


def area(curve) -> float:
    """Trapezoids, one by one."""
    points = [curve(k / STEPS) for k in range(STEPS + 1)]
    return sum((a + b) / 2 for a, b in zip(points[:-1], points[1:], strict=True)) / STEPS


@pytest.fixture
def records(tmp_path):
    items = [record(tmp_path, f"{i}.png", checkerboard(), (LEFT, RIGHT)) for i in range(3)]
    return Records.of(LABELS, items, "toy")


def test_removal_has_the_closed_form(records):
    predictor = toy_predictor(5)
    pairs, _ = measure_pairs(predictor, records, ["aim", "away"], lambda r: BoxRegions(r.boxes))
    found = measure_removal(predictor, records, pairs, RemovalPlan(steps=STEPS))
    assert found.images.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.labels.tolist() == [0, 1, 0, 1, 0, 1]
    for method, gone in ((0, own_first), (1, own_last)):
        deletion = area(lambda t, gone=gone: score(1 - gone(t)))
        insertion = area(lambda t, gone=gone: score(gone(t)))
        assert found.values["deletion"][:, method] == pytest.approx(deletion, abs=1e-3)
        assert found.values["insertion"][:, method] == pytest.approx(insertion, abs=1e-3)
    # A symmetrical map and a random one remove about as much of both halves.
    even = area(lambda t: score(1 - t))
    assert found.values["deletion"][:, 2] == pytest.approx(even, abs=0.02)
    assert found.values["deletion"][:, 3] == pytest.approx(even, abs=0.15)
    assert predictor.engine.largest == 5  # pyright: ignore[reportAttributeAccessIssue]


def test_some_pairs_have_the_values_that_they_have_among_all(records):
    predictor = toy_predictor()
    pairs, _ = measure_pairs(predictor, records, ["cam"], lambda r: BoxRegions(r.boxes))
    whole = measure_removal(predictor, records, pairs, RemovalPlan(steps=4))
    few = type(pairs)(pairs.images[[1, 4]], pairs.labels[[1, 4]], {}, pairs.methods)
    part = measure_removal(predictor, records, few, RemovalPlan(steps=4))
    assert part.images.tolist() == [0, 2]
    assert part.values["insertion"].tolist() == whole.values["insertion"][[1, 4]].tolist()
    other = measure_removal(predictor, records, few, RemovalPlan(steps=4, seed=1))
    assert other.values["insertion"][:, -1].tolist() != part.values["insertion"][:, -1].tolist()


def test_curves_begin_and_end_with_the_whole_images():
    order = ranks(np.zeros((SIDE, SIDE)), np.random.default_rng(0))
    curves = removal_curves(toy_predictor(), checkerboard(), 0, [order], 3)
    assert curves["deletion"].shape == curves["insertion"].shape == (1, 4)
    assert curves["deletion"][0, [0, -1]] == pytest.approx([score(1), score(0)])
    assert curves["insertion"][0, [0, -1]] == pytest.approx([score(0), score(1)])


def test_ranks_fall_with_the_map_and_equal_ones_are_shuffled():
    one = np.array([[1.0, 5.0, 1.0], [3.0, 1.0, 9.0]])
    found = ranks(one, np.random.default_rng(0))
    assert [found[1, 2], found[0, 1], found[1, 0]] == [0, 1, 2]
    assert sorted(found.ravel()) == list(range(6))
    firsts = {int(ranks(np.zeros((1, 4)), np.random.default_rng(s)).argmin()) for s in range(40)}
    assert firsts == {0, 1, 2, 3}


def test_areas_by_hand():
    assert area_under(np.array([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])).tolist() == [
        0.5,
        1.0,
        0.25,
    ]


def test_the_blank_image_is_what_the_model_takes_as_zero():
    spec = InputSpec(mean=(104, 117, 123), std=(1, 1, 1), colour_order="bgr", value_scale=1)
    assert blank((2, 2), spec)[0, 0].tolist() == [123, 117, 104]
    assert blank((1, 1), InputSpec()).tolist() == [[[124, 116, 104]]]
    assert (blank((2, 3), SPEC) == 128).all()


def test_the_blur_hides_details_and_follows_the_size():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR * 60))
    assert (blur(pixels) == np.asarray(expected)).all()
    assert np.abs(blur(checkerboard()).astype(int) - 128).max() < 16
