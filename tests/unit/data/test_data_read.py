import json

import pytest

from manylabel.config import parse
from manylabel.data.doctor.check import check
from manylabel.data.read import READERS, DataSource, read, recognise
from manylabel.errors import ConfigError, DataError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


TABLE = "image,labels\na.jpg,x|y\n"


@pytest.mark.parametrize(
    ("files", "ask", "kind", "found"),
    [
        (["t.csv"], "t.csv", "table", "t.csv"),
        (["t.TSV"], "t.TSV", "table", "t.TSV"),
        (["i.json"], "i.json", "coco", "i.json"),
        (["d/Annotations/1.xml", "d/JPEGImages/1.jpg"], "d", "voc", "d"),
        (["d/VOC2007/Annotations/1.xml", "d/VOC2007/JPEGImages/1.jpg"], "d", "voc", "d"),
        (["d/instances_train.json", "d/images/1.jpg"], "d", "coco", "d"),
        (["d/annotations/instances_val2017.json", "d/val2017/1.jpg"], "d", "coco", "d"),
        (["d/labels.csv", "d/images/1.jpg", "d/notes.txt"], "d", "table", "d/labels.csv"),
        (["d/cat/1.jpg", "d/dog/1.jpg"], "d", "folder", "d"),
    ],
)
def test_the_kind_is_recognised(tmp_path, files, ask, kind, found):
    touch(*(tmp_path / file for file in files))
    assert recognise(tmp_path / ask) == (kind, tmp_path / found)


@pytest.mark.parametrize(
    ("files", "ask", "what"),
    [
        ([], "no", "does not exist"),
        (["t.pdf"], "t.pdf", "file with the ending '.pdf' is not a data set"),
        (["t.xlsx"], "t.xlsx", "is a spreadsheet, not a table of text"),
        (["d/1.jpg", "d/.git/x"], "d", "folder is not a data set of a known kind"),
        (["d/train.csv", "d/test.csv", "d/images/1.jpg"], "d", "2 tables: test.csv, train.csv"),
    ],
)
def test_what_is_not_recognised(tmp_path, files, ask, what):
    touch(*(tmp_path / file for file in files))
    with pytest.raises(DataError, match=what):
        read(DataSource(path=tmp_path / ask))


def test_settings_reach_their_reader(tmp_path):
    (tmp_path / "t.txt").write_text("photo,what,fold\na.jpg,x/y,test\n")
    source = DataSource(
        path=tmp_path / "t.txt",
        format="table",
        images=tmp_path / "jpg",
        image_column="photo",
        label_column="what",
        label_delimiter="/",
        split_column="fold",
    )
    (record,) = read(source)
    assert record.image == tmp_path / "jpg" / "a.jpg"
    assert (record.split, record.targets.tolist()) == ("test", [1, 1])


def test_every_setting_belongs_to_a_reader():
    taken = {name for reader in READERS.values() for name in reader.settings}
    assert taken == set(DataSource.model_fields) - {"path", "format", "label_set"}


def test_every_setting_is_described():
    assert all(declared.description for declared in DataSource.model_fields.values())


@pytest.mark.parametrize(
    ("name", "setting"),
    [("t.csv", {"difficult": "absent"}), ("i.json", {"label_column": "tags"})],
)
def test_a_setting_that_does_not_apply_is_refused(tmp_path, name, setting):
    touch(tmp_path / name)
    with pytest.raises(ConfigError, match=next(iter(setting))):
        read(DataSource(path=tmp_path / name, **setting))


def test_a_default_that_is_spelled_out_is_no_mistake(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    tables = {"path": str(tmp_path / "t.csv"), "format": "auto", "difficult": "unknown"}
    assert len(read(parse(DataSource, tables, where="recipe"))) == 1


def test_names_that_no_file_can_hold(tmp_path):
    touch(tmp_path / "a.jpg")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 1, "height": 1}],
        "annotations": [],
        "categories": [{"id": 1, "name": "\ud800"}],
    }
    (tmp_path / "instances_train.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="holds half a character") as caught:
        read(DataSource(path=tmp_path))
    str(caught.value).encode()


def test_names_with_a_nul_character_are_refused(tmp_path):
    path = tmp_path / "photos.csv"
    for text in ("image,a\0b\nx.jpg,1\ny.jpg,0\n", "image,a\nx\0.jpg,1\ny.jpg,0\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="holds a NUL character"):
            read(DataSource(path=path))


def test_a_path_that_cannot_exist_is_told(tmp_path):
    (tmp_path / "photos.csv").write_text(f"image,a,b\n{'x' * 300}.jpg,1,0\ny.jpg,0,1\n")
    records = read(DataSource(path=tmp_path / "photos.csv"))
    assert [f.count for f in check(records, open_images=False).findings][0] == 2  # both are missing
    for kind in ("auto", *READERS):
        with pytest.raises(DataError, match="name too long|not installed|does not exist|hub"):
            read(DataSource(path=tmp_path / ("x" * 300), format=kind))
