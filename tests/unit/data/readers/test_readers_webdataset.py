"""Shards, with the library of the format and the standard library's tarfile as references."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from manylabel.data.formats.shards import members
from manylabel.data.readers.webdataset import find_webdataset, read_webdataset
from manylabel.data.records import Box, Record, Records
from manylabel.data.writers.convert import convert, plan
from manylabel.errors import DataError
from manylabel.images import open_image
from manylabel.labels import LabelSpace

quick = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def jpeg(number=0):
    content = io.BytesIO()
    Image.new("RGB", (8, 6), (number * 20, 90, 5)).save(content, "JPEG")
    return content.getvalue()


def pack(path, files, **options):
    """A tar archive of `files`, name to content: JSON where it is no bytes."""
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def names(records):
    return {record.key: records.labels.decode(record.targets) for record in records}


def test_json_says_everything(tmp_path):
    truth = {
        "key": "my/key.jpg",
        "labels": ["dog"],
        "unknown": ["cat"],
        "split": "validation",
        "group": "home",
        "boxes": [{"label": "dog", "left": 0, "top": 0.25, "right": 0.5, "bottom": 1}],
    }
    pack(
        tmp_path / "train-000000.tar",
        {"a.jpg": jpeg(1), "a.json": truth, "b.JPG": jpeg(2), "b.json": {"labels": []}},
    )
    (tmp_path / "labels.json").write_text('["owl", "dog", "cat"]')
    records = read_webdataset(tmp_path)
    assert records.labels.names == ("owl", "dog", "cat")
    first, second = records
    assert (first.key, first.split, first.group) == ("my/key.jpg", "val", "home")
    assert first.targets.tolist() == [0, 1, -1]
    assert first.boxes == (Box("dog", 0, 0.25, 0.5, 1),)
    assert first.image.read() == jpeg(1)
    assert (second.key, second.split) == ("train-000000.tar/b.JPG", "train")
    assert second.image.read() == jpeg(2)
    assert "Labels are ordered by labels.json" in records.summary()


def test_indexes_and_lines(tmp_path):
    shard = pack(
        tmp_path / "s.tar",
        {
            "a.png": b"1",
            "a.cls": b"2",
            "b.png": b"2",
            "b.cls": b"0, 10\n",
            "c.png": b"",
            "c.cls": b"",
        },
    )
    assert names(read_webdataset(shard)) == {
        "s.tar/a.png": ["2"],
        "s.tar/b.png": ["0", "10"],
        "s.tar/c.png": [],
    }
    assert read_webdataset(shard).labels.names == ("0", "2", "10")
    (tmp_path / "labels.txt").write_text("\n".join("abcdefghijk"))
    assert names(read_webdataset(shard))["s.tar/b.png"] == ["a", "k"]
    (tmp_path / "labels.txt").write_text("a\nb\nc")
    with pytest.raises(DataError, match="10 is not one of the 3"):
        read_webdataset(shard)
    (tmp_path / "labels.txt").unlink()
    pack(shard, {"a.png": b"1", "a.txt": b"dog\n\n traffic light \n"})
    assert names(read_webdataset(shard)) == {"s.tar/a.png": ["dog", "traffic light"]}


def test_splits_and_order_of_shards(tmp_path):
    for name in ("test-0", "scenes-train-1", "scenes-train-0", "val_0", "a", "train-val-0"):
        pack(tmp_path / f"{name}.tar", {"x.jpg": b"", "x.cls": b"1"})
    records = read_webdataset(tmp_path)
    assert [(record.key.split("/")[0], record.split) for record in records] == [
        ("scenes-train-0.tar", "train"),
        ("scenes-train-1.tar", "train"),
        ("val_0.tar", "val"),
        ("test-0.tar", "test"),
        ("a.tar", None),
        ("train-val-0.tar", None),
    ]


@pytest.mark.parametrize(
    ("truth", "split"), [({}, "train"), ({"split": None}, None), ({"split": "test"}, "test")]
)
def test_the_split_of_a_sample_comes_before_its_archive_s(tmp_path, truth, split):
    path = pack(tmp_path / "train.tar", {"a.jpg": b"", "a.json": truth | {"labels": ["x"]}})
    assert read_webdataset(path)[0].split == split


def test_members_that_are_passed_over_are_counted(tmp_path):
    files = {
        "__meta__/x.json": {},
        ".hidden": b"",
        "README": b"",
        "./in/a.jpg": jpeg(),
        "./in/a.depth.png": b"",
        "./in/a.npy": b"",
        "./in/a.json": {"labels": ["x"]},
    }
    records = read_webdataset(pack(tmp_path / "s.tar", files))
    assert list(records.keys) == ["s.tar/in/a.jpg"]
    assert "Members whose names do not fit the format, left out: 3" in records.summary()
    assert "Members that are neither images nor labels, left out: 2" in records.summary()


def test_samples_need_not_lie_together(tmp_path):
    files = {"a.jpg": b"1", "b.jpg": b"2", "b.cls": b"1", "a.cls": b"0"}
    assert names(read_webdataset(pack(tmp_path / "s.tar", files))) == {
        "s.tar/a.jpg": ["0"],
        "s.tar/b.jpg": ["1"],
    }


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"a.cls": b"1"}, "no images"),
        ({"a.jpg": b"", "a.png": b"", "a.cls": b"1"}, "2 images"),
        ({"a.jpg": b""}, "no labels"),
        ({"a.jpg": b"", "a.json": {"caption": "x"}}, "no labels"),
        ({"a.jpg": b"", "a.json": []}, "JSON object"),
        ({"a.jpg": b"", "a.json": b"{"}, "not valid JSON"),
        ({"a.jpg": b"", "a.json": {"labels": "x"}}, "list of texts"),
        ({"a.jpg": b"", "a.json": {"labels": [3]}}, "list of texts"),
        ({"a.jpg": b"", "a.json": {"labels": ["x"], "unknown": ["x"]}}, "present and unknown"),
        ({"a.jpg": b"", "a.json": {"labels": ["x"], "split": "dev"}}, "train, val, test"),
        ({"a.jpg": b"", "a.json": {"labels": ["x"], "boxes": [1]}}, "JSON object"),
        (
            {
                "a.jpg": b"",
                "a.json": {
                    "labels": ["x"],
                    "boxes": [{"label": "x", "left": 0, "top": 0, "right": 2, "bottom": 1}],
                },
            },
            "a fraction",
        ),
        ({"a.jpg": b"", "a.cls": b"cat"}, "indexes"),
        ({"a.jpg": b"", "a.cls": b"-1"}, "indexes"),
        ({"a.jpg": b"", "a.txt": b"\xff"}, "UTF-8"),
        ({"a.jpg": b"", "a.cls": b"1", "b.jpg": b"", "b.txt": b"x"}, "others have names"),
        ({"a.jpg": b"", "a.cls": b""}, "no labels"),
        ({"README": b""}, "no samples"),
        ({}, "no samples"),
        (
            {
                f"{x}.{e}": b"" if e == "jpg" else {"labels": ["x"], "key": "k"}
                for x in "ab"
                for e in ("jpg", "json")
            },
            "there twice",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path, files, what):
    with pytest.raises(DataError, match=what) as raised:
        read_webdataset(pack(tmp_path / "s.tar", files))
    assert "s.tar" in raised.value.where


def test_one_name_twice(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    with pytest.raises(DataError, match="two members with this name"):
        read_webdataset(tmp_path / "s.tar")


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "b.jpg"
        archive.addfile(link)
    with pytest.raises(DataError, match="not a regular file"):
        read_webdataset(tmp_path / "s.tar")


def test_compressed_archives_are_refused(tmp_path):
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz"):
        pass
    assert find_webdataset(tmp_path) == tmp_path
    with pytest.raises(DataError, match="compressed"):
        read_webdataset(tmp_path)
    (tmp_path / "s.tar.gz").rename(tmp_path / "s.tar")  # under a name that hides it
    with pytest.raises(DataError, match="incomplete or damaged"):
        read_webdataset(tmp_path)


def test_what_is_taken_for_shards(tmp_path):
    assert find_webdataset(tmp_path) is None
    pack(tmp_path / "a.tar", {})
    assert find_webdataset(tmp_path) == tmp_path
    assert find_webdataset(tmp_path / "a.tar") == tmp_path / "a.tar"
    assert find_webdataset(tmp_path / "a.csv") is None
    (tmp_path / "cat").mkdir()
    assert find_webdataset(tmp_path) is None


FILES = {"a.jpg": b"x" * 700, "a.json": {"labels": ["x"]}, "b.jpg": b"y", "b.json": {"labels": []}}


def test_every_cut_is_noticed(tmp_path):
    path = tmp_path / "s.tar"
    content = pack(path, FILES).read_bytes()
    end = max(member.offset + member.size for member in members(path))
    whole = -(-end // 512) * 512 + 1024  # two blocks of zeros end an archive
    for size in [0, 1, 511, *range(512, whole, 256), whole - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(DataError):
            read_webdataset(path)
    path.write_bytes(content[:whole])
    assert len(read_webdataset(path)) == 2


def test_archives_that_were_joined_are_not_half_read(tmp_path):
    path = tmp_path / "s.tar"
    content = pack(path, FILES).read_bytes()
    path.write_bytes(content + content)
    with pytest.raises(DataError, match="joined"):
        read_webdataset(path)


@pytest.mark.parametrize(
    "options",
    [
        {"format": tarfile.PAX_FORMAT},
        {"format": tarfile.GNU_FORMAT},
        {"format": tarfile.USTAR_FORMAT},
    ],
)
def test_places_are_those_of_tarfile(tmp_path, options):
    long = "d" * 60 + "/" + "é" * 40
    files = {f"{long}.jpg": jpeg(1), f"{long}.json": {"labels": ["x"]}, "b.jpg": b"", "b.cls": b""}
    path = pack(tmp_path / "s.tar", files | {"b.cls": b"", "b.json": {"labels": []}}, **options)
    content = path.read_bytes()
    with tarfile.open(path) as archive:
        expected = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}
    found = {m.name: content[m.offset : m.offset + m.size] for m in members(path)}
    assert found == expected
    assert read_webdataset(path)[0].image.read() == jpeg(1)


mutations = st.lists(
    st.tuples(st.integers(0, 6000), st.integers(0, 255), st.booleans()), min_size=1, max_size=4
)


@quick
@given(edits=mutations, end=st.integers(0, 12000))
def test_damaged_archives(tmp_path, edits, end):
    path = tmp_path / "s.tar"
    content = bytearray(pack(path, FILES).read_bytes())
    for at, value, insert in edits:
        content[at : at + (not insert)] = bytes([value])
    path.write_bytes(content[:end])
    try:
        records = read_webdataset(path)
    except DataError:
        return
    assert len(records) == 2


@quick
@given(edits=mutations, data=st.data())
def test_damaged_truth(tmp_path, edits, data):
    truth = {"labels": ["x"], "unknown": ["y"], "split": "val", "group": "g", "key": "k"}
    truth["boxes"] = [{"label": "x", "left": 0, "top": 0, "right": 1, "bottom": 1}]
    content = bytearray(json.dumps(truth).encode())
    for at, value, insert in edits:
        at %= len(content)
        content[at : at + (not insert)] = bytes([value])
    ending = data.draw(st.sampled_from(["json", "cls", "txt"]))
    path = pack(tmp_path / "s.tar", {"a.jpg": b"", f"a.{ending}": bytes(content)})
    try:
        records = read_webdataset(path)
    except DataError:
        return
    assert len(records) == 1
    assert set(records.targets.flatten().tolist()) <= {-1, 0, 1}


@quick
@given(content=st.binary(max_size=40) | st.sampled_from([b"[]", b"[1]", b'[""]', b"{}", b'["x"]']))
def test_damaged_lists_of_labels(tmp_path, content):
    pack(tmp_path / "s.tar", {"a.jpg": b"", "a.txt": b"x"})
    (tmp_path / "labels.json").write_bytes(content)
    with contextlib.suppress(DataError):
        assert "x" in read_webdataset(tmp_path).labels


@pytest.mark.filterwarnings("ignore")  # the library's own
def test_the_library_reads_what_is_written(tmp_path, make_image):
    webdataset = pytest.importorskip("webdataset")
    images = [make_image(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    targets = np.array([[1, 0], [0, -1], [1, 1]], dtype=np.int8)
    items = [
        Record(f"key.with.dots/{i}", image, row, "train")
        for i, (image, row) in enumerate(zip(images, targets, strict=True))
    ]
    convert(
        plan(
            Records.of(LabelSpace(["x", "é"]), tuple(items), "here"),
            tmp_path / "s",
            to="webdataset",
        )
    )
    shard = tmp_path / "s" / "train-000000.tar"
    samples = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode())
    assert [sample["json"]["labels"] for sample in samples] == [["x"], [], ["x", "é"]]
    assert [sample["json"].get("unknown") for sample in samples] == [None, ["é"], None]
    assert [sample["json"]["key"] for sample in samples] == [item.key for item in items]
    raw = list(webdataset.WebDataset(str(shard), shardshuffle=False))
    assert [sample["png"] for sample in raw] == [image.read_bytes() for image in images]


@pytest.mark.filterwarnings("ignore")  # the library's own
def test_what_the_library_writes_is_read(tmp_path, make_image):
    webdataset = pytest.importorskip("webdataset")
    image = make_image(tmp_path / "x.jpg")
    path = tmp_path / "s" / "train-000000.tar"
    path.parent.mkdir()
    with webdataset.TarWriter(str(path)) as writer:
        writer.write({"__key__": "one", "jpg": image.read_bytes(), "json": {"labels": ["b", "a"]}})
        writer.write({"__key__": "two", "jpg": image.read_bytes(), "cls": 1, "txt": "ignored"})
        writer.write({"__key__": "sub/three", "jpg": image.read_bytes(), "txt": "a"})
    (path.parent / "labels.txt").write_text("a\nb\n")
    records = read_webdataset(path.parent)
    assert names(records) == {
        "train-000000.tar/one.jpg": ["a", "b"],
        "train-000000.tar/two.jpg": ["b"],
        "train-000000.tar/sub/three.jpg": ["a"],
    }
    assert (np.asarray(open_image(records[2].image)) == np.asarray(open_image(image))).all()


@pytest.mark.parametrize("size", [-512, -1024, -(2**60)])
def test_a_size_below_zero_is_not_read_for_ever(tmp_path, size):
    first, second = tarfile.TarInfo("a.jpg"), tarfile.TarInfo("b.jpg")
    second.size = size
    headers = (info.tobuf(tarfile.GNU_FORMAT) for info in (first, second))
    (tmp_path / "a.tar").write_bytes(b"".join(headers) + bytes(1024))
    with pytest.raises(DataError, match="incomplete or damaged"):
        read_webdataset(tmp_path / "a.tar")


def test_many_labels_take_little_time(tmp_path):
    count = 20_000
    truth = {"labels": [f"p{i}" for i in range(count)], "unknown": [f"u{i}" for i in range(count)]}
    pack(tmp_path / "a.tar", {"a.jpg": jpeg(), "a.json": truth})
    began = time.process_time()
    records = read_webdataset(tmp_path / "a.tar")
    assert time.process_time() - began < 3
    assert np.count_nonzero(records.targets == 1) == np.count_nonzero(records.targets < 0) == count
