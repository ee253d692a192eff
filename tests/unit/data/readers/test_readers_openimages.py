import numpy as np
import pytest

from manylabel.data.readers import openimages
from manylabel.data.readers.openimages import find_openimages, read_openimages
from manylabel.errors import DataError

HEADER = "ImageID,Source,LabelName,Confidence\n"
TRAIN = HEADER + (
    "0000a,verification,/m/cat,1\n"
    "0000a,verification,/m/dog,0\n"
    "0000b,crowdsource-verification,/m/dog,1.0\n"
    "0000b,verification,/m/bat1,0.0\n"
)
TEST = HEADER + "0000c,verification,/m/bat2,1\n0000c,verification,/m/cat,0\n"
NAMES = "/m/cat,Cat\n/m/dog,Dog\n/m/bat1,Bat\n/m/bat2,Bat\n/m/owl,Owl\n"
TRAIN_FILE = "oidv6-train-annotations-human-imagelabels.csv"
TEST_FILE = "test-annotations-human-imagelabels.csv"


@pytest.fixture
def root(tmp_path):
    (tmp_path / TRAIN_FILE).write_text(TRAIN)
    (tmp_path / TEST_FILE).write_text(TEST)
    (tmp_path / "class-descriptions.csv").write_text(NAMES)
    for name in ("train/0000a.jpg", "train/0000b.jpg", "test/0000c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def told(records):
    """What is known of each image, by label name."""
    return {
        record.key: {
            name: int(target)
            for name, target in zip(records.labels, record.targets, strict=True)
            if target != -1
        }
        for record in records
    }


def test_verified_labels_are_known_and_all_others_are_not(root):
    records = read_openimages(root)
    assert records.labels.names == ("Bat (/m/bat1)", "Bat (/m/bat2)", "Cat", "Dog")
    assert told(records) == {
        "0000a.jpg": {"Cat": 1, "Dog": 0},
        "0000b.jpg": {"Dog": 1, "Bat (/m/bat1)": 0},
        "0000c.jpg": {"Bat (/m/bat2)": 1, "Cat": 0},
    }
    assert [record.split for record in records] == ["train", "train", "test"]
    assert records[2].image == root / "test/0000c.jpg"


def test_trainable_classes_restrict_and_order_the_labels(root):
    (root / "oidv6-classes-trainable.txt").write_text("/m/owl\n/m/dog\n/m/bat1\n")
    records = read_openimages(root)
    # Names that repeat are told apart although one of them is not trainable.
    assert records.labels.names == ("Owl", "Dog", "Bat (/m/bat1)")
    assert told(records) == {"0000a.jpg": {"Dog": 0}, "0000b.jpg": {"Dog": 1, "Bat (/m/bat1)": 0}}
    assert "Images without a verified label among these, left out: 1" in records.notes


def test_a_label_verified_both_ways_is_unknown(root):
    rows = "0000a,verification,/m/cat,0\n0000b,verification,/m/bat1,1\n0000b,x,/m/bat1,0\n"
    (root / TRAIN_FILE).write_text(TRAIN + rows)
    records = read_openimages(root)
    assert told(records)["0000a.jpg"] == {"Dog": 0}
    assert told(records)["0000b.jpg"] == {"Dog": 1}
    note = "Targets verified both as present and as absent, unknown: 2"
    assert note in records.notes


def test_rows_that_repeat_change_nothing(root):
    before = read_openimages(root).fingerprint()
    (root / TRAIN_FILE).write_text(TRAIN + TRAIN.removeprefix(HEADER))
    assert read_openimages(root).fingerprint() == before


def test_against_a_slow_reading(root):
    rng = np.random.default_rng(0)
    rows = [
        (f"{i:05x}", f"/m/{label}", int(value))
        for i, label, value in zip(
            rng.integers(0, 60, 900), rng.integers(0, 20, 900), rng.integers(0, 2, 900), strict=True
        )
    ]
    text = HEADER + "".join(f"{i},verification,{label},{value}\n" for i, label, value in rows)
    (root / TRAIN_FILE).write_text(text)
    (root / TEST_FILE).unlink()
    (root / "train" / f"{rows[0][0]}.jpg").touch()
    (root / "classes-trainable.txt").write_text("/m/7\n/m/3\n/m/12\n/m/0\n")
    said: dict[str, dict[str, set[int]]] = {}
    for image, label, value in rows:
        said.setdefault(image, {}).setdefault(label, set()).add(value)
    expected = {}
    for image, labels in said.items():
        kept = {name: labels[name] for name in ("/m/7", "/m/3", "/m/12", "/m/0") if name in labels}
        if kept:
            sure = {name: min(values) for name, values in kept.items() if len(values) == 1}
            expected[f"{image}.jpg"] = sure
    records = read_openimages(root)
    assert told(records) == expected
    assert list(records.keys) == list(expected)
    assert records.labels.names == ("/m/7", "/m/3", "/m/12", "/m/0")


@pytest.mark.parametrize("header", ["", "LabelName,DisplayName\n"])
def test_names_with_and_without_a_header(root, header):
    (root / "class-descriptions.csv").write_text(header + '/m/cat,"Cat, small"\n/m/dog,Dog\n')
    records = read_openimages(root)
    assert records.labels.names == ("/m/bat1", "/m/bat2", "Cat, small", "Dog")
    assert "Labels without a name, named by their LabelName: 2" in records.notes


@pytest.mark.parametrize(
    ("file", "folder", "split"),
    [
        ("validation-annotations-human-imagelabels.csv", "validation", "val"),
        ("oidv7-val-annotations-human-imagelabels.csv", "images/validation", "val"),
        ("train-annotations-human-imagelabels-boxable.csv", "images/train", "train"),
        ("annotations/test-annotations-human-imagelabels.csv", "images", "test"),
        ("challenge-2018-train-annotations-human-imagelabels.csv", ".", "train"),
    ],
)
def test_names_of_files_and_folders(tmp_path, file, folder, split):
    for name in (file, f"{folder}/0000a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(TRAIN)
    (tmp_path / folder / "0000a.jpg").touch()
    assert find_openimages(tmp_path) == tmp_path
    for path in (tmp_path, find_openimages(tmp_path / file)):
        records = read_openimages(path)
        assert {record.split for record in records} == {split}
        assert records[0].image == tmp_path / folder / "0000a.jpg"


def test_labels_of_machines_are_not_read(root):
    before = read_openimages(root)
    (root / "test-annotations-machine-imagelabels.csv").write_text(HEADER + "0000d,m,/m/cat,0.7\n")
    records = read_openimages(root)
    assert records.fingerprint() == before.fingerprint()
    assert "Files of labels from a machine, not read: 1" in records.notes


def test_what_is_not_claimed(tmp_path):
    (tmp_path / "train.csv").touch()
    (tmp_path / "train-annotations-machine-imagelabels.csv").touch()
    assert find_openimages(tmp_path) is None
    assert find_openimages(tmp_path / "train.csv") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "does not have ImageID, LabelName, Confidence"),
        ("ImageID,Source,LabelName\n", "does not have Confidence"),
        (HEADER, "has no rows"),
        (TRAIN.replace("dog,1.0", "dog,0.8"), "'0.8', not 1 or 0"),
        (TRAIN[:-4], "'', not 1 or 0"),
        (TRAIN[:-10], "has 3 cells, but the header has 4"),
        (TRAIN.replace("0000b", "../b"), "'../b'"),
        (TRAIN.replace("/m/cat", ""), "LabelName ''"),
        (TRAIN.replace("0000b", "0000c"), "is there twice"),
        (TRAIN.replace("0000b", '"0000b'), "cannot be read as CSV"),
    ],
)
def test_what_is_wrong_with_the_rows_is_said(root, content, said):
    (root / TRAIN_FILE).write_text(content)
    with pytest.raises(DataError) as caught:
        read_openimages(root)
    assert said in caught.value.what
    assert TRAIN_FILE in caught.value.where


def test_a_file_that_is_not_text(root):
    (root / TRAIN_FILE).write_bytes(TRAIN.encode() + b"\xff\xfe\n")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_openimages(root)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("class-descriptions.csv", "/m/cat\n", "not a LabelName and a DisplayName"),
        ("classes-trainable.txt", "/m/cat\n/m/dog\n/m/cat\n", "is in two lines"),
        ("classes-trainable.txt", "/m/ant\n", "No image has a verified label"),
        ("train-annotations-human-imagelabels-boxable.csv", TRAIN, "Two files belong to the split"),
    ],
)
def test_what_is_wrong_with_other_files_is_said(root, name, content, said):
    (root / name).write_text(content)
    with pytest.raises(DataError, match=said):
        read_openimages(root)


def test_more_than_memory_holds(root, monkeypatch):
    monkeypatch.setattr(openimages, "MAX_BYTES", 11)
    with pytest.raises(DataError, match="3 images with 4 labels would need"):
        read_openimages(root)


def test_images_that_are_nowhere(root, tmp_path_factory):
    with pytest.raises(DataError, match="None of the first 2 images was found"):
        read_openimages(root, images=tmp_path_factory.mktemp("empty"))


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="annotations-human-imagelabels"):
        read_openimages(tmp_path)
