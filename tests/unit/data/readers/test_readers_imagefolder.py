import json

import pytest

from manylabel.data.readers.imagefolder import find_imagefolder, read_imagefolder
from manylabel.errors import DataError


@pytest.fixture
def folder(tmp_path):
    def write(lines, below="."):
        home = tmp_path / below
        home.mkdir(parents=True, exist_ok=True)
        for line in lines:
            if isinstance(line, dict) and "file_name" in line:
                (home / line["file_name"]).touch()
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        (home / "metadata.jsonl").write_text("\n".join(texts) + "\n")
        return tmp_path

    return write


def of(*values, key="labels"):
    return [{"file_name": f"{i}.jpg", key: value} for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("lines", "labels", "targets", "named"),
    [
        (of(["gull", "kelp"], ["kelp"]), ("gull", "kelp"), [[1, 1], [0, 1]], True),
        (of(["gull"], [], None), ("gull",), [[1], [0], [-1]], True),
        (of("gull", "kelp", key="label"), ("gull", "kelp"), [[1, 0], [0, 1]], True),
        (of([0, 2], -1, key="tags"), ("0", "2"), [[1, 1], [-1, -1]], True),
        (of({"categories": [3]}, {"categories": []}, key="objects"), ("3",), [[1], [0]], True),
        (of(True, False, None, key="gull"), ("gull",), [[1], [0], [-1]], False),
        (of(1, 0, -1, key="gull"), ("gull",), [[1], [0], [-1]], False),
    ],
)
def test_the_forms_of_labels(folder, tmp_path, lines, labels, targets, named):
    folder(lines)
    assert find_imagefolder(tmp_path) == tmp_path
    records = read_imagefolder(tmp_path)
    assert records.labels.names == labels
    assert records.targets.tolist() == targets
    assert records.absent_if_unnamed == named
    assert all(record.image.is_file() for record in records)


def test_a_key_can_be_named(folder, tmp_path):
    folder([{"file_name": "1.jpg", "labels": ["no"], "birds": ["gull"]}])
    assert read_imagefolder(tmp_path, label_column="birds").labels.names == ("gull",)
    with pytest.raises(DataError, match="No line has the key 'bird'"):
        read_imagefolder(tmp_path, label_column="bird")


def test_a_folder_for_each_split(folder, tmp_path):
    folder(of(["gull"]), "test")
    folder(of(["kelp"]), "train")
    records = read_imagefolder(tmp_path)
    assert records.keys == ("train/0.jpg", "test/0.jpg")
    assert records.split_counts() == {"train": 1, "test": 1}
    assert records.targets.tolist() == [[0, 1], [1, 0]]


def test_keys_that_are_no_labels_are_told(folder, tmp_path):
    folder(
        [{"file_name": "1.jpg", "gull": True, "by": "ann"}, {"file_name": "2.jpg", "gull": False}]
    )
    assert "Ignored keys: by" in read_imagefolder(tmp_path / "metadata.jsonl").notes


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["{"], "not valid JSON"),
        (["[]"], "not a JSON object"),
        ([{"labels": ["gull"]}], "'file_name' is missing"),
        (of("gull", key="text"), "No labels were found. The keys are 'file_name', 'text'"),
        (of([1.5]), "'labels' is [1.5]"),
        (of([""]), "'labels' is ['']"),
        ([*of(["gull"]), *of(["gull"])], "is there twice"),
        (["", ""], "no line"),
    ],
)
def test_what_is_wrong_is_said(folder, tmp_path, lines, what):
    folder(lines)
    with pytest.raises(DataError) as caught:
        read_imagefolder(tmp_path)
    assert what in caught.value.what
