import json

import pytest

from manylabel.data.readers.label_studio import find_label_studio, read_label_studio
from manylabel.errors import DataError


def choices(*names, control="animal"):
    return {"type": "choices", "from_name": control, "value": {"choices": list(names)}}


def region(name, x, y, width, height, *, control="box", rotation=0, kind="rectanglelabels"):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return {"type": kind, "from_name": control, "value": {**value, kind: [name]}}


def task(image, *answers, **more):
    annotations = [{"was_cancelled": False, "result": results} for results in answers]
    return {"id": 1, "annotations": annotations, "data": {"image": image}, **more}


def flat(number, image, **values):
    """An entry of JSON-MIN."""
    return {"image": image, "id": number, "annotation_id": 5, "annotator": 1, **values}


@pytest.fixture
def write(tmp_path):
    """Writes an export and empty images; gives the export's path."""

    def write_export(document, *images):
        for image in images or ("images/a.jpg",):
            (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / image).touch()
        path = tmp_path / "export.json"
        path.write_text(json.dumps(document))
        return path

    return write_export


def sides(records):
    return [
        [(b.label, round(b.left, 6), round(b.top, 6), round(b.right, 6), round(b.bottom, 6))]
        for record in records
        for b in record.boxes
    ]


def test_choices_and_regions(write, tmp_path):
    path = write(
        [
            task("a.jpg", [choices("dog", "cat"), region("owl", 10, 20, 30, 40)]),
            task("b.jpg", [choices("dog")]),
            task("c.jpg", []),
        ]
    )
    records = read_label_studio(path)
    assert records.labels.names == ("cat", "dog", "owl")
    assert records.targets.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert sides(records) == [[("owl", 0.1, 0.2, 0.4, 0.6)]]
    assert records[0].image == tmp_path / "images/a.jpg"
    # A missing image keeps its record.
    assert records[1].image == tmp_path / "images/b.jpg"
    assert {record.split for record in records} == {None}


def test_a_task_that_nobody_annotated_is_unknown(write):
    cancelled = task("c.jpg", [choices("cat")])
    cancelled["annotations"][0]["was_cancelled"] = True
    path = write([task("a.jpg", [choices("dog")]), task("b.jpg"), cancelled])
    records = read_label_studio(path)
    assert records.labels.names == ("dog",)
    assert records.targets.tolist() == [[1], [-1], [-1]]
    assert "Tasks without an annotation, all labels unknown: 2" in records.notes
    assert "Annotations that were cancelled, not read: 1" in records.notes


def test_what_annotators_disagree_about_is_unknown(write):
    first = [region("cat", 0, 0, 50, 50), region("owl", 0, 0, 10, 10)]
    second = [choices("cat", "dog")]
    path = write([task("a.jpg", first, second, [choices("cat", "cat")]), task("b.jpg", second)])
    records = read_label_studio(path)
    assert records.labels.names == ("cat", "dog", "owl")
    assert records.targets.tolist() == [[1, -1, -1], [1, 1, 0]]
    # Of the first annotation, and only where the label is present.
    assert sides(records) == [[("cat", 0.0, 0.0, 0.5, 0.5)]]
    assert "Tasks with several annotations: 1" in records.notes
    assert "Targets unknown because annotators disagree: 2" in records.notes


def test_a_choice_of_two_controls_is_told_apart(write):
    marks = [choices("yes", control="blurred"), choices("no", control="cropped"), choices("cat")]
    others = [choices("no", control="blurred"), choices("no", control="cropped")]
    records = read_label_studio(write([task("a.jpg", marks), task("b.jpg", others)]))
    assert records.labels.names == ("blurred: no", "cat", "cropped: no", "yes")
    assert records.targets.tolist() == [[0, 1, 1, 1], [1, 0, 1, 0]]


def test_one_control(write):
    marks = [choices("cat"), choices("day", control="time"), region("cat", 0, 0, 9, 9)]
    path = write([task("a.jpg", marks)])
    assert read_label_studio(path, label_column="time").labels.names == ("day",)
    with pytest.raises(DataError, match="No annotation belongs to a control 'tim'") as caught:
        read_label_studio(path, label_column="tim")
    assert "animal, box, time" in caught.value.fix


