"""Whatever a file holds, a reader yields records or says what is wrong; it never falls over."""

import json

import pytest
from fuzzing import mutated, quick, reads_or_tells
from hypothesis import given
from hypothesis import strategies as st

from manylabel.data.readers.coco import read_coco
from manylabel.data.readers.table import read_table
from manylabel.data.readers.voc import read_voc

TABLE = b'image,labels,split,group\n"a.jpg",x|y,train,1\nb.jpg,y,val,\nc.jpg,,,2\n'
WIDE = b"image,cat,dog,year\na.jpg,1,0,1999\nb.jpg,-1,,2001\n"
XML = (
    b'<?xml version="1.0" encoding="utf-8"?><annotation><size><width>9</width><height>8</height>'
    b"</size><object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
    b"<xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>"
)
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 8}],
    "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 0}],
    "categories": [{"id": 3, "name": "cat"}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A COCO and a VOC data set, valid as they stand."""
    path = tmp_path_factory.mktemp("fuzz")
    for name in ("Annotations", "JPEGImages"):
        (path / name).mkdir()
    (path / "a.jpg").touch()
    (path / "JPEGImages" / "a.jpg").touch()
    return path


def test_what_is_mutated_is_valid(folder):
    for content in (TABLE, WIDE):
        (folder / "t.csv").write_bytes(content)
        assert reads_or_tells(read_table, folder / "t.csv")
    (folder / "i.json").write_text(json.dumps(COCO))
    assert reads_or_tells(read_coco, folder / "i.json")
    (folder / "Annotations" / "a.xml").write_bytes(XML)
    assert reads_or_tells(read_voc, folder)


@quick
@given(content=mutated(TABLE) | mutated(WIDE) | st.binary(max_size=60))
def test_tables(folder, content):
    path = folder / "t.csv"
    path.write_bytes(content)
    reads_or_tells(read_table, path)


@quick
@given(content=mutated(json.dumps(COCO).encode()))
def test_json_bytes(folder, content):
    path = folder / "i.json"
    path.write_bytes(content)
    reads_or_tells(read_coco, path)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, "", "a.jpg", "\x00", "x" * 300, "/", "../..", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.just("id"), inner),
    max_leaves=5,
)


@quick
@given(data=st.data(), value=anything)
def test_json_values(folder, data, value):
    content = json.loads(json.dumps(COCO))
    target = content
    for _ in range(data.draw(st.integers(0, 3))):
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        inner = target[data.draw(st.sampled_from(keys))]
        if not isinstance(inner, dict | list):
            break
        target = inner
    keys = list(target) if isinstance(target, dict) else list(range(len(target)))
    target[data.draw(st.sampled_from(keys))] = value
    path = folder / "i.json"
    path.write_text(json.dumps(content))
    reads_or_tells(read_coco, path)


@quick
@given(content=mutated(XML))
def test_xml(folder, content):
    (folder / "Annotations" / "a.xml").write_bytes(content)
    reads_or_tells(read_voc, folder)


@quick
@given(content=mutated(b"a\n"))
def test_voc_lists(folder, content):
    (folder / "Annotations" / "a.xml").write_bytes(XML)
    main = folder / "ImageSets" / "Main"
    main.mkdir(parents=True, exist_ok=True)
    (main / "train.txt").write_bytes(content)
    try:
        reads_or_tells(read_voc, folder)
    finally:
        (main / "train.txt").unlink()
