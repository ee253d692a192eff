import json

import numpy as np
import pytest

from manylabel.data.readers.visual_genome import find_visual_genome, read_visual_genome
from manylabel.errors import DataError

LABELS = {"1.jpg": [0, 499], "2.jpg": [7], "3.jpg": [], "4.jpg": [3, 3], "9.jpg": [1]}
INDEX = "vg_category_500_labels_index.json"


@pytest.fixture
def genome(tmp_path):
    def write(labels=LABELS, train="1.jpg\n2.jpg\n3.jpg\n", test="4.jpg\n", below="."):
        folder = tmp_path / below
        folder.mkdir(exist_ok=True)
        text = labels if isinstance(labels, str) else json.dumps(labels)
        (folder / INDEX).write_text(text)
        (folder / "train_list_500.txt").write_text(train)
        (folder / "test_list_500.txt").write_text(test)
        for place, names in (("VG_100K", "124"), ("VG_100K_2", "3")):
            (tmp_path / place).mkdir(exist_ok=True)
            for name in names:
                (tmp_path / place / f"{name}.jpg").touch()
        return tmp_path

    return write


@pytest.mark.parametrize("below", [".", "ssgrl_partition"])
def test_the_lists(genome, below):
    root = genome(below=below)
    assert find_visual_genome(root) == root / below
    records = read_visual_genome(root)
    assert records.labels.names == tuple(str(i) for i in range(500))
    assert list(records.keys) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    present = [np.flatnonzero(record.targets == 1).tolist() for record in records]
    assert present == [[0, 499], [7], [], [3]]
    assert set(np.unique(records.targets)) == {0, 1}
    assert [record.split for record in records] == ["train", "train", "train", "test"]
    folders = [record.image.parent.name for record in records]
    assert folders == ["VG_100K", "VG_100K", "VG_100K_2", "VG_100K"]
    assert f"Images of {INDEX} that are in no list, left out: 1" in records.notes
    assert "Images without a label, kept with all labels absent: 1" in records.notes


@pytest.mark.parametrize("given", ["far", "far/VG_100K"])
def test_the_folder_of_the_images(genome, given):
    root = genome()
    (root / "far").mkdir()
    (root / "VG_100K").rename(root / "far" / "VG_100K")
    (root / "VG_100K_2").rename(root / "far" / "VG_100K_2")
    with pytest.raises(DataError, match="None of the first 4 images"):
        read_visual_genome(root)
    records = read_visual_genome(root, images=root / given)
    assert records[0].image == root / "far" / "VG_100K" / "1.jpg"
    assert records[2].image.is_file() == (given == "far")


def test_labels_by_name(genome):
    root = genome()
    names = root / "names.txt"
    names.write_text("".join(f"thing {i}\n" for i in range(500)))
    records = read_visual_genome(root, label_names=names)
    assert records.labels[499] == "thing 499"
    names.write_text("thing\n")
    with pytest.raises(DataError, match="names 1 labels, but the data set has 500"):
        read_visual_genome(root, label_names=names)


@pytest.mark.parametrize(
    ("files", "what", "where"),
    [
        ({"train": "1.jpg\n5.jpg\n"}, "'5.jpg' has no labels", "train_list_500.txt, line 2"),
        ({"train": ""}, "is empty", "train_list_500.txt"),
        ({"test": "2.jpg\n"}, "in two splits, train and test", "test_list_500.txt, line 1"),
        ({"labels": LABELS | {"2.jpg": [500]}}, "[500], not a list of", "'2.jpg'"),
        ({"labels": LABELS | {"2.jpg": [-1]}}, "[-1], not a list of", "'2.jpg'"),
        ({"labels": LABELS | {"2.jpg": [True]}}, "[True], not a list of", "'2.jpg'"),
        ({"labels": LABELS | {"2.jpg": 3}}, "are 3, not a list of", "'2.jpg'"),
        ({"labels": "[]"}, "not hold a JSON object", INDEX),
        ({"labels": "{"}, "not valid JSON", INDEX),
    ],
)
def test_faulty_files(genome, files, what, where):
    root = genome(**files)
    with pytest.raises(DataError) as caught:
        read_visual_genome(root)
    assert what in caught.value.what
    assert where in caught.value.where


def test_a_list_that_is_missing(genome):
    root = genome()
    (root / "test_list_500.txt").unlink()
    with pytest.raises(DataError, match="does not exist"):
        read_visual_genome(root)


def test_an_image_that_is_listed_again(genome):
    records = read_visual_genome(genome(test="4.jpg\n4.jpg\n"))
    assert len(records) == 4
    assert "Images that are listed again, left out: 1" in records.notes
