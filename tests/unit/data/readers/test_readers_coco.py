import json

import pytest

from manylabel.data.readers.coco import find_coco, read_coco
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
        (change("annotations", 2, "category_id", 99), "'category_id' is 99", "annotations[2]"),
        (change("annotations", 2, "image_id", 99), "'image_id' is 99", "annotations[2]"),
        (change("annotations", 0, "bbox", [1, 2, 3]), "4 numbers", "annotations[0].bbox"),
        (change("annotations", 0, "bbox", [1, 2, 3, float("nan")]), "4 numbers", "].bbox"),
        (change("annotations", 0, "bbox", [1, 2, 3, 10**400]), "4 numbers", "].bbox"),
        (change("annotations", 0, "bbox", "none"), "4 numbers", "annotations[0].bbox"),
        (change("images", 0, "width", -3), "number over 0", "images[0].width"),
        (change("images", 0, "width", "wide"), "number over 0", "images[0].width"),
        (change("images", 0, "id", 1.5), "whole number", "images[0].id"),
        (change("images", 0, "id", None), "whole number", "images[0].id"),
        (change("images", 0, "id", True), "whole number", "images[0].id"),
        (change("images", 0, "id", " "), "whole number", "images[0].id"),
        (change("images", 1, "id", "1"), "another image", "images[1].id"),
        (change("annotations", 2, "image_id", "one"), "'image_id' is 'one'", "annotations[2]"),
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


# Objects without a place: their labels count.


@pytest.mark.parametrize(
    ("spoil", "boxes", "note"),
    [
        (drop("annotations", 0, "bbox"), 1, "Objects without a box, whose label is present: 1"),
        (change("annotations", 0, "bbox", None), 1, "Objects without a box"),
        (change("annotations", 0, "bbox", []), 1, "Objects without a box"),
        (change("annotations", 0, "bbox", [0, 0, 0, 0]), 1, "without area, which have no box: 1"),
        (drop("images", 0, "width"), 0, "their image has no width or height: 2"),
        (change("images", 0, "height", None), 0, "their image has no width or height: 2"),
        (change("images", 0, "height", 0), 0, "their image has no width or height: 2"),
    ],
)
def test_a_label_counts_without_its_box(write, spoil, boxes, note):
    content = document()
    spoil(content)
    records = read_coco(write(content))
    assert records.targets.tolist() == [[1, 1], [0, 0]]
    assert len(records[0].boxes) == boxes
    assert any(note in line for line in records.notes)


@pytest.mark.parametrize("form", [str, lambda number: f"id-{number}", float, "0{}".format])
def test_ids_of_another_form(write, form):
    content = document()
    for image in content["images"]:
        image["id"] = form(image["id"])
    for category in content["categories"]:
        category["id"] = form(category["id"])
    for annotation in content["annotations"]:
        annotation["image_id"] = form(annotation["image_id"])
        annotation["category_id"] = form(annotation["category_id"])
    records = read_coco(write(content))
    assert records.labels.names == ("cat", "dog")
    assert records.targets.tolist() == [[1, 1], [0, 0]]


