"""Parquet tables, written by pyarrow itself and by pandas."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manylabel.data.readers.parquet import find_parquet, read_parquet
from manylabel.data.readers.table import read_table
from manylabel.data.records import Box
from manylabel.errors import DataError, MissingExtraError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def write(tmp_path):
    for name in ("a", "a.jpg", "0.jpg"):  # of the first images some have to be there
        (tmp_path / name).touch()

    def write_table(columns, metadata=None, **options):
        path = tmp_path / "photos.parquet"
        table = pyarrow.table(columns).replace_schema_metadata(metadata)
        parquet.write_table(table, path, **options)
        return path

    return write_table


def names(records):
    return {record.key: records.labels.decode(record.targets) for record in records}


def test_every_column(write, tmp_path):
    path = write(
        {
            "image": ["a.jpg", "sub\\b.jpg", "c.jpg"],
            "labels": [["dog", "cat"], [], ["dog"]],
            "unknown": [["owl"], ["dog", "cat"], []],
            "split": ["train", "valid", None],
            "group": [7, 7, None],
            "mask": ["m/a.png", None, None],
            "boxes": [
                [{"label": "dog", "left": 0.0, "top": 0.5, "right": 0.25, "bottom": 1.0}],
                [],
                None,
            ],
            "year": [1999, 2000, 2001],
        }
    )
    records = read_parquet(path)
    assert records.labels.names == ("cat", "dog", "owl")
    assert records.targets.tolist() == [[1, 1, -1], [-1, -1, 0], [0, 1, 0]]
    assert [r.key for r in records] == ["a.jpg", "sub/b.jpg", "c.jpg"]
    first, second, third = records
    assert first.image == tmp_path / "a.jpg"
    assert (first.split, first.group, first.mask) == ("train", "7", tmp_path / "m/a.png")
    assert first.boxes == (Box("dog", 0.0, 0.5, 0.25, 1.0),)
    assert (second.split, second.group, second.mask, second.boxes) == ("val", "7", None, ())
    assert (third.split, third.group) == (None, None)
    assert "Ignored columns: 'year'" in records.summary()


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array([True, False, None]),
        pyarrow.array([1, 0, -1], pyarrow.int8()),
        pyarrow.array([1, 0, None], pyarrow.int64()),
        pyarrow.array([1.0, 0.0, float("nan")]),
        pyarrow.array([1.0, 0.0, None], pyarrow.float32()),
    ],
)
def test_a_column_a_label(write, column):
    records = read_parquet(
        write({"path": ["a", "b", "c"], "dog": column, "cat": [0, 0, 1], "year": [5, 6, 1]})
    )
    assert records.labels.names == ("dog", "cat")
    assert records.targets.tolist() == [[1, 0], [0, 0], [-1, 1]]


def test_texts_are_split_as_those_of_a_csv_table(write, tmp_path):
    cells = ["cat| dog", "", "traffic light"]
    records = read_parquet(write({"image": ["a", "b", "c"], "tags": cells}))
    (tmp_path / "t.csv").write_text(
        "image,tags\n" + "".join(f"{i},{c}\n" for i, c in zip("abc", cells, strict=True))
    )
    assert records.fingerprint() == read_table(tmp_path / "t.csv").fingerprint()
    comma = write({"image": ["a"], "tags": ["x|y,z"]})
    assert read_parquet(comma, label_delimiter=",").labels.names == ("x|y", "z")


def test_categories_and_other_kinds_of_lists(write):
    category = pyarrow.array(["x", "y", None]).dictionary_encode()
    lists = pyarrow.array([["p"], ["q", "p"], []], pyarrow.large_list(pyarrow.large_string()))
    columns = {"image": ["a", "b", "c"], "one": category, "many": lists}
    assert names(read_parquet(write(columns), label_column="one")) == {
        "a": ["x"],
        "b": ["y"],
        "c": [],
    }
    assert names(read_parquet(write(columns), label_column="many")) == {
        "a": ["p"],
        "b": ["p", "q"],
        "c": [],
    }


def test_chunks_are_one_table(write):
    count = 1000
    rng = np.random.default_rng(0)
    lists = [[f"l{i}" for i in np.flatnonzero(row)] for row in rng.random((count, 6)) < 0.3]
    path = write({"image": [f"{i}.jpg" for i in range(count)], "labels": lists}, row_group_size=70)
    assert list(names(read_parquet(path)).values()) == lists


def test_metadata_orders_labels(write):
    columns = {"image": ["a"], "labels": [["x"]]}
    said = {"manylabel": json.dumps({"labels": ["z", "x", "never"]})}
    assert read_parquet(write(columns, said)).labels.names == ("z", "x", "never")
    with pytest.raises(DataError, match="'x' is not one of the 1"):
        read_parquet(write(columns, {"manylabel": json.dumps({"labels": ["z"]})}))
    for damaged in ("", "{", "[]", '{"labels": 3}', '{"labels": [3]}', "[" * 5000):
        with pytest.raises(DataError, match="metadata"):
            read_parquet(write(columns, {"manylabel": damaged}))


@pytest.mark.filterwarnings("ignore")  # pandas' own
def test_pandas_writes_what_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"file": ["a", "b"], "dog": pandas.array([1, None], "Int64"), "cat": [True, False]}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "b").touch()
    assert read_parquet(tmp_path / "t.parquet").targets.tolist() == [[1, 1], [-1, 0]]


def test_rows_of_one_image(write):
    records = read_parquet(write({"image": ["a", "b", "./a"], "labels": [["x"], [], ["x"]]}))
    assert list(records.keys) == ["a", "b"]
    assert "Rows that repeat another row, merged with it: 1" in records.summary()
    with pytest.raises(DataError, match="different labels") as raised:
        read_parquet(write({"image": ["a", "b", "a"], "labels": [["x"], [], []]}))
    assert raised.value.where.endswith("rows 1 and 3")


STRUCT = [{"bytes": b"1", "path": None}]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"image": STRUCT, "labels": [["x"]]}, "not the paths of images"),
        ({"image": [b"1"], "labels": [["x"]]}, "not the paths of images"),
        ({"image": ["a"], "labels": [None]}, "not labels"),
        ({"image": ["a", "b"], "labels": [["x"], None]}, "list of labels is null"),
        ({"image": ["a"], "labels": [["x", None]]}, "contains a null"),
        ({"image": ["a"], "labels": [[3]]}, "not names of labels"),
        ({"image": ["a"], "labels": [3.5]}, "not labels"),
        ({"image": ["a"], "labels": [["x"]], "unknown": [["x"]]}, "in both 'labels' and"),
        ({"image": ["a"], "labels": [["x"]], "unknown": ["x"]}, "does not hold lists"),
        ({"image": ["a"], "labels": [[]]}, "not strings|no labels"),
        ({"image": ["a"], "labels": [["x"]], "split": ["dev"]}, "'dev' is not a split"),
        ({"image": ["a"], "labels": [["x"]], "group": [1.5]}, "not strings"),
        ({"image": ["a", None], "labels": [["x"], []]}, "has no image"),
        ({"image": ["a", "b", "c"], "x": [1, 0, 2]}, "'2' is not a target"),
        ({"image": ["a"], "year": [1999]}, "No labels were found"),
        ({"labels": [["x"]]}, "No column of image paths"),
        ({"image": pyarrow.array([], pyarrow.string())}, "no rows"),
        (
            {
                "image": ["a"],
                "labels": [["x"]],
                "boxes": [[{"label": "y", "left": 0, "top": 0, "right": 1, "bottom": 1}]],
            },
            "a label of the data set",
        ),
        (
            {"image": ["a"], "labels": [["x"]], "boxes": [[{"label": "x", "left": 0}]]},
            "'top' is missing",
        ),
    ],
)
def test_what_is_wrong_is_said(write, columns, what):
    with pytest.raises(DataError, match=what) as raised:
        read_parquet(write(columns))
    assert "photos.parquet" in raised.value.where


def test_images_themselves_belong_to_another_reader(write):
    with pytest.raises(DataError) as raised:
        read_parquet(write({"image": STRUCT, "labels": [["x"]]}))
    assert "--format huggingface" in raised.value.fix


def test_images_are_looked_for(write, tmp_path):
    path = write({"image": ["x/b.jpg", "c.jpg"], "labels": [["x"], []]})
    with pytest.raises(DataError, match="None of the first 2 images was found") as raised:
        read_parquet(path)
    assert str(tmp_path) in raised.value.fix
    (tmp_path / "pics" / "x").mkdir(parents=True)
    (tmp_path / "pics" / "x" / "b.jpg").touch()
    records = read_parquet(path, images=tmp_path / "pics")
    assert records[1].image == tmp_path / "pics" / "c.jpg"


def test_lists_of_numbers_need_names(write, tmp_path):
    (tmp_path / "names.txt").write_text("dog\ncat\n", encoding="utf-8")
    path = write({"image": ["a", "b"], "labels": [[0, 1], [1.0, -1.0]]})
    records = read_parquet(path, label_names=tmp_path / "names.txt")
    assert records.labels.names == ("dog", "cat")
    assert records.targets.tolist() == [[0, 1], [1, -1]]
    path = write({"image": ["a", "b"], "labels": [[0, 1], [1]]})
    with pytest.raises(DataError, match="for each of the 2 labels") as raised:
        read_parquet(path, label_names=tmp_path / "names.txt")
    assert raised.value.where.endswith("row 2")


def test_whole_numbers_are_names_as_in_a_csv_table(write):
    assert names(read_parquet(write({"image": ["a", "b"], "label": [3, 17]}))) == {
        "a": ["3"],
        "b": ["17"],
    }


def test_missing_words_in_lists_are_no_labels(write):
    columns = {"image": ["a", "b"], "labels": [["x", "nan"], ["None"]]}
    records = read_parquet(write(columns))
    assert names(records) == {"a": ["x"], "b": []}
    assert "'None' 1, 'nan' 1" in records.summary()
    said = {"manylabel": json.dumps({"labels": ["None", "nan", "x"]})}
    assert names(read_parquet(write(columns, said))) == {"a": ["nan", "x"], "b": ["None"]}


def test_settings_that_do_not_fit(write):
    path = write({"image": ["a"], "labels": [["x"]]})
    with pytest.raises(DataError, match="no column 'lables'"):
        read_parquet(path, label_column="lables")
    with pytest.raises(DataError, match="need no delimiter"):
        read_parquet(path, label_delimiter=",")


def test_which_file_is_found(tmp_path):
    assert find_parquet(tmp_path) is None
    (tmp_path / "a.parquet").touch()
    assert find_parquet(tmp_path) == find_parquet(tmp_path / "a.parquet") == tmp_path / "a.parquet"
    (tmp_path / "b.parquet").touch()
    assert find_parquet(tmp_path) is None
    with pytest.raises(DataError, match="does not exist"):
        read_parquet(tmp_path / "c.parquet")


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError) as raised:
        read_parquet(tmp_path / "a.parquet")
    assert "pip install -e '.[parquet]'" in raised.value.fix


COLUMNS = {
    "image": ["a.jpg", "b.jpg"],
    "labels": [["x", "y"], []],
    "unknown": [[], ["x"]],
    "boxes": [[{"label": "x", "left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0}], []],
}


def test_every_cut_is_noticed(write):
    path = write(COLUMNS)
    content = path.read_bytes()
    for size in range(0, len(content), 29):
        path.write_bytes(content[:size])
        with pytest.raises(DataError):
            read_parquet(path)


def test_a_name_that_was_changed_on_disk_is_noticed(write):
    path = write(
        {"image": ["a"], "labels": [["elephant"]]},
        write_page_checksum=True,
        compression="none",
        write_statistics=False,
    )
    path.write_bytes(path.read_bytes().replace(b"elephant", b"elefhant"))
    with pytest.raises(DataError, match="cannot be read"):
        read_parquet(path)


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_files(write, data):
    path = write(COLUMNS, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 1))] = bytes([data.draw(st.integers(0, 255))])
    path.write_bytes(content)
    try:
        records = read_parquet(path)
    except DataError:
        return
    assert len(records) == 2
    assert set(records.targets.flatten().tolist()) <= {-1, 0, 1}
