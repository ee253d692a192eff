from __future__ import annotations

import doctest
import time

import numpy as np
import pytest

import manylabel.labels
from manylabel.errors import DataError
from manylabel.labels import ABSENT, PRESENT, UNKNOWN, LabelSpace


def test_the_convention() -> None:
    assert (PRESENT, ABSENT, UNKNOWN) == (1, 0, -1)


def test_the_examples_hold() -> None:
    result = doctest.testmod(manylabel.labels)
    assert result.attempted > 0
    assert result.failed == 0


def test_order_is_kept_and_index_is_the_column() -> None:
    labels = LabelSpace(["zebra", "ape", "cow"])
    assert list(labels) == ["zebra", "ape", "cow"]
    assert [labels.index(name) for name in labels] == [0, 1, 2]
    assert (labels[1], len(labels), "cow" in labels, "dog" in labels) == ("ape", 3, True, False)


def test_two_spaces_are_equal_if_names_and_order_are() -> None:
    assert LabelSpace(["a", "b"]) == LabelSpace(("a", "b"))
    assert hash(LabelSpace(["a", "b"])) == hash(LabelSpace(("a", "b")))
    assert LabelSpace(["a", "b"]) != LabelSpace(["b", "a"])
    assert LabelSpace(["a"]) != ["a"]


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ([], "no labels"),
        (["a", ""], "empty"),
        (["a", "  "], "empty"),
        (["a", "\x01\x02"], "not seen"),
        (["a", "\u200b"], "not seen"),
        (["cat", "ca\u200bt"], "look the same"),
        (["a", "b", "a", "b", "c"], r"more than once: a, b\."),
        (["caf\u00e9", "tea", "cafe\u0301"], "look the same .*: caf\u00e9"),
        (["\uac00", "\u1100\u1161"], "look the same"),
        (["a\ud800"], "half a character"),
        (["a", "b" * 1001], "1,001 characters"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(names: list[str], what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        LabelSpace(names, where="photos.csv")
    assert caught.value.where == "photos.csv"


def test_names_of_all_the_world_are_taken_as_they_are() -> None:
    """Only names that Unicode calls equal are refused, not those that are merely alike."""
    names = [
        "m2",
        "m\u00b2",
        "Cat",
        "cat",
        "e\u0301",
        "\u4eba",
        "\U0001f9d1\u200d\U0001f4bb",
        "x" * 1000,
    ]
    assert LabelSpace(names).names == tuple(names)


def test_many_names_are_checked_in_no_time() -> None:
    begin = time.process_time()
    with pytest.raises(DataError, match=r"200,001 labels, more than 200,000"):
        LabelSpace.numbered(200_001)
    with pytest.raises(DataError, match="more than once"):
        LabelSpace([str(number % 100_000) for number in range(200_000)])
    assert len(LabelSpace.numbered(200_000)) == 200_000
    assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("present", "unknown", "targets"),
    [
        ([], [], [0, 0, 0]),
        (["c", "a"], [], [1, 0, 1]),
        (["a", "a"], ["b"], [1, -1, 0]),
        (["a"], ["a", "c"], [1, 0, -1]),  # seen present: no longer unknown
    ],
)
def test_encode(present: list[str], unknown: list[str], targets: list[int]) -> None:
    encoded = LabelSpace("abc").encode(present, unknown)
    assert encoded.dtype == np.int8
    assert encoded.tolist() == targets


def test_decode_is_the_way_back() -> None:
    labels = LabelSpace("abcd")
    assert labels.decode(np.array([1, -1, 0, 1], np.int8)) == ["a", "d"]
    assert labels.decode(labels.encode(["d", "b"])) == ["b", "d"]


def test_an_unknown_name_is_refused_with_the_closest() -> None:
    labels = LabelSpace(["traffic light", "bicycle"])
    with pytest.raises(DataError, match="Unknown label 'trafic light'") as caught:
        labels.index("trafic light")
    assert caught.value.fix == "Did you mean 'traffic light'?"
    with pytest.raises(DataError) as caught:
        labels.encode(["zzz"])
    assert "traffic light" in caught.value.fix


def test_repr_is_short() -> None:
    assert repr(LabelSpace([f"label {i}" for i in range(80)])) == (
        "LabelSpace(80: label 0, label 1, label 2, ...)"
    )
