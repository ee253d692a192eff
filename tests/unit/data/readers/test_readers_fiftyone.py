import json

import pytest

from manylabel.data.readers.coco import find_coco
from manylabel.data.readers.fiftyone import find_fiftyone, read_fiftyone
from manylabel.errors import DataError


@pytest.fixture
def export(tmp_path):
    def write(content, below=".", images=("a.jpg", "b.jpg"), folder="data"):
        home = tmp_path / below
        (home / folder).mkdir(parents=True)
        for image in images:
            (home / folder / image).touch()
        (home / "labels.json").write_text(json.dumps(content))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("classes", "given"),
    [
        (["gull", "kelp"], {"a": [0, 1], "b": 1}),
        (["gull", "kelp"], {"a": ["gull", "kelp"], "b": "kelp"}),
        (None, {"a": ["kelp", "gull"], "b": "kelp"}),
        (None, {"a": [{"label": "gull", "confidence": 0.9}, "kelp"], "b": {"label": "kelp"}}),
        ([], {"a": {"classifications": [{"label": "gull"}, {"label": "kelp"}]}, "b": ["kelp"]}),
        (["gull", "kelp"], {"a.jpg": [0, 1], "b.jpg": [1]}),
    ],
)
def test_the_forms_of_labels(export, tmp_path, classes, given):
    export({"classes": classes, "labels": given})
    records = read_fiftyone(tmp_path)
    assert records.labels.names == ("gull", "kelp")
    assert records.targets.tolist() == [[1, 1], [0, 1]]
    assert records.keys == ("a.jpg", "b.jpg")
    assert all(record.image.is_file() for record in records)


def test_classes_give_the_order_and_null_is_unknown(export, tmp_path):
    export({"classes": ["owl", "gull"], "labels": {"a": [1], "b": None}})
    records = read_fiftyone(tmp_path / "labels.json")
    assert records.labels.names == ("owl", "gull")
    assert records.targets.tolist() == [[0, 1], [-1, -1]]
    assert "Images whose labels are null, all unknown: 1" in records.notes


def test_a_folder_for_each_split(export, tmp_path):
    export({"classes": ["gull"], "labels": {"a": [0], "b": []}}, "validation")
    export({"classes": ["gull", "owl"], "labels": {"a": [1], "b": []}}, "train")
    records = read_fiftyone(tmp_path)
    assert records.keys == ("train/a.jpg", "train/b.jpg", "validation/a.jpg", "validation/b.jpg")
    assert records.split_counts() == {"train": 2, "val": 2}
    assert records.labels.names == ("gull", "owl")
    assert records.targets.tolist() == [[0, 1], [0, 0], [1, 0], [0, 0]]


def test_it_is_told_from_coco(export, tmp_path):
    export({"classes": ["gull"], "labels": {"a": [0]}})
    assert find_fiftyone(tmp_path) == tmp_path
    assert find_coco(tmp_path) is None
    (tmp_path / "labels.json").write_text('{"info": {}, "images": [], "annotations": []}')
    assert find_fiftyone(tmp_path) is None
    assert find_coco(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"classes": ["gull"], "labels": {"a": 1}}, "'labels.a' is 1"),
        ({"classes": ["gull"], "labels": {"a": "owl"}}, "'labels.a' is 'owl'"),
        ({"classes": ["gull"], "labels": {"a": True}}, "'labels.a' is True"),
        ({"classes": ["gull"], "labels": {}}, "'labels' is {}"),
        ({"classes": 3, "labels": {"a": 0}}, "'classes' is 3"),
        ({"classes": ["gull"], "labels": {"z": 0}}, "None of the first 1 images"),
    ],
)
def test_what_is_wrong_is_said(export, tmp_path, content, what):
    export(content)
    with pytest.raises(DataError) as caught:
        read_fiftyone(tmp_path / "labels.json")
    assert what in caught.value.what
