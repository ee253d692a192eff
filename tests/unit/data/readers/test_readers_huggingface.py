"""Hugging Face data sets, made by their own library."""

from __future__ import annotations

import io
import pickle
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from manylabel.data.readers.huggingface import ArrowImage, find_huggingface, read_huggingface
from manylabel.errors import DataError, MissingExtraError
from manylabel.images import identity, open_image

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """Neither the network nor the home folder."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    yield
    if not shown:
        datasets.enable_progress_bars()


def png(number):
    content = io.BytesIO()
    Image.new("RGB", (9, 7), (number * 20, 3, 200)).save(content, "PNG")
    return content.getvalue()


def images(count, start=0):
    return [{"bytes": png(start + i), "path": None} for i in range(count)]


MANY = datasets.List(datasets.ClassLabel(names=["z", "never", "a"]))


def dataset(labels, feature, start=0, **more):
    features = {"image": datasets.Image(), "labels": feature}
    features |= {name: datasets.Value("string") for name in more}
    return datasets.Dataset.from_dict(
        {"image": images(len(labels), start), "labels": labels, **more},
        features=datasets.Features(features),
    )


def names(records):
    return {record.key: records.labels.decode(record.targets) for record in records}


def test_saved_splits_with_lists_of_classes(tmp_path):
    parts = {
        "train": dataset([[0, 2], []], MANY),
        "validation": dataset([[2]], MANY, 5),
        "extra": dataset([[]], MANY, 9),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    assert find_huggingface(tmp_path / "d") == tmp_path / "d"
    records = read_huggingface(tmp_path / "d")
    assert records.labels.names == ("z", "never", "a")
    assert names(records) == {
        "train/0": ["z", "a"],
        "train/1": [],
        "validation/0": ["a"],
        "extra/0": [],
    }
    assert [record.split for record in records] == ["train", "train", "val", None]
    assert "Splits: train from 'train', val from 'validation', none from 'extra'" in records.notes
    for record, number in zip(records, [0, 1, 5, 9], strict=True):
        assert isinstance(record.image, ArrowImage)
        assert record.image.read() == png(number)
    assert open_image(records[0].image).size == (9, 7)


def test_images_go_to_workers_and_know_themselves(tmp_path):
    dataset([[0], [1]], MANY).save_to_disk(tmp_path / "d")
    one, two = (record.image for record in read_huggingface(tmp_path / "d"))
    sent = pickle.loads(pickle.dumps(two))
    assert sent.read() == png(1)
    assert identity(sent) == identity(two) != identity(one)
    (again, _) = (record.image for record in read_huggingface(tmp_path / "d"))
    assert identity(again) == identity(one)
    dataset([[0], [2]], MANY).save_to_disk(tmp_path / "other")
    (other, _) = (record.image for record in read_huggingface(tmp_path / "other"))
    assert identity(other) != identity(one)
    assert str(two) == f"{tmp_path / 'd'}, all, row 1"


def test_rows_that_were_chosen_before_saving(tmp_path):
    chosen = dataset([[0], [1], [2]], MANY).select([2, 0])
    chosen.save_to_disk(tmp_path / "d")
    records = read_huggingface(tmp_path / "d")
    assert records.targets.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert [record.image.read() for record in records] == [png(2), png(0)]


@pytest.mark.parametrize(
    ("labels", "feature", "order", "targets"),
    [
        ([["b"], ["a", "b"]], datasets.List(datasets.Value("string")), "ab", [[0, 1], [1, 1]]),
        ([["b"], []], datasets.LargeList(datasets.Value("string")), "b", [[1], [0]]),
        ([1, 0], datasets.ClassLabel(names=["y", "x"]), "yx", [[0, 1], [1, 0]]),
        ([1, -1], datasets.ClassLabel(names=["y", "x"]), "yx", [[0, 1], [-1, -1]]),
        ([None, 0], datasets.ClassLabel(names=["y", "x"]), "yx", [[-1, -1], [1, 0]]),
        (["b|a", "b"], datasets.Value("string"), "ab", [[1, 1], [0, 1]]),
    ],
)
def test_kinds_of_labels(tmp_path, labels, feature, order, targets):
    dataset(labels, feature).save_to_disk(tmp_path / "d")
    records = read_huggingface(tmp_path / "d")
    assert "".join(records.labels) == order
    assert records.targets.tolist() == targets


def test_a_column_a_label_and_a_column_of_splits(tmp_path):
    content = {
        "picture": images(3),
        "dog": [True, False, None],
        "cat": [1, 0, -1],
        "fold": ["train", "test", ""],
        "vector": [[0.5], [1.0], [2.0]],
    }
    features = datasets.Features(
        picture=datasets.Image(),
        dog=datasets.Value("bool"),
        cat=datasets.Value("int8"),
        fold=datasets.Value("string"),
        vector=datasets.List(datasets.Value("float32")),
    )
    datasets.Dataset.from_dict(content, features=features).save_to_disk(tmp_path / "d")
    records = read_huggingface(tmp_path / "d", split_column="fold")
    assert records.labels.names == ("dog", "cat")
    assert records.targets.tolist() == [[1, 1], [0, 0], [-1, -1]]
    assert [record.split for record in records] == ["train", "test", None]


def test_paths_are_files_below_the_data_set(tmp_path, make_image):
    content = {"path": ["sub/a.png", "b.png"], "labels": [["x"], []]}
    datasets.Dataset.from_dict(content).save_to_disk(tmp_path / "d")
    make_image(tmp_path / "d/sub/a.png")
    records = read_huggingface(tmp_path / "d")
    assert list(records.keys) == ["sub/a.png", "b.png"]
    assert records[0].image == tmp_path / "d/sub/a.png"
    (tmp_path / "d/sub/a.png").unlink()
    with pytest.raises(DataError, match="None of the first 2 images was found"):
        read_huggingface(tmp_path / "d")
    datasets.Dataset.from_dict(content).to_parquet(tmp_path / "d.parquet")
    make_image(tmp_path / "b.png")
    assert read_huggingface(tmp_path / "d.parquet")[1].image == tmp_path / "b.png"


def test_folder_of_parquet_files(tmp_path):
    for split, start in (("train", 0), ("test", 5)):
        path = tmp_path / "d" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(exist_ok=True)
        dataset([[0], [2]], MANY, start).to_parquet(path)
    assert find_huggingface(tmp_path / "d") == tmp_path / "d"
    records = read_huggingface(tmp_path / "d")
    assert [(record.key, record.split) for record in records] == [
        ("train/0", "train"),
        ("train/1", "train"),
        ("test/0", "test"),
        ("test/1", "test"),
    ]
    assert records.labels.names == ("z", "never", "a")
    assert records[3].image.read() == png(6)
    single = read_huggingface(tmp_path / "d" / "test-00000-of-00001.parquet")
    assert single.targets.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert {record.split for record in single} == {None}


def test_images_kept_beside_the_data_set(tmp_path, make_image):
    file = make_image(tmp_path / "x.png")
    features = datasets.Features({"image": datasets.Image(), "labels": MANY})
    content = {"image": [{"bytes": None, "path": str(file)}, None], "labels": [[0], [1]]}
    made = datasets.Dataset.from_dict(content, features=features)
    made.to_parquet(tmp_path / "d.parquet")
    first, second = read_huggingface(tmp_path / "d.parquet")
    assert (np.asarray(open_image(first.image)) == np.asarray(Image.open(file))).all()
    with pytest.raises(DataError, match="the row has no image"):
        open_image(second.image)


@pytest.mark.parametrize(
    ("made", "given_settings", "what"),
    [
        (
            lambda: dataset([["x"]], datasets.List(datasets.Value("string"))),
            {"label_column": "no"},
            "no column 'no'",
        ),
        (lambda: dataset([[3]], datasets.List(datasets.Value("int64"))), {}, "not strings"),
        (lambda: dataset([[0]], MANY), {"subset": "x"}, "no subsets"),
        (lambda: dataset([[0]], MANY), {"label_column": "image"}, "not labels"),
        (
            lambda: dataset([[0]], MANY, fold=["dev"]),
            {"image_column": "labels", "label_column": "fold"},
            "neither images nor paths",
        ),
        (
            lambda: dataset([[0]], MANY, fold=["dev"]),
            {"split_column": "fold"},
            "'dev' is not a split",
        ),
        (lambda: dataset([None], MANY), {}, "null"),
        (lambda: datasets.Dataset.from_dict({"labels": [["x"]]}), {}, "No column of images"),
        (
            lambda: datasets.Dataset.from_dict({"path": ["a", "a"], "labels": [["x"], ["x"]]}),
            {},
            "there twice",
        ),
        (lambda: dataset([], MANY), {}, "cannot be loaded"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, made, given_settings, what):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").touch()
    made().save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match=what) as raised:
        read_huggingface(tmp_path / "d", **given_settings)
    assert str(tmp_path / "d") in raised.value.where


def test_splits_that_differ(tmp_path):
    other = datasets.List(datasets.ClassLabel(names=["z", "a", "never"]))
    parts = {"train": dataset([[0]], MANY), "test": dataset([[0]], other)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match="'train' and 'test' have different columns"):
        read_huggingface(tmp_path / "d")


def test_classes_that_are_none(tmp_path):
    import pyarrow
    from pyarrow import parquet

    made = dataset([[0], [2]], MANY)
    made.to_parquet(tmp_path / "d.parquet")
    table = parquet.read_table(tmp_path / "d.parquet")
    wrong = table.set_column(1, table.schema.field(1), pyarrow.array([[0], [7]]))
    parquet.write_table(wrong, tmp_path / "d.parquet")
    with pytest.raises(DataError, match="7 is not an index of the 3 classes") as raised:
        read_huggingface(tmp_path / "d.parquet")
    assert "row 2" in raised.value.where


def test_damaged_files(tmp_path):
    dataset([[0], [2]], MANY).save_to_disk(tmp_path / "d")
    (file,) = (tmp_path / "d").glob("*.arrow")
    content = file.read_bytes()
    for size in (0, 10, len(content) // 2):
        file.write_bytes(content[:size])
        with pytest.raises(DataError, match="cannot be loaded"):
            read_huggingface(tmp_path / "d")
    (tmp_path / "d" / "state.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_huggingface(tmp_path / "d")


@settings(
    max_examples=80,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_mutated_files(tmp_path, data):
    folder = tmp_path / "d"
    if not folder.exists():
        dataset([[0, 2], [], [1]], MANY, note=["a", "b", "c"]).save_to_disk(folder)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    original = file.read_bytes()
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 1))] = bytes([data.draw(st.integers(0, 255))])
    file.write_bytes(content)
    try:
        records = read_huggingface(folder)
    except DataError:
        return
    finally:
        file.write_bytes(original)
    assert len(records) == 3
    assert set(records.targets.flatten().tolist()) <= {0, 1}


@pytest.mark.parametrize("name", ["org/name", "name"])
def test_the_hub_is_not_asked_offline(tmp_path, monkeypatch, name):
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="cannot be loaded") as raised:
        read_huggingface(Path(name))
    assert "HF_DATASETS_OFFLINE" in raised.value.fix


def test_a_path_that_is_no_name_on_the_hub(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_huggingface(tmp_path / "d")


def test_without_datasets(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError) as raised:
        read_huggingface(tmp_path)
    assert "pip install -e '.[hub]'" in raised.value.fix
