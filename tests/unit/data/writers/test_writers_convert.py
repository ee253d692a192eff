"""Whatever records are written, in whatever format, they are read back equal, or it is said why."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from manylabel.data.records import Box, Record, Records
from manylabel.data.writers.convert import WRITERS, convert, plan
from manylabel.data.writers.proof import first_difference
from manylabel.errors import ConfigError, DataError, RunError
from manylabel.images import Crop, FilePart, has_image_ending, open_image
from manylabel.labels import LabelSpace

pytest.importorskip("pyarrow")

quick = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
OUTS = {"table": "out.csv", "coco": "out.json", "parquet": "out.parquet", "webdataset": "shards"}
COUNT = 5


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of 40x30 pixels, each different; one lies on its side by EXIF."""
    folder = tmp_path_factory.mktemp("photos")
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(COUNT):
        image = Image.new("RGB", (40, 30), (number * 40, 20, 90))
        image.save(folder / f"{number}.jpg", exif=exif if number == 1 else Image.Exif())
    return folder


# What means something to a format, beside any letters.
character = st.sampled_from("|;,\"' \t\n./\\[]{}:#=<&é雪") | st.characters(
    blacklist_categories=["Cs"], max_codepoint=0x2FFF
)
anything = st.text(character, min_size=1, max_size=8)
name = anything.filter(lambda text: bool(text.strip()))
fraction = st.integers(0, 999).map(lambda x: x / 999)


@st.composite
def record_sets(draw, photos: Path, *, texts=name, boxes=True) -> Records:
    seen = texts.filter(lambda text: any(c.isprintable() and not c.isspace() for c in text))
    labels = LabelSpace(draw(st.lists(seen, min_size=1, max_size=4, unique=True)))
    keys = draw(st.lists(texts, min_size=1, max_size=COUNT, unique=True))
    items = []
    for number, key in enumerate(keys):
        targets = draw(
            st.lists(st.sampled_from([1, 0, -1]), min_size=len(labels), max_size=len(labels))
        )
        found = draw(st.lists(box(labels), max_size=2)) if boxes else []
        items.append(
            Record(
                key,
                photos / f"{number}.jpg",
                np.array(targets, dtype=np.int8),
                draw(st.sampled_from(["train", "val", "test", None])),
                tuple(found),
                group=draw(st.none() | texts),
            )
        )
    return Records.of(labels, tuple(items), "drawn")


def box(labels):
    return st.builds(
        lambda label, x, y: Box(label, min(x), min(y), max(x), max(y)),
        st.sampled_from(labels.names),
        st.lists(fraction, min_size=2, max_size=2, unique=True),
        st.lists(fraction, min_size=2, max_size=2, unique=True),
    )


def said(record):
    """All of a record but its image; sides of boxes rounded."""
    sides = [(b.label, *np.round([b.left, b.top, b.right, b.bottom], 8)) for b in record.boxes]
    return record.key, record.targets.tolist(), record.split, record.group, sides, record.mask


def same(one: Records, other: Records, *, ordered: bool = True, boxes: bool = True) -> bool:
    """A comparison of its own: the library's is under test."""

    def of(records):
        rows = [said(r) if boxes else (*said(r)[:4], r.mask) for r in records]
        return rows if ordered else sorted(rows, key=str)

    return one.labels.names == other.labels.names and of(one) == of(other)


def written(records: Records, folder: Path, kind: str) -> Records:
    out = folder / OUTS[kind]
    return convert(plan(records, out, to=kind, overwrite=True))


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
@quick
@given(data=st.data())
def test_any_name_is_kept(photos, tmp_path, kind, data):
    records = data.draw(record_sets(photos))
    assert same(records, written(records, tmp_path, kind), ordered=kind == "parquet")


@pytest.mark.parametrize("kind", ["table", "coco"])
@quick
@given(data=st.data())
def test_names_are_kept_or_refused(photos, tmp_path, kind, data):
    """Names that a reader would change are the only reason not to write."""
    texts = anything.map(lambda text: f"x{text}").filter(lambda text: not has_image_ending(text))
    records = data.draw(record_sets(photos, texts=texts))
    cells = [cell or "" for r in records for cell in (r.key, r.group)]
    stripped = [*records.labels, *(cells if kind == "table" else [])]
    padded = [name for name in stripped if name != name.strip()]
    named = kind == "table" and any(has_image_ending(Path(name)) for name in records.labels)
    if padded or named:
        with pytest.raises(DataError, match="blank|cannot be the header"):
            written(records, tmp_path, kind)
    else:
        assert same(records, written(records, tmp_path, kind), boxes=kind == "coco")


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(OUTS, 2)))
@settings(quick, max_examples=8)
@given(data=st.data())
def test_every_pair_of_formats(photos, tmp_path, first, second, data):
    plain = st.text("abcé雪|;,\"' ", min_size=1, max_size=5).map(lambda text: f"x{text}x")
    records = data.draw(record_sets(photos, texts=plain))
    there = written(written(records, tmp_path, first), tmp_path, second)
    boxes = "table" not in (first, second)
    assert same(records, there, ordered="webdataset" not in (first, second), boxes=boxes)


