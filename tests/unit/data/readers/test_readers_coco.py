import json

import pytest

from manylabel.data.readers.coco import read_coco
from manylabel.errors import DataError


def document(*, prefix="", dog="dog"):
    """Two images, one without objects; a dog, a crowd of cats, a dog that sticks out."""
    return {
        "images": [
            {"id": 1, "file_name": f"{prefix}a.jpg", "width": 200, "height": 100},
            {"id": 2, "file_name": f"{prefix}b.jpg", "width": 50, "height": 50},
        ],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [20, 10, 100, 50], "iscrowd": 0},
            {"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10], "iscrowd": 1},
            {"image_id": 1, "category_id": 7, "bbox": [150, 50, 100, 100]},
        ],
        "categories": [{"id": 7, "name": dog}, {"id": 3, "name": "cat"}],
    }


@pytest.fixture
def write(tmp_path):
    def write_coco(content, name="instances_train.json", images="images"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        for image in content["images"]:
            file = tmp_path / images / image["file_name"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return path

    return write_coco


def test_a_file(write, tmp_path):
    records = read_coco(write(document()))
    assert records.labels.names == ("cat", "dog")
    assert list(records.keys) == ["a.jpg", "b.jpg"]
    assert records.targets.tolist() == [[1, 1], [0, 0]]
    first = records[0]
    assert first.image == tmp_path / "images" / "a.jpg"
    assert first.split == "train"
    boxes = [(b.label, b.left, b.top, b.right, b.bottom) for b in first.boxes]
    assert boxes == [("dog", 0.1, 0.1, 0.6, 0.6), ("dog", 0.75, 0.5, 1.0, 1.0)]
    assert "Crowds, whose label is present but which have no box: 1" in records.notes
    assert "Images without an object, kept with all labels absent: 1" in records.notes


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_val2014.json", "val"),
        ("instances_train2017.json", "train"),
        ("instances_test.json", "test"),
        ("instances_default.json", None),
        ("mine.json", None),
    ],
)
def test_the_split_is_in_the_name(write, name, split):
    assert {record.split for record in read_coco(write(document(), name))} == {split}


def test_a_folder_in_cocos_own_layout(write, tmp_path):
    write(document(prefix="t_"), "annotations/instances_train2014.json", "train2014")
    write(document(prefix="v_"), "annotations/instances_val2014.json", "val2014")
    records = read_coco(tmp_path)
    assert list(records.keys) == ["t_a.jpg", "t_b.jpg", "v_a.jpg", "v_b.jpg"]
    assert records.split_names() == ["train", "val"]
    assert [record.image.parent.name for record in records] == ["train2014"] * 2 + ["val2014"] * 2
    assert all(record.image.is_file() for record in records)


@pytest.mark.parametrize("images", [".", "images", "images/train", "train"])
def test_the_images_folder_is_found_beside_the_file(write, tmp_path, images):
    records = read_coco(write(document(), images=images))
    assert records[1].image == tmp_path / images / "b.jpg"


def test_the_images_folder_can_be_given(write, tmp_path):
    path = write(document(), "json/instances_train.json", "far/away")
    with pytest.raises(DataError) as caught:
        read_coco(path)
    assert "'a.jpg'" in caught.value.what
    assert str(tmp_path / "json" / "images") in caught.value.fix
    given = read_coco(path, images=tmp_path / "far" / "away")
    assert given[0].image == tmp_path / "far" / "away" / "a.jpg"


def test_one_missing_image_stays_to_be_noticed_when_it_is_opened(write, tmp_path):
    path = write(document())
    (tmp_path / "images" / "a.jpg").unlink()
    assert list(read_coco(path).keys) == ["a.jpg", "b.jpg"]


def test_images_without_an_object_can_be_dropped(write):
    records = read_coco(write(document()), unlabelled="drop")
    assert list(records.keys) == ["a.jpg"]
    assert "Images without an object, dropped: 1" in records.notes


def test_nothing_is_left_where_no_image_has_an_object(write):
    content = document()
    content["annotations"] = []
    path = write(content)
    assert len(read_coco(path)) == 2
    with pytest.raises(DataError, match="No image has an object"):
        read_coco(path, unlabelled="drop")


