import json

import pytest

from manylabel.data.readers.wider_attribute import find_wider_attribute, read_wider_attribute
from manylabel.errors import DataError
from manylabel.images import Crop


def trainval():
    return {
        "attribute_id_map": {"1": "longHair", "0": "Male", "2": "Hat"},
        "scene_id_map": {"0": "Parade"},
        "images": [
            {
                "file_name": "train/0--Parade/a.jpg",
                "scene_id": 0,
                "targets": [
                    {"attribute": [1, -1, 0], "bbox": [10, 20.5, 30, 40]},
                    {"attribute": [0, 0, 1], "bbox": [1, 2, 0, 5]},
                ],
            },
            {"file_name": "train/0--Parade/empty.jpg", "scene_id": 0, "targets": []},
            {
                "file_name": "val/0--Parade/b.jpg",
                "scene_id": 0,
                "targets": [{"attribute": [-1, -1, -1], "bbox": [0, 0, 5, 5]}],
            },
        ],
    }


def heldout():
    content = trainval()
    content["images"] = [
        {
            "file_name": "test/0--Parade/c.jpg",
            "scene_id": 0,
            "targets": [{"attribute": [1, 1, 1], "bbox": [0, 0, 5, 5]}],
        }
    ]
    return content


@pytest.fixture
def wider(tmp_path):
    def write(train=None, test=None, folder="."):
        home = tmp_path / folder
        home.mkdir(exist_ok=True)
        train = trainval() if train is None else train
        test = heldout() if test is None else test
        (home / "wider_attribute_trainval.json").write_text(json.dumps(train))
        (home / "wider_attribute_test.json").write_text(json.dumps(test))
        for name in ("train/0--Parade/a", "val/0--Parade/b", "test/0--Parade/c"):
            file = tmp_path / "Image" / f"{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return tmp_path

    return write


@pytest.mark.parametrize("folder", [".", "Anno", "Annotations"])
def test_both_files(wider, folder):
    root = wider(folder=folder)
    assert find_wider_attribute(root) == root
    records = read_wider_attribute(root)
    assert records.labels.names == ("Male", "longHair", "Hat")
    assert list(records.keys) == [
        "train/0--Parade/a.jpg#0",
        "train/0--Parade/a.jpg#1",
        "val/0--Parade/b.jpg#0",
        "test/0--Parade/c.jpg#0",
    ]
    assert records.targets.tolist() == [[1, 0, -1], [-1, -1, 1], [0, 0, 0], [1, 1, 1]]
    assert [record.split for record in records] == ["train", "train", "val", "test"]
    assert [record.group for record in records][:2] == ["train/0--Parade/a.jpg"] * 2
    image = root / "Image" / "train" / "0--Parade" / "a.jpg"
    assert records[0].image == Crop(image, 10, 20.5, 40, 60.5)
    assert records.notes == (
        "Each of 4 people in 3 images is a record, cropped by its box",
        "Images without people, left out: 1",
        "People who cannot be cropped, because their box has no area: 1",
    )


def test_one_file(wider):
    path = wider() / "wider_attribute_test.json"
    assert find_wider_attribute(path) == path
    assert read_wider_attribute(path).split_names() == ["test"]


def test_the_folder_of_the_images(wider, tmp_path):
    root = wider()
    (root / "Image").rename(root / "far")
    with pytest.raises(DataError, match="None of the first 3 images"):
        read_wider_attribute(root)
    records = read_wider_attribute(root, images=root / "far")
    assert records[0].image.image == tmp_path / "far/train/0--Parade/a.jpg"


def target(i, k, **values):
    return lambda content: content["images"][i]["targets"][k].update(values)


def image(i, **values):
    return lambda content: content["images"][i].update(values)


@pytest.mark.parametrize(
    ("spoil", "what", "where"),
    [
        (target(0, 1, attribute=[1, 0]), "a list of 3 numbers", "images[0].targets[1].attribute"),
        (target(0, 1, attribute=[1, 0, 2]), "1, -1 and 0", "images[0].targets[1].attribute"),
        (target(0, 0, attribute=[1, 0, True]), "3 numbers", "images[0].targets[0].attribute"),
        (target(2, 0, bbox=[1, 2, 3]), "4 numbers", "images[2].targets[0].bbox"),
        (image(2, targets=None), "'targets' is missing", "images[2]"),
        (image(2, targets=[3]), "not a JSON object", "images[2].targets[0]"),
        (image(2, file_name="other/b.jpg"), "begins with train, val or test", "[2].file_name"),
        (image(2, file_name="train/0--Parade/a.jpg"), "images[0] has it", "images[2].file_name"),
        (lambda content: content.pop("images"), "'images' is missing", "trainval.json"),
        (lambda content: content.pop("attribute_id_map"), "not an object of", "attribute_id_map"),
        (lambda content: content["attribute_id_map"].pop("1"), "not 0 to 1", "attribute_id_map"),
        (lambda content: content["attribute_id_map"].update({"3": 4}), "not an object of", "map"),
        (image(2, file_name="test/0--Parade/c.jpg"), "is there twice", "test.json, images[0]"),
        (
            lambda content: content.update(attribute_id_map={"0": "a", "1": "b", "2": "c"}),
            "different labels",
            "wider_attribute_test.json",
        ),
    ],
)
def test_a_faulty_file(wider, spoil, what, where):
    content = trainval()
    spoil(content)
    root = wider(train=content)
    with pytest.raises(DataError) as caught:
        read_wider_attribute(root)
    assert what in caught.value.what
    assert where in caught.value.where


def test_nobody(wider):
    content = trainval()
    content["images"] = []
    path = wider(train=content) / "wider_attribute_trainval.json"
    with pytest.raises(DataError, match="no people"):
        read_wider_attribute(path)


def test_what_is_not_claimed(tmp_path):
    (tmp_path / "instances_train.json").touch()
    assert find_wider_attribute(tmp_path) is None
    assert find_wider_attribute(tmp_path / "instances_train.json") is None
    with pytest.raises(DataError, match="has neither"):
        read_wider_attribute(tmp_path)