def example(photos, **parts) -> Records:
    """Three records; `parts` change all of them."""
    rows = [("a", [1, 0, -1], "test"), ("b", [0, 0, 0], None), ("c", [0, 0, 1], "train")]
    items = [
        Record(key, photos / f"{i}.jpg", np.array(row, dtype=np.int8), split, **parts)
        for i, (key, row, split) in enumerate(rows)
    ]
    return Records.of(LabelSpace(["z", "never", "a|b"]), tuple(items), "here")


@pytest.mark.parametrize("kind", OUTS)
def test_images_are_the_same(photos, tmp_path, kind):
    result = written(example(photos), tmp_path, kind)
    pixels = {r.key: np.asarray(open_image(r.image)) for r in result}
    for record in example(photos):
        assert (pixels[record.key] == np.asarray(open_image(record.image))).all()


def test_masks_are_kept_or_said(photos, tmp_path):
    records = example(photos, mask=photos / "mask.png")
    for kind in ("table", "coco", "parquet"):
        masks = [record.mask for record in written(records, tmp_path, kind)]
        assert [os.path.abspath(mask) for mask in masks] == [str(photos / "mask.png")] * 3
    planned = plan(records, tmp_path / "new", to="webdataset")
    assert planned.notes[0] == "Masks that are left out because the format cannot hold them: 3"
    assert all(record.mask is None for record in convert(planned))


def test_boxes_that_a_table_cannot_hold_are_said(photos, tmp_path):
    records = example(photos, boxes=(Box("z", 0, 0, 0.5, 1),))
    assert plan(records, tmp_path / "t.csv").notes == (
        "Boxes that are left out because the format cannot hold them: 3",
    )
    assert plan(records, tmp_path / "t.parquet").notes == ()


def test_coco_is_what_other_tools_expect(photos, tmp_path):
    """By hand: 40x30 pixels, of which the second lies on its side and is 30x40 upright."""
    records = example(photos, boxes=(Box("a|b", 0.25, 0.5, 0.75, 1.0),))
    convert(plan(records, tmp_path / "c.json"))
    document = json.loads((tmp_path / "c.json").read_text())
    assert [(c["id"], c["name"]) for c in document["categories"]] == [
        (1, "z"),
        (2, "never"),
        (3, "a|b"),
    ]
    sizes = [(image["width"], image["height"]) for image in document["images"]]
    assert sizes == [(40, 30), (30, 40), (40, 30)]
    boxes = [
        (a["image_id"], a["category_id"], a["bbox"], a["area"]) for a in document["annotations"]
    ]
    assert boxes == [
        (1, 3, [10, 15, 20, 15], 300),
        (2, 3, [7.5, 20, 15, 20], 300),
        (3, 3, [10, 15, 20, 15], 300),
    ]
    extra = document["images"][0]["manylabel"]
    assert extra == {"split": "test", "key": "a", "present": ["z"], "unknown": ["a|b"]}
    assert document["images"][1]["manylabel"]["absent"] == ["a|b"]


def test_coco_folder_has_a_file_a_split(photos, tmp_path):
    planned = plan(example(photos), tmp_path / "c", to="coco")
    assert planned.notes[0].startswith("Images are sorted by split")
    result = convert(planned)
    files = sorted(file.name for file in (tmp_path / "c").iterdir())
    assert files == ["instances_all.json", "instances_test.json", "instances_train.json"]
    assert same(example(photos), result, ordered=False)


@pytest.mark.parametrize("kind", ["table", "coco", "parquet"])
def test_what_is_no_file_becomes_one(photos, tmp_path, kind):
    packed = tmp_path / "packed.bin"
    content = (photos / "2.jpg").read_bytes()
    packed.write_bytes(b"before" + content + b"after")
    part = FilePart(packed, 6, len(content), "two")
    first, second, third = example(photos)
    items = (
        Record("a", part, first.targets),
        Record("b", Crop(photos / "1.jpg", 3, 5, 20.5, 30), second.targets),
        third,
    )
    planned = plan(
        Records.of(LabelSpace(["z", "never", "a|b"]), items, "here"), tmp_path / OUTS[kind]
    )
    folder = tmp_path / "out-images"
    assert planned.notes == (f"Images that are not files of their own, copied into {folder}: 2",)
    result = convert(planned)
    assert sorted(file.name for file in folder.iterdir()) == ["00000000.jpg", "00000001.png"]
    assert (folder / "00000000.jpg").read_bytes() == content
    assert result[1].key == "b"
    for one, other in zip(items, result, strict=True):
        assert (np.asarray(open_image(one.image)) == np.asarray(open_image(other.image))).all()
    with pytest.raises(ConfigError, match="exists already"):
        plan(planned.records, tmp_path / f"out2{Path(OUTS[kind]).suffix}".replace("out2", "out"))
    convert(plan(planned.records, planned.out, overwrite=True))


