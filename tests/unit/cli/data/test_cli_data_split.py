import csv
import json
import os
import tarfile

import numpy as np
import pytest
from click.testing import CliRunner

from manylabel.cli.data.split import _equal_files, split
from manylabel.data.read import DataSource, read
from manylabel.data.records import Record, Records
from manylabel.errors import ConfigError
from manylabel.images import Crop, FilePart, Stored
from manylabel.labels import LabelSpace


def table(folder, rows):
    path = folder / "photos.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["image", "cat", "dog", "split", "group"], *rows])
    return path


@pytest.fixture
def photos(tmp_path):
    """Sixty images, each with bytes of its own but for 3, 33 and 53, a quarter of them in test."""
    rows = []
    for i in range(60):
        name = "test" if i % 4 == 0 else "train"
        rows.append([f"{i}.jpg", int(i % 2 == 0), "" if i % 7 == 0 else int(i % 3 == 0), name, ""])
        content = 3 if i in (33, 53) else i
        (tmp_path / f"{i}.jpg").write_bytes(b"%04d" % content)
    return table(tmp_path, rows)


def run(*words):
    done = CliRunner().invoke(split, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def splits(path):
    return {record.key: record.split for record in read(DataSource(path=path))}


def test_writes_a_table_that_is_read_again(photos, tmp_path):
    out = tmp_path / "split.csv"
    shown = run(photos, "--out", out)
    before, after = read(DataSource(path=photos)), read(DataSource(path=out))
    assert after.fingerprint() == before.fingerprint()
    assert [len(after.split(name)) for name in ("train", "val", "test")] == [42, 6, 12]
    assert "Splits of the data set that are not kept: train 45, test 15." in shown
    assert "Sets of duplicates that are kept in one split: 1, with 3 images." in shown
    assert "Drift of 2 labels: mean" in shown
    assert shown.endswith(f"Wrote {out}\n")


def test_equal_files_go_together_unless_told_otherwise(photos, tmp_path):
    apart = set()
    for seed in range(8):
        out, loose = tmp_path / f"{seed}.csv", tmp_path / f"{seed}-loose.csv"
        run(photos, "--out", out, "--val", 0.4, "--test", 0.3, "--seed", seed)
        found = splits(out)
        assert found["3.jpg"] == found["33.jpg"] == found["53.jpg"]
        run(photos, "--out", loose, "--val", 0.4, "--seed", seed, "--no-duplicates")
        apart.add(len({splits(loose)[key] for key in ("3.jpg", "33.jpg", "53.jpg")}))
    assert max(apart) > 1


def test_a_file_that_is_missing_is_counted(photos, tmp_path):
    os.remove(tmp_path / "3.jpg")
    os.remove(tmp_path / "5.jpg")
    shown = run(photos, "--out", tmp_path / "split.csv")
    assert "Files that cannot be read and were not compared: 2." in shown
    assert "Sets of duplicates that are kept in one split: 1, with 2 images." in shown


def test_shares_and_keep(photos, tmp_path):
    out = tmp_path / "split.tsv"
    told = json.loads(run(photos, "--out", out, "--keep", "test", "--val", 0.2, "--json"))
    before, after = splits(photos), splits(out)
    assert {key for key in before if before[key] == "test"} == {
        key for key in after if after[key] == "test"
    }
    assert told["drift"]["images"] == {"train": 36, "val": 9, "test": 15}
    assert told["out"] == str(out)
    assert told["fingerprint"] == read(DataSource(path=out)).fingerprint()
    assert any("Kept as the data set gives them: test 15" in note for note in told["notes"])


def test_a_share_of_nothing_leaves_a_split_out(photos, tmp_path):
    run(photos, "--out", tmp_path / "split.csv", "--val", 0)
    assert set(splits(tmp_path / "split.csv").values()) == {"train", "test"}


def test_kept_train_leaves_the_rest_to_val_and_test(photos, tmp_path):
    run(photos, "--out", tmp_path / "split.csv", "--keep", "train", "--no-duplicates")
    names = [*splits(tmp_path / "split.csv").values()]
    assert [names.count(name) for name in ("train", "val", "test")] == [45, 5, 10]


def test_groups_are_kept_and_written(tmp_path):
    rows = [[f"{i}.jpg", i % 2, i % 3 % 2, "", f"home {i // 5}"] for i in range(100)]
    for i in range(100):
        (tmp_path / f"{i}.jpg").write_bytes(bytes([i]) * 9)
    out = tmp_path / "split.csv"
    shown = run(table(tmp_path, rows), "--out", out)
    assert "Groups that are kept in one split: 20." in shown
    homes = {}
    for record in read(DataSource(path=out)):
        homes.setdefault(record.group, set()).add(record.split)
    assert len(homes) == 20
    assert all(len(names) == 1 for names in homes.values())


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--val", "1"], "1 is not a share"),
        (["--val", "nan"], "nan is not a share"),
        (["--test", "-0.1"], "-0.1 is not a share"),
        (["--val", "0.5", "--test", "0.5"], "Nothing is left to train on"),
        (["--keep", "test", "--test", "0.2"], "'test' is kept"),
        (["--keep", "train", "--val", "0", "--test", "0"], "Every split is kept"),
        (["--keep", "train", "--keep", "val", "--keep", "test"], "Every split is kept"),
        (["--out", "photos.json"], "is not an ending of a table"),
    ],
)
def test_what_cannot_be_is_said_first(photos, tmp_path, words, what):
    arguments = [str(photos), "--out", str(tmp_path / "split.csv"), *words]
    with pytest.raises(ConfigError, match=what):
        CliRunner().invoke(split, arguments, catch_exceptions=False)
    assert not (tmp_path / "split.csv").exists()


def test_what_is_there_is_replaced_only_when_asked(photos, tmp_path):
    out = tmp_path / "split.csv"
    run(photos, "--out", out)
    first = out.read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        CliRunner().invoke(split, [str(photos), "--out", str(out)], catch_exceptions=False)
    run(photos, "--out", out, "--seed", 1, "--overwrite")
    assert out.read_bytes() != first


def test_crops_and_members_of_archives_are_compared(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"same")
    (tmp_path / "b.jpg").write_bytes(b"other")
    (tmp_path / "c.jpg").write_bytes(b"more")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(tmp_path / "a.jpg", "a.jpg")
    with tarfile.open(tmp_path / "t.tar") as archive:
        offset = archive.getmember("a.jpg").offset_data
    places = {
        "file": tmp_path / "a.jpg",
        "left": Crop(tmp_path / "b.jpg", 0, 0, 1, 1),
        "member": FilePart(tmp_path / "t.tar", offset, 4, "a.jpg"),
        "right": Crop(tmp_path / "b.jpg", 1, 0, 2, 1),
        "else": tmp_path / "c.jpg",
    }
    items = tuple(Record(key, place, np.zeros(1, np.int8)) for key, place in places.items())
    sets, notes = _equal_files(Records.of(LabelSpace(["x"]), items, "x"))
    assert sorted(sets) == [["file", "member"], ["left", "right"]]
    assert notes == []


class InMemory(Stored):
    """An image whose size is not known before it is read."""

    def read(self):
        return b"same"

    def identity(self):
        return "x"


def test_where_sizes_are_not_known_all_is_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"same")
    (tmp_path / "b.jpg").write_bytes(b"other")
    places = {"a": tmp_path / "a.jpg", "b": tmp_path / "b.jpg", "c": InMemory()}
    items = tuple(Record(key, place, np.zeros(1, np.int8)) for key, place in places.items())
    assert _equal_files(Records.of(LabelSpace(["x"]), items, "x")) == ([["a", "c"]], [])
