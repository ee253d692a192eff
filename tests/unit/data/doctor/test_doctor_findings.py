"""Each finding on a case made by hand; a clean data set has none of its kind."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from manylabel.data.doctor.check import check
from manylabel.data.doctor.findings import SEVERITIES
from manylabel.data.doctor.names import near_names
from manylabel.data.records import Record, Records
from manylabel.images import Crop
from manylabel.labels import LabelSpace


def records_of(targets, *, splits=None, keys=None, groups=None, labels=None, images=None):
    targets = np.asarray(targets, dtype=np.int8)
    n, c = targets.shape
    keys = keys or [f"{i}.png" for i in range(n)]
    images = images or [Path(key) for key in keys]
    items = tuple(
        Record(
            keys[i],
            images[i],
            targets[i],
            split=splits[i] if splits else None,
            group=groups[i] if groups else None,
        )
        for i in range(n)
    )
    return Records.of(
        LabelSpace(labels or ["apple", "bread", "chair", "drum", "eagle", "fern"][:c]), items, "d"
    )


def by_kind(records, **settings):
    """The findings by kind, those about files that are not there left out."""
    found = check(records, **{"open_images": False, **settings})
    return {f.kind: f for f in found.findings if f.kind != "images.missing"}


def mixed(n, c, seed=0, rate=0.3):
    """Targets with nothing odd: every label common, absent somewhere, on its own."""
    targets = (np.random.default_rng(seed).random((n, c)) < rate).astype(np.int8)
    targets[targets.sum(axis=1) == 0, 0] = 1
    return targets


def test_nothing_is_found_in_a_data_set_with_nothing_odd():
    splits = ["train", "train", "val", "test"] * 100
    assert by_kind(records_of(mixed(400, 6), splits=splits)) == {}


# ---- labels


def test_a_label_without_positives_is_an_error_in_train_and_a_warning_elsewhere():
    targets = mixed(400, 4)
    splits = ["train"] * 200 + ["val"] * 200
    targets[:200, 1] = 0
    targets[200:, 2] = 0
    records = records_of(targets, splits=splits)
    found = [f for f in check(records, open_images=False).findings if "no_positive" in f.kind]
    assert [(f.severity, f.data["labels"], f.data["split"]) for f in found] == [
        ("error", ["bread"], "train"),
        ("warning", ["chair"], "val"),
    ]
    assert found[0].what == "1 label of 4 has no positive image in train."


def test_images_without_a_split_train():
    targets = mixed(100, 3)
    targets[:50, 1] = 0
    splits = ["train"] * 50 + [None] * 50
    assert "labels.no_positive" not in by_kind(records_of(targets, splits=splits))
    assert "labels.no_positive" in by_kind(
        records_of(targets, splits=["train"] * 50 + ["val"] * 50)
    )


def test_a_label_that_is_always_present():
    targets = mixed(100, 3)
    targets[:, 2] = 1
    found = by_kind(records_of(targets))
    assert found["labels.always_present"].data["labels"] == ["chair"]


def test_rare_labels_with_their_counts_rarest_first():
    targets = mixed(400, 4, rate=0.5)
    targets[:, 1] = [1] * 19 + [0] * 381
    targets[:, 2] = [0] * 380 + [1] * 20
    targets[:, 3] = [0] * 397 + [1] * 3
    found = by_kind(records_of(targets))["labels.rare"]
    assert found.data["positives"] == {"drum": 3, "bread": 19}
    most = int((targets[:, 0] == 1).sum())
    assert f"the most common label has {most}, {most / 3:.0f} times as many" in found.what
    assert found.examples == ("drum: 3", "bread: 19")


def test_labels_that_go_together_where_both_are_known():
    rng = np.random.default_rng(0)
    targets = mixed(1000, 4)
    targets[:, 1] = targets[:, 0]
    targets[:, 3] = targets[:, 2]
    targets[rng.choice(np.flatnonzero(targets[:, 2]), 8, replace=False), 3] = 0
    targets[:50, 1] = -1  # unknown says nothing against it
    found = by_kind(records_of(targets))["labels.together"]
    known = targets[(targets[:, 2] >= 0) & (targets[:, 3] >= 0)]
    share = (known[:, 2] & known[:, 3]).sum() / (known[:, 2] | known[:, 3]).sum()
    assert [pair["labels"] for pair in found.data["pairs"]] == [
        ["apple", "bread"],
        ["chair", "drum"],
    ]
    assert [pair["share"] for pair in found.data["pairs"]] == [1.0, pytest.approx(share)]


def test_labels_of_few_images_are_not_said_to_go_together():
    targets = mixed(200, 3)
    targets[:, 1:] = 0
    targets[:19, 1:] = 1
    assert "labels.together" not in by_kind(records_of(targets))


def test_drift_is_told_if_it_is_large_and_no_chance():
    targets = mixed(2000, 3)
    splits = ["train"] * 1000 + ["test"] * 1000
    targets[:, 1] = [1, 0, 0, 0] * 250 + [1, 0] * 500
    found = by_kind(records_of(targets, splits=splits))["labels.drift"]
    assert found.data["labels"] == [
        {"label": "bread", "train": 0.25, "split": "test", "share": 0.5}
    ]
    few = records_of(targets[960:1040], splits=splits[960:1040])  # the same shares, by chance
    assert "labels.drift" not in by_kind(few)


def test_images_without_a_label():
    targets = mixed(100, 3)
    targets[[4, 9]] = 0
    targets[11] = [0, -1, 0]  # not known to be without
    found = by_kind(records_of(targets))["labels.empty_images"]
    assert found.data["images"] == ["4.png", "9.png"]
    assert "2 images of 100 (2.0%) have no label" in found.what


@pytest.mark.parametrize(
    ("names", "same", "close"),
    [
        (["bag", "bags", "tea"], [("bag", "bags")], []),
        (["T-shirt", "t shirt", "tshirt"], 3, []),
        (["Café", "cafe"], [("Café", "cafe")], []),
        (["cherry", "cherries"], [("cherry", "cherries")], []),
        (["box", "boxes", "dish", "dishes"], [("box", "boxes"), ("dish", "dishes")], []),
        (["glass", "glasses"], [("glass", "glasses")], []),
        (["giraffe", "girafe"], [], [("giraffe", "girafe")]),
        (["giraffe", "giraffa"], [], [("giraffe", "giraffa")]),
        (["cat", "car", "bat"], [], []),
        (["level 1", "level 2", "level 10"], [], []),
        (["giraffe", "igraffe"], [], []),  # two letters
        (["bus", "bu"], [("bus", "bu")], []),
        (["+", "-"], [], []),
    ],
)
def test_names_that_may_mean_the_same(names, same, close):
    found_same, found_close = near_names(names)
    assert (len(found_same) if isinstance(same, int) else found_same) == same
    assert found_close == close


def test_one_letter_apart_agrees_with_the_edit_distance():
    rng = np.random.default_rng(0)
    names = list(dict.fromkeys("".join(rng.choice(list("abz"), 5 + i % 3)) for i in range(90)))

    def distance(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            last, row = row, [i]
            for j, y in enumerate(b, 1):
                row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
        return row[-1]

    same, close = near_names(names)
    assert same == []
    expected = {(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if distance(a, b) == 1}
    assert set(close) == expected
    assert len(close) > 20


def test_groups_in_two_splits():
    groups = ["home", "home", "school", "school", None, None]
    splits = ["train", "test", "train", "train", "train", "test"]
    found = by_kind(records_of(mixed(6, 2), splits=splits, groups=groups))["groups.torn"]
    assert found.data["groups"] == {"home": ["test", "train"]}
    assert found.severity == "error"
    assert "1 group of 2 is in more than one split" in found.what


# ---- unknowns


def test_unknowns_are_counted_by_label():
    targets = mixed(200, 4)
    targets[:100, 1] = -1
    targets[:50, 2] = -1
    targets[7] = -1
    found = by_kind(records_of(targets))["unknowns.share"]
    share = (targets == -1).mean()
    assert (
        found.what
        == f"{share:.1%} of targets are unknown, in 4 labels. In 1 image all targets are unknown."
    )
    assert found.examples[0] == "bread: 50.0%"
    assert found.count == (targets == -1).sum()


def test_presence_alone():
    targets = mixed(100, 3)
    targets[targets[:, 1] == 0, 1] = -1
    found = by_kind(records_of(targets))
    assert found["unknowns.never_absent"].data["labels"] == ["bread"]
    assert "labels.always_present" not in found


def test_one_label_an_image_is_told_as_what_it_may_be():
    one = np.eye(4, dtype=np.int8)[np.arange(300) % 4]
    found = by_kind(records_of(one))["unknowns.one_label"]
    assert found.count == 300
    assert "may not have checked" in found.what
    assert "different rules" not in found.what
    mixture = np.concatenate([one, mixed(300, 4)])
    splits = ["train"] * 300 + ["test"] * 300
    found = by_kind(records_of(mixture, splits=splits))["unknowns.one_label"]
    assert [part["part"] for part in found.data["parts"]] == ["train"]
    assert "different rules" in found.what


def test_one_known_label_an_image_is_no_evidence():
    one = np.where(np.eye(4)[np.arange(300) % 4] == 1, 1, -1)
    assert "unknowns.one_label" not in by_kind(records_of(one))


def test_a_label_that_a_folder_never_has():
    targets = mixed(600, 3)
    targets[:150, 1] = 0
    keys = [f"{'old' if i < 150 else 'new'}/{i}.jpg" for i in range(600)]
    found = by_kind(records_of(targets, keys=keys))["unknowns.missing_in_part"]
    rate = (targets[150:, 1] == 1).mean()
    assert found.data["parts"] == [
        {"part": "old/", "label": "bread", "expected": round(150 * rate)}
    ]


def test_folders_that_are_labels_are_no_evidence():
    targets = np.eye(3, dtype=np.int8)[np.repeat([0, 1, 2], 150)]
    keys = [f"{'abc'[i // 150]}/{i}.jpg" for i in range(450)]
    assert "unknowns.missing_in_part" not in by_kind(records_of(targets, keys=keys))


# ---- images and duplicates


def photo(seed, size=(160, 120)):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def album(tmp_path):
    """Makes a data set of the images that `make` gives by name: key to image, bytes or None."""

    def build(images, targets, splits=None):
        for name, image in images.items():
            path = tmp_path / name
            if isinstance(image, bytes):
                path.write_bytes(image)
            elif image is not None:
                image.save(path)
        keys = list(images)
        paths = [tmp_path / key for key in keys]
        return records_of(targets, splits=splits, keys=keys, images=paths)

    return build


def kinds(records):
    return {f.kind: f for f in check(records, workers=2).findings}


def test_missing_and_unreadable_images(album):
    records = album(
        {"a.png": None, "b.png": b"", "c.png": photo(0), "d.jpg": b"GIF89a"}, mixed(4, 2)
    )
    found = kinds(records)
    assert found["images.missing"].data["images"] == ["a.png"]
    assert [row["image"] for row in found["images.unreadable"].data["images"]] == ["b.png", "d.jpg"]
    assert "0 bytes" in found["images.unreadable"].examples[0]
    assert "images.missing" in {f.kind for f in check(records, open_images=False).findings}


def test_shapes_and_sizes(album):
    sizes = {"a.png": (400, 130), "b.png": (390, 130), "c.png": (130, 391), "d.png": (111, 200)}
    images = {name: photo(i, size) for i, (name, size) in enumerate(sizes.items())}
    found = kinds(album(images, mixed(4, 2)))
    assert found["images.aspect"].data["images"] == [
        {"image": "a.png", "width": 400, "height": 130},
        {"image": "c.png", "width": 130, "height": 391},
    ]
    assert [row["image"] for row in found["images.small"].data["images"]] == ["d.png"]
    assert "There are 4 image sizes" in found["images.sizes"].what


def test_images_of_almost_one_colour(album):
    noise = np.random.default_rng(0).integers(126, 130, (120, 160, 3), dtype=np.uint8)
    tinted = np.full((120, 160, 3), 128, dtype=np.uint8)
    tinted[:, 80:] = (148, 118, 128)  # about as bright, and of another colour
    spot = np.full((120, 160, 3), 250, dtype=np.uint8)
    spot[40:60, 50:70] = 200
    images = {
        "a.png": Image.new("RGB", (160, 120), "navy"),
        "b.jpg": Image.new("RGB", (160, 120), "navy"),
        "c.png": Image.fromarray(noise),
        "d.png": Image.fromarray(tinted),
        "e.png": Image.fromarray(spot),
        "f.png": photo(1),
        "g.png": None,
    }
    found = kinds(album(images, mixed(7, 2)))
    assert found["images.flat"].data["images"] == ["a.png", "b.jpg", "c.png"]
    assert found["images.flat"].severity == "warning"
    assert "images.flat" not in kinds(album({"f.png": photo(1)}, mixed(1, 2)))


def test_grey_images_that_use_few_of_16_bits(album):
    values = np.linspace(0, 1, 120 * 160).reshape(120, 160)
    images = {
        f"{bits}.png": Image.fromarray((values * (2**bits - 1)).astype(np.uint16))
        for bits in (8, 10, 12, 14, 16)
    }
    images |= {"black.png": Image.fromarray((values * 0).astype(np.uint16))}
    images |= {"dark.png": Image.fromarray((values * 12).astype(np.uint8)), "photo.png": photo(0)}
    found = kinds(album(images, mixed(8, 2)))["images.few_bits"]
    assert found.data["images"] == [
        {"image": f"{bits}.png", "bits": bits} for bits in (8, 10, 12, 14)
    ]
    assert found.what.startswith("4 images of 8 are of 16 bits per pixel, but use only")
    assert "images.few_bits" not in kinds(album({"f.png": photo(1)}, mixed(1, 2)))


def test_images_of_one_size(album):
    found = kinds(album({"a.png": photo(0), "b.png": photo(1)}, mixed(2, 2)))
    assert found["images.sizes"].what == "All images are 160x120 pixels."


def test_every_sort_of_duplicate(album, tmp_path):
    copies = {
        "a.png": photo(0),
        "a-test.png": photo(0),  # the same bytes in test
        "b.png": photo(1),
        "b-again.png": photo(1),  # the same bytes and other labels
        "c.png": photo(2),
        "c-again.png": photo(2),  # the same bytes and labels
        "d.png": photo(3),
        "d-test.jpg": photo(3),  # re-encoded in test
        "e.png": photo(4),
        "e-small.png": photo(4).resize((90, 70)),  # with other labels
        "f.png": photo(5),
        "f-bright.png": ImageEnhance.Brightness(photo(5)).enhance(1.15),
        "g.png": photo(6),
    }
    splits = ["test" if "-test" in name else "train" for name in copies]
    targets = np.zeros((13, 3), dtype=np.int8)
    targets[:, 0] = 1
    targets[3] = [1, 1, 0]
    targets[9] = [0, 0, 1]
    targets[11] = [1, -1, 0]  # unknown contradicts nothing
    records = album(copies, targets, splits)
    found = {k: f for k, f in kinds(records).items() if k.startswith("duplicates")}
    assert {k: (f.severity, f.count, f.pairs) for k, f in found.items()} == {
        "duplicates.leak": ("error", 1, (("a.png", "a-test.png"),)),
        "duplicates.near_leak": ("warning", 1, (("d.png", "d-test.jpg"),)),
        "duplicates.contradiction": ("warning", 1, (("b.png", "b-again.png"),)),
        "duplicates.near_contradiction": ("warning", 1, (("e.png", "e-small.png"),)),
        "duplicates.exact": ("note", 1, (("c.png", "c-again.png"),)),
        "duplicates.near": ("note", 1, (("f.png", "f-bright.png"),)),
    }
    assert found["duplicates.leak"].examples == ("a.png (train) = a-test.png (test)",)
    assert "differ in bread" in found["duplicates.contradiction"].examples[0]
    assert found["duplicates.near_contradiction"].data["sets"] == [
        {"images": ["e.png", "e-small.png"], "differ": ["apple", "chair"]}
    ]


def test_a_leak_that_is_a_contradiction_is_both(album):
    records = album({"a.png": photo(0), "b.png": photo(0)}, [[1, 0], [0, 1]], ["train", "val"])
    found = kinds(records)
    assert found["duplicates.leak"].data == found["duplicates.contradiction"].data
    assert "differ in apple, bread" in found["duplicates.leak"].examples[0]


def test_three_copies_are_one_picture(album):
    records = album({f"{i}.png": photo(0) for i in range(3)}, mixed(3, 2))
    (exact,) = [f for k, f in kinds(records).items() if k == "duplicates.exact" or "contra" in k]
    assert exact.count == 1
    assert exact.data["sets"][0]["images"] == ["0.png", "1.png", "2.png"]
    assert exact.examples[0].count(" and 1 more") == 1


def test_a_copy_whose_split_is_not_known_is_no_leak(album):
    records = album({"a.png": photo(0), "b.png": photo(0)}, [[1, 0], [1, 0]], ["train", None])
    assert "duplicates.leak" not in kinds(records)


def test_crops_of_one_image_are_not_the_same(tmp_path):
    path = tmp_path / "a.png"
    photo(0, (300, 200)).save(path)
    crops = [Crop(path, 0, 0, 120, 200), Crop(path, 150, 0, 290, 200), Crop(path, 0, 0, 120, 200)]
    records = records_of([[1, 0]] * 3, keys=["a#1", "a#2", "a#3"], images=crops)
    assert kinds(records)["duplicates.exact"].data["sets"][0]["images"] == ["a#1", "a#3"]
    assert "images.missing" not in kinds(records)


def test_a_diagnosis_is_sorted_and_ready_for_json(album):
    records = album({"a.png": None, "b.png": photo(0)}, [[1, 0], [0, 0]], ["train", "val"])
    done = []
    found = check(records, workers=1, on_progress=done.append)
    order = [SEVERITIES.index(f.severity) for f in found.findings]
    assert order == sorted(order)
    assert done == [2]
    told = json.loads(json.dumps(found.as_dict()))
    assert told["severities"] == {s: found.count(s) for s in SEVERITIES}
    assert told["images"] == told["opened"] == 2
    assert told["images_per_second"] > 0
    assert told["fingerprint"] == records.fingerprint()
    assert told["labels"][0] == {
        "label": "apple",
        "positives": {"train": 1, "val": 0},
        "known": 2,
        "total": 2,
    }


def test_quick_opens_nothing(album, monkeypatch):
    records = album({"a.png": photo(0), "b.png": photo(0)}, mixed(2, 2))
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("opened"))
    found = check(records, open_images=False)
    assert found.opened == 0
    assert found.images_per_second is None
    assert not [f for f in found.findings if f.kind.startswith(("images", "duplicates"))]


def test_labels_that_go_together_are_the_same_however_many_are_compared_at_once(monkeypatch):
    targets = np.repeat(mixed(400, 3, rate=0.5), 2, axis=1)
    targets[np.random.default_rng(1).random(targets.shape) < 0.02] = -1
    expected = by_kind(records_of(targets))["labels.together"].data["pairs"]
    assert [pair["labels"] for pair in expected] != []
    for first, second, share in ((*pair["labels"], pair["share"]) for pair in expected):
        a, b = (targets[:, "abcdef".index(name[0])] for name in (first, second))
        known = (a >= 0) & (b >= 0)
        assert share == ((a == 1) & (b == 1) & known).sum() / (((a == 1) | (b == 1)) & known).sum()
    monkeypatch.setattr("manylabel.data.doctor.labels._LABELS", 2)
    assert by_kind(records_of(targets))["labels.together"].data["pairs"] == expected