def test_paths_move_with_what_is_beside_them(tmp_path):
    (tmp_path / "set" / "photos").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "set" / "photos" / "1.png")
    record = Record("photos/1.png", tmp_path / "set/photos/1.png", np.ones(1, dtype=np.int8))
    records = Records.of(LabelSpace(["x"]), (record,), "here")
    convert(plan(records, tmp_path / "set" / "out.csv"))
    assert (tmp_path / "set" / "out.csv").read_text() == "image,x\nphotos/1.png,1\n"
    (tmp_path / "other").mkdir()
    convert(plan(records, tmp_path / "other" / "out.csv"))
    text = (tmp_path / "other" / "out.csv").read_text()
    assert text == f"image,image_key,x\n{record.image},photos/1.png,1\n"
    (tmp_path / "set").rename(tmp_path / "moved")
    (moved,) = WRITERS["table"].read(tmp_path / "moved" / "out.csv")
    assert open_image(moved.image).size == (8, 8)


def test_shards_are_equal_byte_by_byte(photos, tmp_path):
    for name in ("one", "two"):
        convert(plan(example(photos), tmp_path / name, to="webdataset"))
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == ["all-000000.tar", "labels.json", "test-000000.tar", "train-000000.tar"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_shard_is_closed_when_it_is_full(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("manylabel.data.writers.webdataset._SAMPLES", 2)
    items = [Record(f"k{i}", photos / f"{i}.jpg", np.ones(1, dtype=np.int8)) for i in range(5)]
    records = Records.of(LabelSpace(["x"]), tuple(items), "here")
    result = convert(plan(records, tmp_path / "s", to="webdataset"))
    assert sorted(file.name for file in (tmp_path / "s").glob("*.tar")) == [
        f"all-{number:06d}.tar" for number in range(3)
    ]
    assert same(records, result)


@pytest.mark.parametrize(
    ("out", "to", "what"),
    [
        ("x", None, "belongs to no format"),
        ("x.txt", None, "belongs to no format"),
        ("x.csv", "parquet", "does not fit"),
        ("x.csv", "webdataset", "does not fit"),
        ("x", "table", "does not fit"),
        ("x.tar", None, "belongs to no format"),
        ("x.tar.gz", "parquet", "does not fit"),
    ],
)
def test_names_that_do_not_fit(photos, tmp_path, out, to, what):
    with pytest.raises(ConfigError, match=what):
        plan(example(photos), tmp_path / out, to=to)


@pytest.mark.parametrize("labels", [["a;b;c;d"], ["a\tb\tc\td"], ["a,b", "a\n;;;;b"], ['"a;;"";;']])
@pytest.mark.parametrize("out", ["t.csv", "t.tsv"])
def test_separators_in_labels_are_no_separators(photos, tmp_path, out, labels):
    record = Record("a", photos / "0.jpg", np.ones(len(labels), dtype=np.int8))
    records = Records.of(LabelSpace(labels), (record,), "here")
    assert same(records, convert(plan(records, tmp_path / out)))


@pytest.mark.parametrize("label", ["Split", "labels", "image_key", "pic.JPG", "tag"])
def test_labels_that_mean_something_in_a_table(photos, tmp_path, label):
    record = Record("a", photos / "0.jpg", np.ones(1, dtype=np.int8))
    records = Records.of(LabelSpace([label]), (record,), "here")
    with pytest.raises(DataError, match="cannot be the header"):
        convert(plan(records, tmp_path / "t.csv"))
    assert not list(tmp_path.iterdir())
    assert same(records, convert(plan(records, tmp_path / "t.parquet")))


def test_only_what_was_written_is_replaced(photos, tmp_path):
    out = tmp_path / "shards"
    convert(plan(example(photos), out, to="webdataset"))
    with pytest.raises(ConfigError, match="exists already"):
        plan(example(photos), out, to="webdataset")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="a conversion to this format did not write"):
        plan(example(photos), out, to="webdataset", overwrite=True)
    (out / "notes.txt").unlink()
    convert(plan(example(photos), out, to="webdataset", overwrite=True))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError, match="a conversion to this format did not write"):
        plan(example(photos), tmp_path / "folder.csv", overwrite=True)


