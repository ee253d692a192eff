import hashlib
from pathlib import Path

import numpy as np
import pytest

from manylabel.data.records import Record, Records, split_of
from manylabel.data.splits.split import check_trainable, with_splits
from manylabel.errors import DataError
from manylabel.labels import LabelSpace

LABELS = LabelSpace(["a", "b"])


def record(key, split=None, group=None, targets=(1, 1)):
    return Record(key, Path(key), np.array(targets, dtype=np.int8), split=split, group=group)


def records(*items):
    return Records.of(LABELS, tuple(items), "drawn.csv", ("read",))


def many(split=None, count=1000, prefix="x"):
    return [record(f"{prefix}{i}.jpg", split) for i in range(count)]


def splits(result):
    return {item.key: item.split for item in result}


def by_hand(name, val, test):
    place = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 16**16
    return "test" if place < test else "val" if place < test + val else "train"


@pytest.mark.parametrize(
    ("word", "split"),
    [("train", "train"), (" Valid", "val"), ("validation", "val"), ("TEST", "test"), ("x", None)],
)
def test_words_for_splits(word, split):
    assert split_of(word) == split


def test_without_splits_a_hash_of_the_key_decides():
    given = records(*many())
    result = with_splits(given, val=0.1, test=0.2)
    assert splits(result) == {key: by_hand(key, 0.1, 0.2) for key in given.keys}
    assert result.notes[0] == "read"
    assert result.notes[1].startswith("No split is given: 20% test and 10% val drawn by a hash")
    assert f"train {len(result.split('train'))}" in result.notes[1]


def test_images_that_are_added_move_no_other():
    few = with_splits(records(*many(count=300)))
    more = with_splits(records(*many(count=900)))
    assert splits(few).items() <= splits(more).items()


def test_a_group_stays_together():
    items = [record(f"{i}.jpg", group=f"person {i % 40}") for i in range(400)]
    result = with_splits(records(*items))
    assert {item.split for item in result} == {"train", "val", "test"}
    assert all(item.split == by_hand(item.group, 0.1, 0.2) for item in result)
    assert "hash of each group" in result.notes[-1]


def test_train_alone_is_split_like_nothing_given():
    result = with_splits(records(*many("train")))
    assert splits(result) == {item.key: by_hand(item.key, 0.1, 0.2) for item in result}


@pytest.mark.parametrize("given", [("train", "val"), ("train", "val", "test")])
def test_what_the_data_set_gives_is_left(given):
    items = [item for name in given for item in many(name, 50, name)]
    result = with_splits(records(*items))
    assert splits(result) == splits(records(*items))
    assert result.notes == ("read",)


def test_a_missing_val_comes_out_of_train():
    items = [*many("train", 500, "t"), *many("test", 100, "e")]
    result = with_splits(records(*items), val=0.1)
    for item in result:
        expected = "test" if item.key[0] == "e" else by_hand(item.key, val=0.1, test=0)
        assert item.split == expected
    assert len(result.split("val")) > 20
    assert "gives train, test: 10% val drawn" in result.notes[-1]


def test_unsplit_images_never_enter_a_val_or_test_that_is_given():
    items = [
        *many("train", 5, "t"),
        *many("val", 5, "v"),
        *many("test", 5, "e"),
        *many(None, 40, "n"),
    ]
    result = with_splits(records(*items))
    assert {key for key, split in splits(result).items() if split == "val"} == {
        f"v{i}.jpg" for i in range(5)
    }
    assert len(result.split("train")) == 45
    assert "40 images have none: these are train" in result.notes[-1]


def test_where_only_test_is_marked_the_rest_gives_train_and_val():
    result = with_splits(records(*many("test", 20, "e"), *many(None, 300, "n")), val=0.1)
    assert len(result.split("test")) == 20
    assert 10 < len(result.split("val")) < 60


def test_a_set_that_is_all_test_is_left_for_evaluation():
    given = records(*many("test", 5))
    assert with_splits(given) == given


@pytest.mark.parametrize("count", [3, 4, 7, 12])
def test_a_handful_still_has_every_split(count):
    for prefix in "abcdef":
        result = with_splits(records(*many(count=count, prefix=prefix)), val=0.1, test=0.1)
        assert result.split_names() == ["train", "val", "test"]


def test_no_val_is_drawn_where_none_is_wanted():
    result = with_splits(records(*many(count=200)), val=0, test=0.5)
    assert result.split_names() == ["train", "test"]


def test_nothing_left_to_train_on():
    with pytest.raises(DataError, match="No image is left to train on: none of the 40 images"):
        with_splits(records(*many(count=40)), val=0.5, test=0.5)


def test_an_image_without_split_follows_its_group_into_test():
    items = [record("1.jpg", "test", "ann"), *many(None, 100), record("2.jpg", None, "ann")]
    result = with_splits(records(*items))
    assert splits(result)["2.jpg"] == "test"
    assert len(result.split("test")) == 2


def test_groups_that_the_data_set_tears_apart_are_told():
    items = [record("1.jpg", "train", "ann"), record("2.jpg", "val", "ann"), record("3", "test")]
    assert "1 groups are in more than one split" in with_splits(records(*items)).notes[-1]


def test_a_label_that_train_never_shows():
    items = [
        record("1.jpg", "train", targets=(1, 0)),
        record("2.jpg", "train", targets=(0, -1)),
        record("3.jpg", "val", targets=(1, 1)),
    ]
    with pytest.raises(DataError, match="1 of 2 labels have no positive in train: b") as caught:
        check_trainable(records(*items))
    assert "manylabel data split" in caught.value.fix  # an image of val has the label
    assert 'drop = ["b"]' in caught.value.fix
    assert "--option label_set=labels.toml" in caught.value.fix
    with pytest.raises(DataError) as caught:
        check_trainable(records(*items[:2]))
    assert "Add images of it" in caught.value.fix
    (warning,) = check_trainable(records(*items), allow_empty_labels=True)
    assert "1 of 2 labels" in warning


def test_a_label_that_no_image_has_cannot_be_split_better():
    with pytest.raises(DataError, match="1 of 2 labels") as caught:
        check_trainable(records(record("1.jpg", "train", targets=(1, 0))))
    assert caught.value.fix.startswith("Add images of it.")
    assert "data split" not in caught.value.fix


def test_one_label_that_all_images_have():
    one = Records.of(LabelSpace(["a"]), [record("1.jpg", "train", targets=(1,))], "photos")
    with pytest.raises(DataError, match="one label, a, and all images of train have it"):
        check_trainable(one)


def test_a_set_that_can_be_trained_on():
    assert check_trainable(records(record("1.jpg", "train"))) == []


def test_an_empty_train_split():
    with pytest.raises(DataError, match="train split is empty"):
        check_trainable(records(*many("test", 3)), allow_empty_labels=True)
