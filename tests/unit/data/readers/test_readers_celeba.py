import csv

import pytest

from manylabel.data.readers.celeba import find_celeba, read_celeba
from manylabel.errors import DataError

NAMES = ["Bald", "Smiling", "Young"]
FACES = {
    "000001.jpg": ["-1", "1", "1"],
    "000002.jpg": ["1", "-1", "-1"],
    "000003.jpg": ["-1", "-1", "-1"],
}
TARGETS = [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
PARTS = {"000001.jpg": "0", "000002.jpg": "1", "000003.jpg": "2"}
PEOPLE = {"000001.jpg": "7", "000002.jpg": "9", "000003.jpg": "7"}


def attributes(faces=FACES, count=None):
    rows = [f"{name} {'  '.join(values)}" for name, values in faces.items()]
    lines = [str(len(faces) if count is None else count), " ".join(NAMES) + " ", *rows]
    return "".join(f"{line}\n" for line in lines)


def words(values):
    return "".join(f"{name} {value}\n" for name, value in values.items())


@pytest.fixture
def official(tmp_path):
    """As the makers' drive has it."""
    for folder in ("Anno", "Eval", "Img/img_align_celeba"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "Anno/list_attr_celeba.txt").write_text(attributes())
    (tmp_path / "Anno/identity_CelebA.txt").write_text(words(PEOPLE))
    (tmp_path / "Eval/list_eval_partition.txt").write_text(words(PARTS))
    for name in FACES:
        (tmp_path / "Img/img_align_celeba" / name).touch()
    return tmp_path


def test_the_makers_files(official):
    records = read_celeba(official)
    assert records.labels.names == tuple(NAMES)
    assert list(records.keys) == list(FACES)
    assert records.targets.tolist() == TARGETS
    assert [record.split for record in records] == ["train", "val", "test"]
    assert [record.group for record in records] == ["7", "9", "7"]
    assert records[0].image == official / "Img/img_align_celeba/000001.jpg"
    assert "Persons, each a group: 2" in records.notes
    assert "Images are from img_align_celeba" in records.notes


def test_the_list_itself_stands_for_its_folder(official):
    by_file = read_celeba(official / "Anno/list_attr_celeba.txt")
    assert by_file.fingerprint() == read_celeba(official).fingerprint()
    assert [record.split for record in by_file] == ["train", "val", "test"]


def test_kaggles_tables(tmp_path):
    with (tmp_path / "list_attr_celeba.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [["image_id", *NAMES], *([name, *values] for name, values in FACES.items())]
        )
    with (tmp_path / "list_eval_partition.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["image_id", "partition"], *PARTS.items()])
    (tmp_path / "img_align_celeba/img_align_celeba").mkdir(parents=True)
    (tmp_path / "img_align_celeba/img_align_celeba/000001.jpg").touch()
    records = read_celeba(find_celeba(tmp_path))
    assert records.targets.tolist() == TARGETS
    assert [record.split for record in records] == ["train", "val", "test"]
    assert [record.group for record in records] == [None] * 3
    # A missing image keeps its record.
    assert records[2].image == tmp_path / "img_align_celeba/img_align_celeba/000003.jpg"


def test_neither_splits_nor_people_are_needed(official):
    (official / "Anno/identity_CelebA.txt").unlink()
    (official / "Eval/list_eval_partition.txt").unlink()
    records = read_celeba(official)
    assert {record.split for record in records} == {None}
    assert {record.group for record in records} == {None}
    assert any("no groups" in note for note in records.notes)


def test_found_by_names(official, tmp_path_factory):
    assert find_celeba(official) == official
    file = official / "Anno/list_attr_celeba.txt"
    assert find_celeba(file) == file
    assert find_celeba(tmp_path_factory.mktemp("other")) is None
    assert find_celeba(official / "Anno/identity_CelebA.txt") is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("Anno/list_attr_celeba.txt", attributes(count=4), "says 4 images, but the file lists 3"),
        ("Anno/list_attr_celeba.txt", attributes()[:-3], "has 3 entries, not 4"),
        ("Anno/list_attr_celeba.txt", attributes().split("\n", 1)[1], "not the number of images"),
        ("Anno/list_attr_celeba.txt", "3\n", "contains no images"),
        ("Anno/list_attr_celeba.txt", "0\nBald Young\n", "contains no images"),
        ("Anno/list_attr_celeba.txt", attributes().replace("-1", "0", 1), "'Bald' is '0'"),
        (
            "Anno/list_attr_celeba.txt",
            attributes().replace("000002", "000001"),
            "in this line and in line",
        ),
        ("Anno/list_attr_celeba.txt", attributes().replace("Young", "Bald"), "more than once"),
        ("Eval/list_eval_partition.txt", words(PARTS)[:-13], "they have 3 and 2 images"),
        (
            "Eval/list_eval_partition.txt",
            words(PARTS).replace(" 2", " 3"),
            "The value '3' is not valid",
        ),
        (
            "Eval/list_eval_partition.txt",
            words(PARTS).replace("3.jpg", "4.jpg"),
            "not in list_attr",
        ),
        ("Anno/identity_CelebA.txt", words(PEOPLE)[:-13], "they have 3 and 2 images"),
        (
            "Anno/identity_CelebA.txt",
            words(PEOPLE).replace(" 9", " x"),
            "The value 'x' is not valid",
        ),
    ],
)
def test_what_is_wrong_is_said(official, name, content, said):
    (official / name).write_text(content)
    with pytest.raises(DataError) as caught:
        read_celeba(official)
    assert said in str(caught.value)
    assert name.rpartition("/")[2] in caught.value.where


def test_images_that_are_nowhere(official, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(DataError, match="None of the first 3 images was found"):
        read_celeba(official, images=empty)


def test_a_folder_without_the_list(tmp_path):
    with pytest.raises(DataError, match="There is no list_attr_celeba"):
        read_celeba(tmp_path)
