import json
from pathlib import Path

import numpy as np
import pytest

from manylabel.data.records import Record, Records
from manylabel.data.splits.drift import drift, drift_of
from manylabel.labels import LabelSpace

# Eight images, six in the first split. "even" has 3 of 4 there, "torn" 2 of 2, "none" nothing.
TARGETS = np.array(
    [
        [1, 1, 0],
        [1, 1, 0],
        [1, 0, -1],
        [0, -1, 0],
        [0, 0, 0],
        [-1, 0, 0],
        [1, 0, 0],
        [0, -1, 0],
    ],
    dtype=np.int8,
)
SPLITS = np.array([0, 0, 0, 0, 0, 0, 1, 1])


def found():
    return drift(TARGETS, SPLITS, labels=["even", "torn", "none"], splits=["train", "test"])


def test_by_hand():
    result = found()
    assert result.images.tolist() == [6, 2]
    assert result.positives.tolist() == [[3, 2, 0], [1, 0, 0]]
    assert result.of_labels.tolist() == pytest.approx([0, 0.25, np.nan], nan_ok=True)
    assert (result.mean, result.worst) == (0.125, 0.25)
    assert result.missing() == ["torn"]


def test_as_json():
    told = json.loads(json.dumps(found().as_dict(), allow_nan=False))
    assert told["images"] == {"train": 6, "test": 2}
    assert told["labels"]["torn"] == {"positives": {"train": 2, "test": 0}, "drift": 0.25}
    assert told["labels"]["none"]["drift"] is None
    assert (told["mean"], told["worst"], told["missing"]) == (0.125, 0.25, ["torn"])


def test_as_a_table():
    assert found().table().splitlines() == [
        "        train  test   drift",
        "images      6     2",
        "torn        2     0  25.00%",
        "even        3     1   0.00%",
        "none        0     0       -",
        "Drift of 3 labels: mean 12.50%, worst 25.00%.",
        "Labels without a positive in some split: 1 (torn).",
    ]


def test_the_table_shows_the_ten_worst():
    targets = np.zeros((26, 13), dtype=np.int8)
    for c in range(13):
        targets[c : c + 13 - c, c] = 1  # label c has 13 - c positives, all in the first half
        targets[13 : 13 + c, c] = 1
    result = drift(targets, np.repeat([0, 1], 13), labels=[f"l{c}" for c in range(13)], splits="ab")
    lines = result.table().splitlines()
    expected = sorted(range(13), key=lambda c: -abs((13 - c) / 13 - 0.5))[:10]
    assert [line.split()[0] for line in lines[2:12]] == [f"l{c}" for c in expected]
    assert "the 10 worst are shown." in lines[12]


def test_without_any_positive():
    targets, splits = np.zeros((4, 2), dtype=np.int8), np.array([0, 0, 1, 1])
    nothing = drift(targets, splits, labels="xy", splits="ab")
    assert (nothing.mean, nothing.worst, nothing.missing()) == (0, 0, [])


def test_of_records_leaves_out_what_has_no_split():
    names = ["train", "train", "test", None]
    targets = np.array([[1], [0], [1], [1]], dtype=np.int8)
    items = tuple(
        Record(f"{i}.jpg", Path(f"{i}.jpg"), targets[i], split=names[i]) for i in range(4)
    )
    result = drift_of(Records.of(LabelSpace(["a"]), items, "x.csv"))
    assert result.splits == ("train", "test")
    assert result.images.tolist() == [2, 1]
    assert result.positives.tolist() == [[1], [1]]
