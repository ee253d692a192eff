"""Records in columns against the list of records that they were made of."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manylabel.data.places import Places, divide
from manylabel.data.records import NO_SPLIT, Box, Record, Records
from manylabel.errors import DataError
from manylabel.images import Crop, FilePart
from manylabel.labels import LabelSpace

LABELS = LabelSpace(["cat", "dog"])
BOX = Box("cat", 0.0, 0.25, 0.5, 1.0)


def row(*targets: int) -> np.ndarray:
    return np.array(targets, dtype=np.int8)


ITEMS = (
    Record("a/1.jpg", Path("photos/a/1.jpg"), row(1, 0), "train", (BOX,), Path("m/1.png"), "ann"),
    Record("key", Path("/elsewhere/2.jpg"), row(-1, 1), None),
    Record("c.jpg", FilePart(Path("s.tar"), 512, 100, "c.jpg"), row(0, 0), "test"),
    Record("person 4", Crop(Path("street.jpg"), 1, 2, 30, 40), row(1, 1), "val", group="ann"),
    Record("5.jpg", Path("5.jpg"), row(0, -1), "train"),
)


@pytest.fixture
def records() -> Records:
    return Records.of(LABELS, iter(ITEMS), "drawn", ["read"])


def same(one: Record, other: Record) -> bool:
    plain = np.zeros(0, dtype=np.int8)
    return np.array_equal(one.targets, other.targets) and replace(one, targets=plain) == replace(
        other, targets=plain
    )


def test_what_went_in_comes_out(records: Records) -> None:
    assert len(records) == len(ITEMS)
    assert all(map(same, records, ITEMS))
    assert all(same(records[i], item) for i, item in enumerate(ITEMS))
    assert [type(place) for place in records.images] == [type(item.image) for item in ITEMS]
    assert records.keys == tuple(item.key for item in ITEMS)
    assert records.targets.tolist() == [item.targets.tolist() for item in ITEMS]
    assert records.split_of_each() == [item.split for item in ITEMS]
    assert records.notes == ("read",)


def test_columns_that_no_record_has_are_none() -> None:
    bare = Records.of(LABELS, (Record("1", Path("1"), row(0, 1)) for _ in range(3)), "bare")
    assert (bare.groups, bare.boxes, bare.masks) == (None, None, None)
    assert bare.splits.tolist() == [NO_SPLIT] * 3
    assert bare.splits.strides == (0,)  # one byte for all
    assert bare.split_names() == []


def test_columns_that_lose_their_values_are_none(records: Records) -> None:
    rest = records.select([1, 4])
    assert (rest.groups, rest.boxes, rest.masks) == (None, None, None)
    assert replace(records, boxes=((),) * 5).boxes is None
    assert records.select([3]).groups == ("ann",)
    assert records.select([1]).splits.strides == (0,)


@pytest.mark.parametrize(
    "positions",
    [[3, 0, 0], [], [True, False, True, False, True], np.array([4, 1]), range(2), [-1]],
)
def test_a_selection_is_that_of_the_list(records: Records, positions) -> None:
    expected = (
        [ITEMS[i] for i in np.arange(5)[np.array(positions, dtype=None)]] if len(positions) else []
    )
    found = records.select(positions)
    assert len(found) == len(expected)
    assert all(map(same, found, expected))
    assert found.targets.shape == (len(expected), 2)


def test_splits_are_counted_and_taken(records: Records) -> None:
    assert records.split_counts() == {"train": 2, "val": 1, "test": 1}
    assert records.split("train").keys == ("a/1.jpg", "5.jpg")
    moved = records.with_splits(np.array([2, 2, 2, 2, NO_SPLIT], dtype=np.int8))
    assert moved.split("test").keys == records.keys[:4]
    assert len(moved.split("val")) == 0
    assert records.split_counts()["train"] == 2


def test_keys_are_selected_in_the_order_of_the_records(records: Records) -> None:
    assert records.select_keys({"c.jpg", "a/1.jpg", "no"}).keys == ("a/1.jpg", "c.jpg")
    assert records.select_keys(set(records.keys)) is records


def test_targets_cannot_be_written_to(records: Records) -> None:
    for targets in (records.targets, records[0].targets, records.split("train").targets):
        with pytest.raises(ValueError, match="read-only"):
            targets[0] = 1


def test_columns_of_unequal_length_are_a_fault(records: Records) -> None:
    with pytest.raises(AssertionError):
        replace(records, groups=("one",))


def test_other_labels_are_matched_by_name(records: Records) -> None:
    turned = records.relabelled(LabelSpace(["dog", "cat"]))
    assert turned.targets.tolist() == [item.targets[::-1].tolist() for item in ITEMS]
    with pytest.raises(DataError, match=r"1 missing \(cow\)"):
        records.relabelled(LabelSpace(["dog", "cow"]))


# The fingerprint: bundles and receipts on disk hold it. The values are those of the first release.


def drawn(count: int) -> Records:
    targets = (np.arange(count * 7).reshape(count, 7) % 5 == 0).astype(np.int8)
    items = (Record(f"{i:05d}.jpg", Path(f"{i}.jpg"), one) for i, one in enumerate(targets))
    return Records.of(LabelSpace("abcdefg"), items, "drawn")


def test_the_fingerprint_with_unknowns_and_names_in_other_scripts() -> None:
    rows = {"bilder/Käse.jpg": (1, -1, 0), "写真/1.png": (-1, -1, -1), "c.jpg": (0, 1, 1)}
    items = (Record(key, Path("x") / key, row(*targets)) for key, targets in rows.items())
    found = Records.of(LabelSpace(["Straße", "猫", "dog"]), items, "somewhere")
    assert found.fingerprint() == "917b830e0eaf7f22ba3229d7d14aca9246deabc0cccc7b755db5fefcef0d16aa"


def test_the_fingerprint_of_more_records_than_are_hashed_at_once() -> None:
    assert (
        drawn(5000).fingerprint()
        == "ef189459de4dc90ce0eae8b5e48dc96d2af20da579cd3c0e4128a4042c7ce74f"
    )


def test_the_fingerprint_is_of_labels_keys_and_targets(records: Records) -> None:
    digest = hashlib.sha256(b"cat\0dog")
    for item in ITEMS:
        digest.update(b"\n" + item.key.encode() + b"\0" + item.targets.tobytes())
    assert records.fingerprint() == digest.hexdigest()
    assert records.select([1, 0, 2, 3, 4]).fingerprint() != records.fingerprint()


def test_the_fingerprint_is_computed_once(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = records.fingerprint()
    monkeypatch.setattr(hashlib, "sha256", lambda *_: pytest.fail("hashed again"))
    split = np.zeros(len(records), dtype=np.int8)
    for other in (records, records.with_notes("more"), records.with_splits(split)):
        assert other.fingerprint() == expected


# Places


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("photos/a/1.jpg", "a/1.jpg"),
        ("photos/a/1.jpg", "other"),
        ("1.jpg", "1.jpg"),
        ("/1.jpg", "x"),
        ("/photos/1.jpg", "/photos/1.jpg"),
        ("../up/1.jpg", "up/1.jpg"),
        (".", "x"),
    ],
)
def test_a_file_is_the_same_path_again(place: str, key: str) -> None:
    folder, name = divide(Path(place), key)
    assert Places((folder,), (name,))[0] == Path(place)
    assert (name is key) == place.endswith(key)


def test_the_folder_of_many_files_is_kept_once(tmp_path: Path) -> None:
    keys = [f"{i}.jpg" for i in range(50)]
    items = (Record(key, tmp_path / key, row(0, 1)) for key in keys)
    images = Records.of(LABELS, items, "files").images
    assert len({id(folder) for folder in images.folders}) == 1


@pytest.mark.parametrize("folder", [Path("photos"), Path(), Path("/photos")])
def test_files_below_a_folder(folder: Path) -> None:
    keys = ("1.jpg", "a/2.jpg", "/whole/3.jpg")
    places = Places.below(folder, keys)
    assert list(places) == [folder / key for key in keys]
    assert list(Places.joined([places, places.select([2, 0])])) == [
        folder / keys[i] for i in (0, 1, 2, 2, 0)
    ]


# Labels that a data set does not name.


def named(rows: dict[str, tuple[int, ...]], labels: str = "cat dog", **more: bool) -> Records:
    items = (Record(key, Path(key), np.array(row, np.int8)) for key, row in rows.items())
    made = Records.of(LabelSpace(labels.split()), items, "test.csv")
    return replace(made, absent_if_unnamed=more.get("absent_if_unnamed", True))


def test_a_label_that_no_image_names_is_absent() -> None:
    found = named({"a": (1, 0), "b": (0, -1)}).relabelled(LabelSpace(["bee", "dog", "cat"]))
    assert found.targets.tolist() == [[0, 0, 1], [0, -1, 0]]
    assert found.notes == ("Labels of the model that no image names, taken as absent: 1 (bee)",)


def test_it_is_unknown_where_nothing_is_known() -> None:
    found = named({"a": (1, 0), "b": (-1, -1)}).relabelled(LabelSpace(["cat", "dog", "bee"]))
    assert found.targets.tolist() == [[1, 0, 0], [-1, -1, -1]]


def test_where_labels_have_columns_a_missing_one_is_an_error() -> None:
    records = named({"a": (1, 0)}, absent_if_unnamed=False)
    with pytest.raises(DataError, match=r"1 missing \(bee\)") as caught:
        records.relabelled(LabelSpace(["cat", "dog", "bee"]))
    assert "Add a column" in caught.value.fix


def test_a_label_that_the_model_does_not_know_is_an_error_with_the_nearest() -> None:
    records = named({"a": (1, 0), "b": (0, 1)}, "gul kelp")
    with pytest.raises(DataError, match=r"1 missing \(gull\); 1 not known") as caught:
        records.relabelled(LabelSpace(["gull", "kelp"]))
    assert 'rename = { "gul" = "gull" }' in caught.value.fix
    assert "--option label_set=labels.toml" in caught.value.fix


def test_an_unknown_label_that_no_image_has_is_left_out() -> None:
    records = named({"a": (1, 0), "b": (-1, -1)}, "cat root")
    found = records.relabelled(LabelSpace(["cat"]))
    assert found.targets.tolist() == [[1], [-1]]
    assert "left out: 1 (root)" in found.notes[-1]
    with pytest.raises(DataError, match="not known to the model"):
        replace(records, absent_if_unnamed=False).relabelled(LabelSpace(["cat"]))


def test_an_unknown_label_that_may_be_in_an_image_is_an_error() -> None:
    with pytest.raises(DataError, match=r"1 not known to the model \(owl\)") as caught:
        named({"a": (1, -1)}, "cat owl").relabelled(LabelSpace(["cat"]))
    assert 'drop = ["owl"]' in caught.value.fix


@pytest.mark.parametrize("labels", [["cat", "dog"], ["cat", "dog", "bee"]])
def test_labels_are_matched_once(labels: list[str]) -> None:
    found = named({"a": (1, 0)}).relabelled(LabelSpace(labels))
    with pytest.raises(DataError, match="1 missing"):
        found.relabelled(LabelSpace([*labels, "owl"]))
