"""Where boxes lie, by cases made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from manylabel.data.records import Box, Record, Records
from manylabel.explain.relations.places import WHERE, places_in_data, where
from manylabel.labels import LabelSpace

LABELS = LabelSpace(["boat", "bird", "sail"])


def box(label: str, left: float, top: float, right: float, bottom: float) -> Box:
    return Box(label, left, top, right, bottom)


BOAT = box("boat", 0.4, 0.4, 0.6, 0.6)


@pytest.mark.parametrize(
    ("corners", "word"),
    [
        ((0.4, 0.1, 0.6, 0.3), "above"),
        ((0.4, 0.7, 0.6, 0.9), "below"),
        ((0.1, 0.4, 0.3, 0.6), "left"),
        ((0.7, 0.4, 0.9, 0.6), "right"),
        ((0.9, 0.1, 1.0, 0.3), "above"),  # far to the side, but no row is shared
        ((0.7, 0.5, 0.9, 0.7), "right"),  # half of the rows are shared
        ((0.42, 0.25, 0.58, 0.45), "above"),  # a quarter of the rows: a rider on a horse
        ((0.4, 0.3, 0.6, 0.5), "above"),  # half of both is shared: the centres decide
        ((0.45, 0.45, 0.55, 0.55), "inside"),
        ((0.3, 0.3, 0.7, 0.7), "around"),
    ],
)
def test_where(corners, word):
    assert where(box("bird", *corners), BOAT) == word


def test_two_equal_boxes_are_inside_one_another():
    assert where(BOAT, BOAT) == "inside"


def records(*boxes: tuple[Box, ...]) -> Records:
    items = (
        Record(str(i), Path(f"{i}.png"), np.zeros(3, dtype=np.int8), boxes=each)
        for i, each in enumerate(boxes)
    )
    return Records.of(LABELS, items, source="hand")


ABOVE, BELOW = box("bird", 0.4, 0.1, 0.5, 0.2), box("bird", 0.4, 0.8, 0.5, 0.9)


def test_each_image_counts_once_by_the_nearest_boxes():
    far = box("bird", 0.0, 0.9, 0.1, 1.0)
    found = places_in_data(records((BOAT, ABOVE, far), (BOAT, ABOVE), (BOAT, BELOW), (BOAT,)))
    assert found is not None
    counts = dict(zip(WHERE, found.counts[1, 0].tolist(), strict=True))
    assert counts == {"above": 2, "below": 1, "left": 0, "right": 0, "inside": 0, "around": 0}
    back = dict(zip(WHERE, found.counts[0, 1].tolist(), strict=True))
    assert (back["below"], back["above"]) == (2, 1)
    assert found.words(1, 0) == "above (2 of 3)"
    assert found.words(2, 0) == ""


def test_always_above_is_significant_and_as_often_below_is_not():
    always = places_in_data(records(*[(BOAT, ABOVE)] * 12))
    mixed = places_in_data(records(*[(BOAT, ABOVE)] * 6, *[(BOAT, BELOW)] * 6))
    assert always is not None
    assert mixed is not None
    assert always.p[0, 1] == pytest.approx(2 / 2**12)
    assert mixed.p[0, 1] == 1
    assert np.isnan(always.p[0, 2])


def test_without_boxes_of_two_labels_there_is_nothing():
    assert places_in_data(records((), ())) is None
    assert places_in_data(records((BOAT,), (ABOVE,))) is None


def test_boxes_of_other_labels_are_left_out():
    assert places_in_data(records((BOAT, box("ufo", 0, 0, 1, 1)))) is None
