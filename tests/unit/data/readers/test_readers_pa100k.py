import csv
import sys

import numpy as np
import pytest
from scipy.io import savemat

from manylabel.data.readers.pa100k import find_pa100k, read_pa100k
from manylabel.errors import DataError, MissingExtraError

NAMES = ["Female", "Age18-60", "Hat"]
SPLITS = {
    "train": {"000001.jpg": [1, 0, 1], "000002.jpg": [0, 0, 0]},
    "val": {"000003.jpg": [0, 1, 0]},
    "test": {"000004.jpg": [1, 1, 1]},
}


def cells(texts):
    """A MATLAB cell array [N, 1]."""
    array = np.empty((len(texts), 1), dtype=object)
    array[:, 0] = texts
    return array


def variables(**changes):
    made = {"attributes": cells(NAMES)}
    for split, images in SPLITS.items():
        made[f"{split}_images_name"] = cells(list(images))
        made[f"{split}_label"] = np.array(list(images.values()), dtype=np.uint8)
    made.update(changes)
    return {name: value for name, value in made.items() if value is not None}


def write_tables(root):
    for split, images in SPLITS.items():
        with (root / f"{split}.csv").open("w", newline="") as stream:
            rows = ([name, *values] for name, values in images.items())
            csv.writer(stream).writerows([["Image", *NAMES], *rows])


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    for images in SPLITS.values():
        for name in images:
            (tmp_path / "data" / name).touch()
    return tmp_path


def check(records, root):
    assert records.labels.names == tuple(NAMES)
    assert list(records.keys) == [name for images in SPLITS.values() for name in images]
    assert records.targets.tolist() == [row for im in SPLITS.values() for row in im.values()]
    assert [record.split for record in records] == ["train", "train", "val", "test"]
    assert records[3].image == root / "data/000004.jpg"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("place", ["annotation.mat", "annotation/annotation.mat"])
def test_the_matlab_file(root, place, compressed):
    (root / place).parent.mkdir(exist_ok=True)
    savemat(root / place, variables(), do_compression=compressed)
    check(read_pa100k(find_pa100k(root)), root)
    check(read_pa100k(find_pa100k(root / place)), root)


def test_cells_within_cells(root):
    """Exporters nest cells deeper than MATLAB does."""
    names = cells([cells([name]) for name in SPLITS["train"]])
    savemat(root / "annotation.mat", variables(train_images_name=names))
    check(read_pa100k(root), root)


def test_the_tables(root):
    write_tables(root)
    check(read_pa100k(find_pa100k(root)), root)


def test_the_images_as_they_are_unpacked(root):
    savemat(root / "annotation.mat", variables())
    (root / "release_data").mkdir()
    (root / "data").rename(root / "release_data/release_data")
    image = read_pa100k(root)[0].image
    assert image == root / "release_data/release_data/000001.jpg"


def test_tables_of_others_are_not_claimed(tmp_path):
    write_tables(tmp_path)
    assert find_pa100k(tmp_path) is None
    assert find_pa100k(tmp_path / "train.csv") is None


WRONG = [
    ({"val_label": None}, "'val_label' is missing"),
    ({"attributes": None}, "'attributes' is missing"),
    ({"attributes": np.array([1.0])}, "'attributes' has values that are not texts"),
    ({"attributes": cells(["A", np.zeros((2, 2)), "B"])}, "values that are not texts"),
    (
        {"train_images_name": cells(["1.jpg"])},
        "'train_label' has the shape 2 x 3, not 1 images x 3",
    ),
    ({"test_label": np.array([[1, 2, 0]])}, "'test_label' has values other than 0 and 1"),
    ({"test_label": cells(["x"])}, "'test_label' has values other than 0 and 1"),
    ({"test_label": cells([np.zeros((2, 2)), 1])}, "has values other than 0 and 1"),
    ({"val_label": np.array([[1, 0]])}, "'val_label' has the shape 1 x 2"),
    ({"val_images_name": cells(["000001.jpg"])}, "is there twice"),
    ({"attributes": cells(["A", "A", "B"])}, "more than once"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG)
def test_what_is_wrong_with_the_matlab_file_is_said(root, changes, said):
    savemat(root / "annotation.mat", variables(**changes))
    with pytest.raises(DataError) as caught:
        read_pa100k(root)
    assert said in caught.value.what
    assert "annotation.mat" in caught.value.where


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "lists no images"),
        ("Image,Female,Age18-60,Hat\n", "lists no images"),
        ("Image,Female,Age18-60,Hat\n3.jpg,0,1\n", "has 3 cells, but the header has 4"),
        ("Image,Female,Age18-60,Hat\n3.jpg,0,1,-1\n", "'Hat' is '-1'"),
        ("Image,Female,Age18-60,Hat\n,0,1,1\n", "has no image"),
        ("Image,Female,Hat,Age18-60\n3.jpg,0,1,1\n", "different labels"),
        ("Image,Female,Age18-60,Hat\n000001.jpg,0,1,1\n", "is there twice"),
        ('Image,Female,Age18-60,Hat\n"3.jpg,0,1,1\n', "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(root, content, said):
    write_tables(root)
    (root / "val.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        read_pa100k(root)
    assert said in caught.value.what
    assert "val.csv" in caught.value.where


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="neither annotation.mat nor"):
        read_pa100k(tmp_path)


def test_a_file_that_makes_scipy_crash(root):
    """The crash of a compiled reader is told as any other damage."""
    savemat(root / "annotation.mat", variables())
    content = bytearray((root / "annotation.mat").read_bytes())
    content[144] = 14  # the first variable's class: numbers of 64 bits instead of cells
    (root / "annotation.mat").write_bytes(content)
    with pytest.raises(DataError, match="not a MATLAB file that can be read"):
        read_pa100k(root)


@pytest.mark.parametrize("content", [b"", b"MATLAB", b"\0" * 400, b"MATLAB 7.3".ljust(600)])
def test_no_matlab_file(root, content):
    (root / "annotation.mat").write_bytes(content)
    with pytest.raises(DataError, match="not a MATLAB file that can be read"):
        read_pa100k(root)


def test_without_scipy(root, monkeypatch):
    savemat(root / "annotation.mat", variables())
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtraError, match="scipy"):
        read_pa100k(root)
