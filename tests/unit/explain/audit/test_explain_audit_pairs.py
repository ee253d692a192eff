"""Usual companions against a slow count of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from manylabel.explain.audit import pairs as module
from manylabel.explain.audit.pairs import Pair, usual_companions


def counted(targets: np.ndarray, label: int, companion: int) -> Pair:
    cells = {(1, 1): 0, (1, 0): 0, (0, 1): 0, (0, 0): 0}
    for row in targets:
        cell = int(row[label]), int(row[companion])
        if cell in cells:
            cells[cell] += 1
    return Pair(label, companion, cells[1, 1], cells[1, 0], cells[0, 1], cells[0, 0])


def companions_by_hand(targets: np.ndarray, label: int, at_most: int) -> list[Pair]:
    found = []
    for other in range(targets.shape[1]):
        pair = counted(targets, label, other)
        if other != label and pair.both and pair.lift > 1 + 1e-12:
            found.append(pair)
    return sorted(found, key=lambda pair: pair.usual - pair.share)[:at_most]


@pytest.mark.parametrize("seed", range(3))
def test_equal_a_slow_count(seed, monkeypatch):
    monkeypatch.setattr(module, "_LABELS_AT_ONCE", 2)
    monkeypatch.setattr(module, "_IMAGES_AT_ONCE", 37)
    random = np.random.default_rng(seed)
    targets = random.choice([1, 0, -1], size=(200, 5), p=[0.4, 0.5, 0.1]).astype(np.int8)
    expected = [pair for label in range(5) for pair in companions_by_hand(targets, label, 2)]
    assert len(expected) >= 5
    assert usual_companions(targets, at_most=2) == expected
    assert usual_companions(targets, at_most=2, labels=[3]) == [p for p in expected if p.label == 3]


def test_lift_and_share_of_a_case_by_hand():
    # 4 images with the first label, 3 of them with the second; the second is in 4 of 10 images.
    pair = Pair(0, 1, both=3, label_only=1, companion_only=1, neither=5)
    assert (pair.share, pair.usual, pair.images) == (0.75, 0.4, 10)
    assert pair.lift == pytest.approx(1.875)


def test_labels_that_are_independent_or_never_seen_have_no_companion():
    together = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=np.int8)
    assert usual_companions(together, at_most=3) == []
    assert usual_companions(np.array([[0, 1], [0, 0]], dtype=np.int8), at_most=3) == []
    assert usual_companions(np.array([[-1, 1], [1, -1]], dtype=np.int8), at_most=3) == []