def test_regions_of_other_shapes_give_labels_and_no_boxes(write):
    polygon = {
        "type": "polygonlabels",
        "from_name": "p",
        "value": {"points": [[0, 0], [1, 1]], "polygonlabels": ["elk"]},
    }
    turned = {**region("emu", 0, 0, 10, 10), "image_rotation": 90}
    unnamed = {"type": "rectanglelabels", "from_name": "p", "value": {"x": 1}}
    marks = [
        polygon,
        turned,
        unnamed,
        region("ape", 0, 0, 10, 10, rotation=30),
        region("cow", 100, 0, 10, 10),
        region("pig", 90, 90, 20, 20, kind="labels"),
        {"type": "rating", "from_name": "stars", "value": {"rating": 3}},
        {"type": "relation", "from_id": "1", "to_id": "2"},
    ]
    records = read_label_studio(write([task("a.jpg", marks, predictions=[{"result": []}])]))
    assert records.labels.names == ("ape", "cow", "elk", "emu", "pig")
    assert records.targets.tolist() == [[1, 1, 1, 1, 1]]
    assert sides(records) == [[("pig", 0.9, 0.9, 1.0, 1.0)]]
    for note in (
        "Regions that are not upright rectangles, read without boxes: 4",
        "Regions without a label, not read: 1",
        "Results of the kind 'rating', not read: 1",
        "Results of the kind 'relation', not read: 1",
        "Tasks with predictions, which are not read: 1",
    ):
        assert note in records.notes


@pytest.mark.parametrize(
    ("address", "key", "file"),
    [
        ("a.jpg", "a.jpg", "a.jpg"),
        ("pets/a.jpg", "pets/a.jpg", "images/pets/a.jpg"),
        ("C:\\pets\\a.jpg", "C:/pets/a.jpg", "images/pets/a.jpg"),
        ("a#1?.jpg", "a#1?.jpg", "a#1?.jpg"),
        ("/data/upload/3/1a2b3c4d-a.jpg", "upload/3/1a2b3c4d-a.jpg", "images/1a2b3c4d-a.jpg"),
        ("/data/upload/3/1a2b3c4d-a.jpg", "upload/3/1a2b3c4d-a.jpg", "upload/3/1a2b3c4d-a.jpg"),
        ("/data/upload/3/1a2b3c4d-a.jpg", "upload/3/1a2b3c4d-a.jpg", "images/a.jpg"),
        ("/data/local-files/?d=pets%2Fa%20b.jpg", "pets/a b.jpg", "pets/a b.jpg"),
        ("http://localhost:8080/data/local-files/?d=pets/a.jpg", "pets/a.jpg", "images/a.jpg"),
        ("http://localhost:8080/data/upload/3/a.jpg", "upload/3/a.jpg", "images/3/a.jpg"),
        ("/storage-data/uploaded/?filepath=upload/3/a.jpg", "upload/3/a.jpg", "images/a.jpg"),
        ("https://e.org/p/a%20b.jpg?token=x", "e.org/p/a b.jpg", "images/a b.jpg"),
        ("s3://bucket/pets/a.jpg", "bucket/pets/a.jpg", "images/pets/a.jpg"),
    ],
)
def test_where_images_are_found(write, tmp_path, address, key, file):
    records = read_label_studio(write([task(address, [choices("cat")])], file))
    assert list(records.keys) == [key]
    assert records[0].image == tmp_path / file


def test_the_longest_path_wins(write, tmp_path):
    path = write([task("x/1.jpg", [choices("cat")])], "images/1.jpg", "x/1.jpg")
    assert read_label_studio(path)[0].image == tmp_path / "x/1.jpg"
    assert read_label_studio(path, images=tmp_path / "images")[0].image == (
        tmp_path / "images/1.jpg"
    )


def test_two_images_are_never_one_file(write):
    document = [task("x/1.jpg", [choices("cat")]), task("y/1.jpg", [choices("dog")])]
    with pytest.raises(DataError, match="Two images have the same file: 'x/1.jpg' and 'y/1.jpg'"):
        read_label_studio(write(document, "images/1.jpg"))


@pytest.mark.parametrize(
    ("data", "column", "key"),
    [
        ({"name": "first", "photo": "a.jpg"}, None, "a.jpg"),
        ({"name": "first", "photo": "https://e.org/a.jpg?x=1"}, None, "e.org/a.jpg"),
        ({"image": "https://e.org/blob", "other": "a.jpg"}, None, "e.org/blob"),
        ({"one": "a.jpg", "two": "b.jpg"}, "two", "b.jpg"),
    ],
)
def test_the_key_of_the_image(write, data, column, key):
    path = write([{**task("", [choices("cat")]), "data": data}], "a.jpg", "b.jpg", "blob")
    assert list(read_label_studio(path, image_column=column).keys) == [key]


def test_tasks_of_one_image(write):
    same = task("a.jpg", [choices("cat")])
    records = read_label_studio(write([same, same]))
    assert len(records) == 1
    assert "Tasks that repeat another task, merged with it: 1" in records.notes
    with pytest.raises(DataError, match="has two tasks that differ") as caught:
        read_label_studio(write([same, task("a.jpg", [choices("dog")])]))
    assert "task[0]" in caught.value.where
    assert "task[1]" in caught.value.where


