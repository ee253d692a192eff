import pytest

from manylabel.data.readers.folder import read_folder
from manylabel.errors import DataError


@pytest.fixture
def tree(tmp_path):
    """Writes files, given by their paths; content is the path unless it is given."""

    def write(*paths, **contents):
        for path in paths:
            content = contents.get(path.rpartition("/")[2].partition(".")[0], path)
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return tmp_path

    return write


def test_the_folder_is_the_label(tree, tmp_path):
    records = read_folder(tree("dog/1.jpg", "cat/1.JPG", "cat/2.png"))
    assert records.labels.names == ("cat", "dog")
    assert list(records.keys) == ["cat/1.JPG", "cat/2.png", "dog/1.jpg"]
    assert records.targets.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert records[0].image == tmp_path / "cat" / "1.JPG"
    assert {record.split for record in records} == {None}


def test_the_same_file_in_several_folders_is_one_image(tree):
    records = read_folder(tree("a/x.jpg", "b/x.jpg", "c/x.jpg", "c/y.jpg", x="same"))
    assert list(records.keys) == ["a/x.jpg", "c/y.jpg"]
    assert records.targets.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert "Images with several labels: 1" in records.notes


def test_one_name_or_one_content_alone_does_not_make_one_image(tree):
    records = read_folder(tree("a/x.jpg", "b/x.jpg", "b/p.jpg", "b/q.jpg", p="same", q="same"))
    assert list(records.keys) == ["a/x.jpg", "b/p.jpg", "b/q.jpg", "b/x.jpg"]


def test_split_folders(tree):
    records = read_folder(tree("train/cat/1.jpg", "train/dog/2.jpg", "valid/cat/3.jpg"))
    assert {record.key: record.split for record in records} == {
        "train/cat/1.jpg": "train",
        "train/dog/2.jpg": "train",
        "valid/cat/3.jpg": "val",
    }
    assert records.labels.names == ("cat", "dog")


def test_train_beside_bus_is_a_label(tree):
    assert read_folder(tree("bus/1.jpg", "train/2.jpg")).labels.names == ("bus", "train")


def test_an_empty_folder_is_still_a_label(tree, tmp_path):
    tree("cat/1.jpg", "dog/1.jpg")
    (tmp_path / "emu").mkdir()
    assert read_folder(tmp_path).labels.names == ("cat", "dog", "emu")


def test_hidden_files_are_skipped_and_others_counted(tree):
    records = read_folder(
        tree("cat/1.jpg", "dog/1.jpg", "dog/.2.jpg", ".git/x.jpg", "dog/notes.txt", "loose.jpg")
    )
    assert list(records.keys) == ["cat/1.jpg", "dog/1.jpg"]
    assert "Files in label folders that are not images, left out: 1" in records.notes
    assert "Files outside the label folders, left out: 1" in records.notes


def test_files_beside_the_folders_of_a_split_are_counted(tree):
    root = tree("train/a/1.jpg", "test/b/2.jpg", "test/loose.jpg", "readme.md")
    assert "Files outside the label folders, left out: 2" in read_folder(root).notes


@pytest.mark.parametrize(
    ("paths", "what"),
    [
        ((), "Found: none"),
        (("1.jpg",), "Found: none"),
        (("images/1.jpg",), "Found: images"),
        (("a/notes.txt", "b/notes.txt"), "contain no images"),
        (("train/cat/1.jpg", "extra/1.jpg"), "contains a folder, 'cat'"),
    ],
)
def test_what_is_no_folder_of_labels(tree, paths, what):
    with pytest.raises(DataError, match=what):
        read_folder(tree(*paths))


def test_one_image_in_two_splits(tree):
    root = tree("train/a/x.jpg", "test/a/x.jpg", "train/b/y.jpg", x="same")
    with pytest.raises(DataError, match="is in two splits, test and train"):
        read_folder(root)


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_folder(tmp_path / "no")


def test_a_broken_link(tree, tmp_path):
    tree("a/1.jpg", "b/1.jpg")
    (tmp_path / "a" / "2.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_folder(tmp_path)
    assert "2.jpg" in caught.value.where


@pytest.mark.parametrize(
    "paths",
    [
        ("train/images/1.jpg", "train/labels/1.txt", "data.yaml"),
        ("images/train/1.jpg", "labels/train/1.txt"),
        ("images/1.jpg", "annotations/1.xml"),
        ("train/1.jpg", "train/1.xml", "valid/2.jpg", "valid/2.xml"),
        ("1.jpg", "1.txt"),
    ],
)
def test_exports_of_detectors_are_not_labels(tree, paths):
    with pytest.raises(DataError, match="not folders of labels") as caught:
        read_folder(tree(*paths))
    assert "COCO JSON" in caught.value.fix


@pytest.mark.parametrize("paths", [("data/1.jpg", "logs/2.jpg"), ("masks/1.jpg", "hats/2.jpg")])
def test_such_words_can_be_labels_beside_others(tree, paths):
    assert len(read_folder(tree(*paths)).labels) == 2


def test_a_test_set_may_have_one_label(tree):
    records = read_folder(tree("cat/1.jpg", "cat/2.jpg"))
    assert records.labels.names == ("cat",)
    assert "There is one label, and all images have it" in records.notes
    assert records.absent_if_unnamed