def test_ids_that_are_numbers_in_one_list_and_digits_in_another(write):
    content = document()
    for annotation in content["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
    assert read_coco(write(content)).targets.tolist() == [[1, 1], [0, 0]]


def test_numbers_are_ordered_by_value_and_texts_come_last(write):
    content = document()
    content["categories"] += [{"id": "x", "name": "owl"}, {"id": "10", "name": "gull"}]
    assert read_coco(write(content)).labels.names == ("cat", "dog", "gull", "owl")


# Categories that no image has.


def with_root(content, root="animals", **more):
    for category in content["categories"]:
        category["supercategory"] = root
    content["categories"].insert(0, {"id": 0, "name": root, "supercategory": "none", **more})
    return content


def test_a_root_that_no_image_has_is_no_label(write):
    records = read_coco(write(with_root(document())))
    assert records.labels.names == ("cat", "dog")
    assert any("Supercategories of others" in note and "animals" in note for note in records.notes)


def test_a_root_that_an_image_has_is_a_label(write):
    content = with_root(document())
    content["annotations"].append({"image_id": 2, "category_id": 0, "bbox": [0, 0, 9, 9]})
    assert read_coco(write(content)).labels.names == ("animals", "cat", "dog")


def test_a_root_that_one_split_has_is_a_label_of_all(write, tmp_path):
    write(with_root(document()), "instances_val.json")
    content = with_root(document(prefix="x"))
    content["annotations"][0]["category_id"] = 0
    write(content, "instances_train.json")
    assert read_coco(tmp_path).labels.names == ("animals", "cat", "dog")


def test_a_category_above_itself_or_above_none_stays(write):
    content = document()
    content["categories"] += [{"id": 9, "name": "owl", "supercategory": "owl"}]
    assert "owl" in read_coco(write(content)).labels


def test_a_split_that_lacks_a_category(write, tmp_path):
    write(document(), "instances_train.json")
    content = document(prefix="x")
    content["annotations"] = content["annotations"][:1]
    content["categories"] = content["categories"][:1]
    write(content, "instances_val.json")
    records = read_coco(tmp_path)
    assert records.labels.names == ("cat", "dog")
    assert records.targets.tolist() == [[1, 1], [0, 0], [0, 1], [0, 0]]
    assert "Labels that instances_val.json lacks, absent there: 1 (cat)" in records.notes


# The folders of other programs.


def test_roboflows_folders(write, tmp_path):
    for split in ("train", "valid", "test"):
        write(with_root(document()), f"{split}/_annotations.coco.json", split)
    assert find_coco(tmp_path) == tmp_path
    records = read_coco(tmp_path)
    assert records.keys[:3] == ("train/a.jpg", "train/b.jpg", "valid/a.jpg")
    assert records.split_counts() == {"train": 2, "val": 2, "test": 2}
    assert all(record.image.is_file() for record in records)


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("labels.json", "data"),
        ("result.json", "images"),
        ("annotations.json", "images"),
        ("annotations/all.json", "images"),
        ("annotations/all.json", "data"),
    ],
)
def test_a_file_of_any_name_beside_a_folder_of_images(write, tmp_path, name, images):
    write(document(), name, images)
    assert find_coco(tmp_path) == tmp_path
    records = read_coco(tmp_path)
    assert list(records.keys) == ["a.jpg", "b.jpg"]
    assert all(record.image.is_file() for record in records)


def test_files_that_are_named_by_their_splits(write, tmp_path):
    write(document(prefix="t"), "train.json")
    write(document(prefix="v"), "val.json")
    assert find_coco(tmp_path) == tmp_path
    assert read_coco(tmp_path).split_counts() == {"train": 2, "val": 2}


def test_files_whose_splits_are_not_known(write, tmp_path):
    write(document(prefix="t"), "north.json")
    write(document(prefix="v"), "south.json")
    with pytest.raises(DataError, match="several COCO files"):
        read_coco(tmp_path)


def test_a_folder_of_another_kind_is_not_taken(write, tmp_path):
    write(document(), "coco.json")
    (tmp_path / "photos.csv").write_text("image,labels\na.jpg,cat\n")
    assert find_coco(tmp_path) is None


@pytest.mark.parametrize("content", ["[]", '{"features": {}}', '{"classes": [], "labels": {}}'])
def test_other_json_is_not_taken_in_a_folder(tmp_path, content):
    (tmp_path / "info.json").write_text(content)
    assert find_coco(tmp_path) is None


# Names of images that fit loosely.


def test_addresses_of_the_web(write, tmp_path):
    content = document()
    path = write(content)
    for image in content["images"]:
        image["file_name"] = f"https://example.org/of/{image['file_name']}?token=1"
    path.write_text(json.dumps(content))
    records = read_coco(path)
    assert records.keys == ("example.org/of/a.jpg", "example.org/of/b.jpg")
    assert records[0].image == tmp_path / "images" / "a.jpg"
    with pytest.raises(DataError, match="--images") as caught:
        read_coco(path, images=tmp_path / "elsewhere")
    assert "Download them" in caught.value.fix


def test_names_without_endings(write, tmp_path):
    content = document()
    path = write(content)
    for image in content["images"]:
        image["file_name"] = image["file_name"].removesuffix(".jpg")
    path.write_text(json.dumps(content))
    records = read_coco(path)
    assert records.keys == ("a", "b")
    assert records[1].image == tmp_path / "images" / "b.jpg"


def test_folders_that_are_not_there_any_more(write, tmp_path):
    content = document()
    path = write(content)
    for image in content["images"]:
        image["file_name"] = f"C:\\photos\\{image['file_name']}"
    path.write_text(json.dumps(content))
    assert read_coco(path)[0].image == tmp_path / "images" / "a.jpg"


def test_two_images_are_never_taken_for_one_file(write):
    content = document()
    path = write(content)
    for image, folder in zip(content["images"], "xy", strict=True):
        image["file_name"] = f"{folder}/a.jpg"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="None of the first 2 images"):
        read_coco(path)
