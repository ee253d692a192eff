"""The tables of labels: what is written is read back by our readers and by the csv module."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from manylabel.data.read import DataSource, read
from manylabel.data.records import Record, Records
from manylabel.errors import DataError
from manylabel.labelling.tables import (
    BEST,
    GIVEN,
    PREDICTED,
    TO_CHECK,
    Table,
    is_ours,
    read_ours,
    require_plain,
    write_examples,
)
from manylabel.labels import LabelSpace


def written(path, rows, scored=None):
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = Table(stream, scored)
        for row in rows:
            table.row(*row)
    return path


def test_examples_are_read_back_and_guesses_are_not(tmp_path):
    rows = [
        ("a.jpg", ["cat", "dog, small"], GIVEN),
        ("b b.jpg", [], TO_CHECK),
        ("c.jpg", ["cat"], PREDICTED),
        ("=d.jpg", ["=cat"], GIVEN),
    ]
    path = written(tmp_path / "t.csv", rows)
    assert is_ours(path)
    found, guesses = read_ours(path)
    assert found == [
        ("a.jpg", ("cat", "dog, small")),
        ("b b.jpg", ()),
        ("=d.jpg", ("=cat",)),
    ]
    assert guesses == 1


def test_a_spreadsheet_may_save_it_with_semicolons_and_capitals(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image;labels;source\r\na\\b.jpg; cat | dog ;Predicted\r\nc.jpg;cat;given\r\n")
    assert is_ours(path)
    assert read_ours(path) == ([("c.jpg", ("cat",))], 1)


def test_other_tables_are_not_ours(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image,labels\na.jpg,cat\n")
    assert not is_ours(path)
    assert not is_ours(Path("folder"))


def test_a_row_without_an_image_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image,labels,source\na.jpg,cat,given\n,cat,given\n")
    with pytest.raises(DataError, match="no image") as caught:
        read_ours(path)
    assert caught.value.where.endswith("line 3")


def test_scores_have_a_column_for_each_label_that_is_taken_for_nothing_else(tmp_path):
    """A label may be called "split" or "mask": its scores are no splits and no masks."""
    scored = LabelSpace(["cat", "split", "mask"])
    scores = np.array([0.25, 0.75, 0.5], dtype=np.float32)
    rows = [("a.jpg", ["split"], PREDICTED, scores), ("b.jpg", ["cat", "mask"], GIVEN, None)]
    path = written(tmp_path / "t.csv", rows, scored)
    with path.open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["score: split"], second["score: split"]) == ("0.7500", "")
    records = read(DataSource(path=path))
    assert [records.labels.decode(row) for row in records.targets] == [["split"], ["cat", "mask"]]
    assert records.split_counts() == {}


def test_of_many_labels_the_best_scores_are_written():
    stream, scored = io.StringIO(), LabelSpace.numbered(60)
    scores = np.linspace(0, 1, 60, dtype=np.float32)
    Table(stream, scored).row("a.jpg", ["60"], PREDICTED, scores)
    header, row = list(csv.reader(io.StringIO(stream.getvalue())))
    assert header == ["image", "labels", "source", "best scores"]
    best = row[3].split(" | ")
    assert best[0] == "60 1.0000"
    assert [each.split()[0] for each in best] == [str(60 - i) for i in range(BEST)]


def test_unknown_targets_of_examples_stay_unknown(tmp_path):
    items = [
        Record("a.jpg", tmp_path / "a.jpg", np.array([1, -1], dtype=np.int8)),
        Record("b.jpg", tmp_path / "b.jpg", np.array([0, 1], dtype=np.int8)),
    ]
    records = Records.of(LabelSpace(["cat", "dog"]), items, "t")
    path = tmp_path / "examples.csv"
    with path.open("w", newline="") as stream:
        write_examples(stream, records)
    assert read(DataSource(path=path)).targets.tolist() == [[1, -1], [0, 1]]


def test_a_label_with_the_mark_is_refused():
    with pytest.raises(DataError, match="stands between labels"):
        require_plain(LabelSpace(["a|b", "c"]), "t.csv")