def test_a_box_outside_of_its_image_is_counted(write):
    content = document()
    content["annotations"] = [{"image_id": 1, "category_id": 7, "bbox": [300, 0, 5, 5]}]
    records = read_coco(write(content))
    assert records.targets[0].tolist() == [0, 1]
    assert records[0].boxes == ()
    assert "Objects outside their image or without area, which have no box: 1" in records.notes


def change(key, i, field, value):
    def apply(content):
        content[key][i][field] = value

    return apply


def drop(key, i=None, field=None):
    def apply(content):
        if i is None:
            del content[key]
        else:
            del content[key][i][field]

    return apply


@pytest.mark.parametrize(
    ("spoil", "what", "where"),
    [
        (drop("images"), "'images' is missing", "train.json"),
        (drop("annotations"), "'annotations' is missing", "train.json"),
        (drop("categories"), "'categories' is missing", "train.json"),
        (drop("images", 1, "file_name"), "'file_name' is missing", "images[1]"),
        (drop("images", 0, "width"), "'width' is missing", "images[0]"),
        (drop("annotations", 0, "bbox"), "'bbox' is missing", "annotations[0]"),
        (change("annotations", 2, "category_id", 99), "'category_id' is 99", "annotations[2]"),
        (change("annotations", 2, "image_id", 99), "'image_id' is 99", "annotations[2]"),
        (change("annotations", 0, "bbox", [1, 2, 3]), "4 numbers", "annotations[0].bbox"),
        (change("annotations", 0, "bbox", [1, 2, 3, float("nan")]), "4 numbers", "].bbox"),
        (change("annotations", 0, "bbox", [1, 2, 3, 10**400]), "4 numbers", "].bbox"),
        (change("images", 0, "width", 0), "number over 0", "images[0].width"),
        (change("images", 0, "id", "1"), "whole number", "images[0].id"),
        (change("images", 1, "id", 1), "another image", "images[1].id"),
        (change("images", 1, "file_name", "./a.jpg"), "another image", "images[1].file_name"),
        (change("categories", 1, "id", 7), "another category", "categories[1].id"),
        (change("categories", 1, "name", "dog"), "more than once: dog", "categories"),
        (change("categories", 1, "name", " "), "not empty", "categories[1].name"),
        (lambda content: content.update(images=[]), "no images", "images"),
        (lambda content: content.update(images={}), "not a list", "train.json"),
        (lambda content: content["images"].append(5), "not a JSON object", "images[2]"),
    ],
)
def test_a_faulty_file_is_told(write, tmp_path, spoil, what, where):
    path = write(document())
    content = document()
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        read_coco(path)
    assert what in caught.value.what
    assert where in caught.value.where
    assert path.name in caught.value.where


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"images": [', "not valid JSON"),
        (b"\xff\xfe\xfd", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"[]", "not hold a JSON object"),
    ],
)
def test_what_is_no_json_object(tmp_path, content, what):
    path = tmp_path / "instances_train.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=what):
        read_coco(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_coco(tmp_path / "instances_train.json")


def test_a_folder_without_instances(tmp_path):
    with pytest.raises(DataError, match="no files of COCO instances"):
        read_coco(tmp_path)


def test_an_image_in_two_splits(write, tmp_path):
    write(document(), "instances_train.json")
    write(document(), "instances_test.json")
    with pytest.raises(DataError, match=r"'a.jpg' is there twice"):
        read_coco(tmp_path)


def test_two_files_of_one_split(write, tmp_path):
    write(document(), "instances_val2014.json")
    write(document(prefix="x"), "instances_val2017.json")
    with pytest.raises(DataError, match="Two files belong to the split val"):
        read_coco(tmp_path)


def test_categories_have_to_be_the_same(write, tmp_path):
    write(document(), "instances_train.json")
    write(document(prefix="x", dog="wolf"), "instances_val.json")
    with pytest.raises(DataError, match="different labels"):
        read_coco(tmp_path)
