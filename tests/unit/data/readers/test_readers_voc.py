import pytest

from manylabel.data.readers.voc import read_voc
from manylabel.errors import DataError


def thing(name, box, difficult=None):
    mark = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    edges = "".join(
        f"<{edge}>{value}</{edge}>"
        for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    return f"<object><name>{name}</name>{mark}<bndbox>{edges}</bndbox>{part}</object>"


def annotation(*things, size=(200, 100)):
    width, height = size
    return (
        "<annotation><filename>stale.png</filename>\n"
        f"<size><width>{width}</width><height>{height}</height></size>\n{''.join(things)}"
        "</annotation>"
    )


WHOLE = (1, 1, 200, 100)
SCENES = {
    "000": annotation(thing("dog", (21, 11, 120, 60), 0), thing("cat", WHOLE, 1)),
    "001": annotation(thing("cat", WHOLE, 1), thing("cat", (1, 1, 100.0, 50), 0)),
    "002": annotation(),
    "003": annotation(thing("dog", WHOLE)),
}


@pytest.fixture
def voc(tmp_path):
    """Writes a data set; `lists` are those of ImageSets/Main."""

    def write(scenes=SCENES, lists=None, below="."):
        root = tmp_path / below
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / folder).mkdir(parents=True)
        for stem, text in scenes.items():
            (root / "Annotations" / f"{stem}.xml").write_text(text)
            (root / "JPEGImages" / f"{stem}.jpg").touch()
        for name, stems in (lists or {}).items():
            text = "".join(f"{stem}\n" for stem in stems)
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
        return root

    return write


def test_without_lists_every_annotated_image_is_read(voc):
    root = voc()
    records = read_voc(root)
    assert records.labels.names == ("cat", "dog")
    assert list(records.keys) == ["000.jpg", "001.jpg", "002.jpg", "003.jpg"]
    assert records[0].image == root / "JPEGImages" / "000.jpg"
    assert {record.split for record in records} == {None}
    assert "Images without an object, all labels absent: 1" in records.notes


def test_boxes_count_from_one_and_include_their_last_pixel(voc):
    first, second, *_ = read_voc(voc())
    boxes = [(b.label, b.left, b.top, b.right, b.bottom) for b in first.boxes]
    assert boxes == [("dog", 0.1, 0.1, 0.6, 0.6)]
    assert [(b.left, b.top, b.right, b.bottom) for b in second.boxes] == [(0.0, 0.0, 0.5, 0.5)]


@pytest.mark.parametrize(
    ("difficult", "cat", "boxes"), [("unknown", -1, 1), ("present", 1, 2), ("absent", 0, 1)]
)
def test_a_label_with_difficult_objects_only(voc, difficult, cat, boxes):
    records = read_voc(voc(), difficult=difficult)
    assert records.targets.tolist() == [[cat, 1], [1, 0], [0, 0], [0, 1]]
    assert len(records[0].boxes) == boxes
    assert (
        f"Labels of an image with only difficult objects, read as {difficult}: 1" in records.notes
    )


def test_lists_give_the_splits_and_trainval_is_passed_over(voc):
    lists = {"train": ["001"], "val": ["000"], "trainval": ["000", "001"], "test": ["003"]}
    records = read_voc(voc(lists=lists))
    splits = {record.key: record.split for record in records}
    assert splits == {"001.jpg": "train", "000.jpg": "val", "003.jpg": "test"}
    assert "Annotated images that are in no list, left out: 1" in records.notes


def test_trainval_trains_where_it_is_all_there_is(voc):
    records = read_voc(voc(lists={"trainval": ["000", "001"], "test": ["002", "003"]}))
    assert [record.split for record in records] == ["train", "train", "test", "test"]


@pytest.mark.parametrize("below", ["VOC2007", "VOCdevkit/VOC2012"])
def test_the_folder_is_found_below(voc, tmp_path, below):
    voc(below=below)
    assert len(read_voc(tmp_path)) == 4


def test_several_data_sets_below(voc, tmp_path):
    voc(below="VOC2007")
    voc(below="VOC2012")
    with pytest.raises(DataError, match="several Pascal VOC data sets: VOC2007, VOC2012"):
        read_voc(tmp_path)


def test_an_image_of_another_kind_and_one_that_is_missing(voc):
    root = voc()
    (root / "JPEGImages" / "000.jpg").rename(root / "JPEGImages" / "000.png")
    (root / "JPEGImages" / "001.jpg").unlink()
    assert read_voc(root).keys[:2] == ("000.png", "001.jpg")


def test_two_images_for_one_annotation(voc):
    root = voc()
    (root / "JPEGImages" / "000.png").touch()
    with pytest.raises(DataError, match="have the name '000'"):
        read_voc(root)


@pytest.mark.parametrize(
    ("lists", "what", "where"),
    [
        (
            {"train": ["000", "007"]},
            "'007' is in the list but has no annotation",
            "train.txt, line 2",
        ),
        ({"train": ["000"], "test": ["001", "000"]}, "two splits, train and test", "line 2"),
        ({"train": []}, "no annotated image", ""),
    ],
)
def test_faulty_lists(voc, lists, what, where):
    with pytest.raises(DataError) as caught:
        read_voc(voc(lists=lists))
    assert what in caught.value.what
    assert where in caught.value.where


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<annotation>\n<size>", "not valid XML"),
        ("", "not valid XML"),
        ('<?xml version="1.0" encoding="martian"?><annotation/>', "not valid XML|encoding"),
        ('<?xml version="1.0" encoding="utf-7"?><annotation/>', "not valid XML|encoding"),
        (annotation(thing("", WHOLE)), "'name' of 'object' is missing"),
        (annotation(thing("cat", WHOLE), size=(0, 5)), "not a number above 0"),
        (annotation(thing("cat", WHOLE), size=("", 5)), "'size/width' of 'annotation' is missing"),
        (annotation(thing("cat", ("nan", 1, 2, 3))), "'bndbox/xmin' of 'object' is 'nan'"),
        (annotation(thing("cat", ("x", 1, 2, 3))), "'bndbox/xmin' of 'object' is 'x'"),
        (annotation(thing("cat", (9, 1, 2, 3))), "has no area"),
        (annotation(thing("cat", WHOLE, "yes")), "'difficult' of 'object' is 'yes'"),
    ],
)
def test_a_faulty_annotation_is_told_with_its_file(voc, text, what):
    with pytest.raises(DataError, match=what) as caught:
        read_voc(voc({**SCENES, "001": text}))
    assert "001.xml" in caught.value.where


def test_malformed_xml_names_its_line(voc):
    with pytest.raises(DataError) as caught:
        read_voc(voc({"000": "<annotation>\n<size>\n</annotation>"}))
    assert caught.value.where.endswith("000.xml, line 3")


@pytest.mark.parametrize("folder", ["Annotations", "JPEGImages"])
def test_a_missing_folder(voc, folder):
    root = voc()
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(DataError, match=f"no folder {folder}"):
        read_voc(root)
