"""The figures of planted relations, on rankings and tables made by hand."""

from __future__ import annotations

import pytest

from benchmarks.planted_relations import PLACED, PLANTED, measured, precision_at, ranking
from manylabel.data.synthetic.rules import LABELS


def pair(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_what_is_planted_is_what_the_rules_say():
    assert len(PLANTED) == 12
    assert {pair("bird", "boat"), pair("bird", "fish"), pair("tree", "signal")} <= PLANTED
    assert pair("balloon", "windmill") not in PLANTED
    assert set(PLACED) == {"bird", "fish", "cloud", "pond"}


def test_the_first_k_count():
    ranked = [pair("bird", "boat"), pair("balloon", "boat"), pair("fish", "boat")]
    assert precision_at(ranked, PLANTED, 1) == 1
    assert precision_at(ranked, PLANTED, 2) == 0.5
    assert precision_at(ranked, PLANTED, 3) == pytest.approx(2 / 3)


def test_the_stronger_direction_of_a_pair_counts():
    rows = [
        {"other": "a", "label": "b", "x": "1"},
        {"other": "b", "label": "a", "x": "-5"},
        {"other": "a", "label": "c", "x": "3"},
    ]
    found = ranking(rows, lambda row: abs(float(row["x"])))
    assert found == [pair("a", "b"), pair("a", "c")]


def table(planted: float, others: float, upward: dict[str, float]) -> list[dict[str, str]]:
    """A row for each pair: one number if it is planted, and another one if not."""
    numbers = ("phi", "support", "put_out", "put_in")
    return [
        {
            "other": b,
            "label": a,
            **{name: str(planted if pair(a, b) in PLANTED else others) for name in numbers},
            "above_minus_below": str(upward.get(a, 0)),
            "p_above_below": "0.01",
        }
        for a in LABELS
        for b in LABELS
        if a != b
    ]


def test_a_perfect_table_and_one_upside_down():
    upward = {"bird": -1.0, "fish": 1.0, "cloud": -2.0, "pond": -0.5}
    perfect = measured(table(-2, 1, upward))
    assert set(map(tuple, perfect["precision"].values())) == {(1, 1, 1)}
    assert perfect["chance"] == pytest.approx(12 / 105)
    right = {name: each["lies"] == each["helps"] for name, each in perfect["places"].items()}
    assert right == {"bird": True, "fish": True, "cloud": True, "pond": False}
    assert set(map(tuple, measured(table(1, 2, upward))["precision"].values())) == {(0, 0, 0)}