def test_images_are_not_thrown_away_with_what_they_lie_in(photos, tmp_path):
    part = FilePart(photos / "0.jpg", 0, (photos / "0.jpg").stat().st_size, "0")
    records = Records.of(LabelSpace(["x"]), (Record("a", part, np.ones(1, dtype=np.int8)),), "here")
    written_set = convert(plan(records, tmp_path / "c", to="coco"))
    with pytest.raises(ConfigError, match="is in the folder that would be replaced"):
        plan(written_set, tmp_path / "c", to="coco", overwrite=True)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"key": "b"}, "the key of 'a'"),
        ({"targets": np.array([1, -1], dtype=np.int8)}, "the targets of 'a'"),
        ({"split": "val"}, "the split of 'a'"),
        ({"split": None}, "the split of 'a'"),
        ({"group": "h"}, "the group of 'a'"),
        ({"mask": None}, "the mask of 'a'"),
        ({"boxes": ()}, "the boxes of 'a'"),
        ({"boxes": (Box("y", 0, 0, 0.5, 1),)}, "the boxes of 'a'"),
        ({"boxes": (Box("x", 0, 0, 0.5001, 1),)}, "the boxes of 'a'"),
        ({"boxes": (Box("x", 0, 0, 0.5 + 1e-12, 1),)}, None),
        ({"image": Path("other.jpg")}, "the path of 'a'"),
        ({"image": Path("sub/../a.jpg")}, None),
        ({"image": FilePart(Path("s.tar"), 0, 1, "a")}, None),
    ],
)
def test_the_proof_looks_at_everything(change, what):
    record = Record(
        "a",
        Path("a.jpg"),
        np.array([1, 0], dtype=np.int8),
        "train",
        (Box("x", 0, 0, 0.5, 1),),
        Path("m.png"),
        "g",
    )

    def records(*items, labels="xy"):
        return Records.of(LabelSpace(labels), items, "here")

    assert first_difference(records(record), records(replace(record, **change))) == what
    assert first_difference(records(record), records(record, labels="yx")) == "the labels differ"
    assert first_difference(records(record), records()) == "0 images instead of 1"


def test_a_file_whose_name_says_a_split_that_is_not_meant(photos, tmp_path):
    assert same(example(photos), convert(plan(example(photos), tmp_path / "val.json")))


@pytest.mark.parametrize("kind", OUTS)
def test_a_failure_leaves_what_was_there(photos, tmp_path, kind, monkeypatch):
    out = tmp_path / OUTS[kind]
    convert(plan(example(photos), out, to=kind))

    def content():
        return {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()}

    before = content()
    other = Records.of(LabelSpace(["x"]), (Record("n", photos / "0.jpg", np.ones(1, "int8")),), "o")
    planned = plan(other, out, to=kind, overwrite=True)
    # A reader that loses an image: the proof fails after all has been put in place.
    monkeypatch.setattr(
        "manylabel.data.writers.convert.first_difference", lambda *_: "0 images instead of 1"
    )
    with pytest.raises(DataError, match="0 images instead of 1"):
        convert(planned)
    assert content() == before


def test_an_image_that_is_missing_stops_what_copies_it(tmp_path):
    record = Record("a", tmp_path / "none.jpg", np.ones(1, dtype=np.int8))
    records = Records.of(LabelSpace(["x"]), (record,), "here")
    with pytest.raises(DataError, match="cannot be read"):
        convert(plan(records, tmp_path / "s", to="webdataset"))
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_nothing(photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        convert(plan(example(photos), tmp_path / "file" / "x.csv"))


@pytest.mark.parametrize("kind", OUTS)
def test_records_that_were_read_back_can_be_sent_to_workers(photos, tmp_path, kind):
    result = written(example(photos), tmp_path, kind)
    again = pickle.loads(pickle.dumps(result))
    assert open_image(again[0].image).size == (40, 30)


def test_names_like_formulas_are_marked_in_tables_and_read_back(tmp_path: Path, photos) -> None:
    names = ["=1+1", "'=1", "-a", "@a", "a=1"]
    items = (
        Record(key, photos / f"{i}.jpg", np.eye(5, dtype=np.int8)[i], group=key)
        for i, key in enumerate(names)
    )
    records = Records.of(LabelSpace(names), items, "drawn")
    for out in ("out.csv", "out.tsv"):
        written = convert(plan(records, tmp_path / out))
        assert first_difference(records, written) is None
        text = (tmp_path / out).read_text(encoding="utf-8")
        cells = re.split("[,\t\n]", text)
        assert [cell for cell in cells if cell.startswith(tuple("=+@"))] == []
        assert "Texts like '=1, read without the ' for spreadsheets: 12" in written.notes