def test_json_min(write):
    box = {"x": 0, "y": 50, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["owl"]}
    path = write(
        [
            flat(1, "a.jpg", choice="cat", box=[box], note="dark"),
            flat(2, "b.jpg", choice="dog", more={"choices": ["wet", "cat"]}),
            flat(2, "b.jpg", choice="dog"),
        ]
    )
    records = read_label_studio(path)
    # "cat" is a choice of two controls.
    assert records.labels.names == ("choice: cat", "dog", "more: cat", "owl", "wet")
    assert records.targets.tolist() == [[1, 0, 0, 1, 0], [0, 1, -1, 0, -1]]
    assert sides(records) == [[("owl", 0.0, 0.5, 0.5, 1.0)]]
    assert "Values of the key 'note', not read: 1" in records.notes


def test_a_choice_of_one_in_json_min_is_known_by_its_key(write):
    path = write([flat(1, "a.jpg", weather="rain")])
    assert read_label_studio(path, label_column="weather").labels.names == ("rain",)
    with pytest.raises(DataError, match="No annotator gave a label") as caught:
        read_label_studio(path)
    assert "'weather'" in caught.value.what
    assert "--label-column" in caught.value.fix


def test_found_by_its_first_bytes(write, tmp_path):
    full = write([task("a.jpg", [choices("cat")])])
    assert find_label_studio(full) == full
    assert find_label_studio(tmp_path) == full
    full.write_text(json.dumps([flat(1, "a.jpg")], indent=2))
    assert find_label_studio(full) == full
    coco = tmp_path / "instances_train.json"
    coco.write_text(json.dumps({"images": [], "annotations": []}))
    assert find_label_studio(coco) is None
    assert find_label_studio(tmp_path) == full
    (tmp_path / "list.json").write_text("[1, 2]")
    assert find_label_studio(tmp_path / "list.json") is None
    assert find_label_studio(tmp_path / "none.json") is None
    (tmp_path / "again.json").write_text(full.read_text())
    with pytest.raises(DataError, match="2 exports"):
        find_label_studio(tmp_path)


WRONG = [
    ({}, "does not contain a list"),
    ([], "does not contain a list"),
    ([1], "not a JSON object"),
    ([{"id": 1, "annotations": []}], "'data' is missing"),
    ([{"id": 1, "data": {"image": "a.jpg"}}], "'annotations' is missing"),
    ([{**task("a.jpg"), "annotations": [{"id": 1}]}], "'result' is missing"),
    ([{**task("a.jpg"), "annotations": [12]}], "not a JSON object"),
    (
        [{**task("a.jpg"), "data": {"text": "words"}}],
        "No key has the path or URL of an image; the keys are: 'text'",
    ),
    ([task("a.jpg", [{"from_name": "a", "value": {}}])], "'type' is missing"),
    ([task("a.jpg", [choices("")])], "not a list of labels"),
    ([task("a.jpg", [{**choices(), "value": {}}])], "'choices' is missing"),
    ([task("a.jpg", [region("cat", "left", 1, 2, 3)])], "'x' is 'left'"),
    ([task("a.jpg", [])], "No annotator gave a label"),
    ([task("data:image/png;base64,xyz", [choices("cat")])], "is not the path or URL of a file"),
    ([task("https://e.org", [choices("cat")])], "is not the path or URL of a file"),
    ([task("http://[a.jpg", [choices("cat")])], "is not the path or URL of a file"),
    ([task("z.jpg", [choices("cat")])], "None of the first 1 images was found"),
    ([flat(1, "a.jpg", choice="x"), flat(1, "b.jpg", choice="x")], "'id' is 1, not a unique id"),
]


@pytest.mark.parametrize(("document", "said"), WRONG)
def test_what_is_wrong_is_said(write, document, said):
    with pytest.raises(DataError) as caught:
        read_label_studio(write(document))
    assert said in caught.value.what
    assert "export.json" in caught.value.where


def test_a_file_cut_short(write):
    path = write([task("a.jpg", [choices("cat")])])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="not valid JSON"):
        read_label_studio(path)


def test_annotations_as_they_were_called_before_version_1(write):
    value = {"choices": ["cat", "dog"]}
    result = [{"type": "choices", "from_name": "x", "value": value}]
    task = {"id": 1, "data": {"image": "a.jpg"}, "completions": [{"result": result}]}
    path = write([task])
    assert find_label_studio(path) == path
    assert read_label_studio(path).labels.names == ("cat", "dog")
