from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from manylabel.data.records import SPLITS, Record, Records
from manylabel.data.splits.stratify import stratified, stratify, units_of
from manylabel.errors import ConfigError, DataError
from manylabel.labels import LabelSpace

quick = settings(max_examples=60, deadline=None, database=None, derandomize=True)

THREE = {"train": 0.7, "val": 0.1, "test": 0.2}
TWO = {"train": 0.8, "test": 0.2}
THIRDS = {"train": 1 / 3, "val": 1 / 3, "test": 1 / 3}


def long_tail(images, labels, seed):
    """Targets whose k-th label has a share like (k + 5) ** -1.5, and labels that go together."""
    rng = np.random.default_rng(seed)
    share = (np.arange(labels) + 5) ** -1.5
    odds = np.log(3 * share / share.sum() / (1 - np.minimum(3 * share / share.sum(), 0.5)))
    odds = odds + rng.normal(size=(images, 4)) @ rng.normal(size=(4, labels)) / 2
    return (rng.random((images, labels)) < 1 / (1 + np.exp(-odds))).astype(np.int8)


def drifts(targets, splits, shares):
    """Of each label that every split could have a positive of: slow and plain."""
    result = []
    for column in targets.T:
        total = (column == 1).sum()
        if total * min(shares.values()) < 1:
            continue
        parts = [(column[splits == k] == 1).sum() / total for k in range(len(shares))]
        pairs = zip(parts, shares.values(), strict=True)
        result.append(max(abs(part - share) for part, share in pairs))
    return np.array(result)


def shuffle_split(targets, seed):
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=0.2, random_state=seed)
    _, test = next(splitter.split(targets, targets))
    splits = np.zeros(len(targets), dtype=int)
    splits[test] = 1
    return splits


def folds(targets, seed):
    splits = np.zeros(len(targets), dtype=int)
    splitter = MultilabelStratifiedKFold(n_splits=3, shuffle=True, random_state=seed)
    for k, (_, test) in enumerate(splitter.split(targets, targets)):
        splits[test] = k
    return splits


@pytest.mark.parametrize(("shares", "reference"), [(TWO, shuffle_split), (THIRDS, folds)])
@pytest.mark.parametrize(("images", "labels"), [(1500, 20), (3000, 60), (4000, 100)])
def test_as_even_as_iterative_stratification(images, labels, shares, reference):
    ours, theirs = [], []
    for seed in range(3):
        targets = long_tail(images, labels, seed)
        ours.append(drifts(targets, stratify(targets, shares, seed=seed), shares))
        theirs.append(drifts(targets, reference(targets, seed), shares))
    assert np.mean(np.concatenate(ours)) <= np.mean(np.concatenate(theirs)) * 1.01
    assert np.max(np.concatenate(ours)) <= np.max(np.concatenate(theirs)) * 1.01


def test_far_more_even_than_chance():
    targets = long_tail(3000, 40, 0)
    by_chance = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [2100, 300, 600]))
    even = drifts(targets, stratify(targets, THREE), THREE)
    assert even.mean() < drifts(targets, by_chance, THREE).mean() / 5


@quick
@given(
    images=st.integers(30, 400),
    labels=st.integers(1, 12),
    seed=st.integers(0, 99),
    shares=st.sampled_from([THREE, TWO, THIRDS, {"train": 0.33, "test": 0.67}, {"train": 1.0}]),
    density=st.floats(0, 1),
)
def test_sizes_are_the_shares_to_less_than_a_row(images, labels, seed, shares, density):
    targets = (np.random.default_rng(seed).random((images, labels)) < density).astype(np.int8)
    splits = stratify(targets, shares, seed=seed)
    for k, share in enumerate(shares.values()):
        assert abs((splits == k).sum() - share * images) < 1


@pytest.mark.parametrize("seed", range(12))
def test_every_split_has_every_label(seed):
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0, 0.3, 30) ** 2
    targets = (rng.random((1200, 30)) < rate).astype(np.int8)
    shares = [THREE, TWO, {"train": 0.9, "val": 0.05, "test": 0.05}][seed % 3]
    splits = stratify(targets, shares, seed=seed)
    positives = np.stack([targets[splits == k].sum(axis=0) for k in range(len(shares))])
    enough = positives.sum(axis=0) >= len(shares)
    assert enough.any()
    assert (positives[:, enough] > 0).all()


def test_a_case_by_hand():
    """Ten rows, two labels; halves: each label's four and two positives are halved exactly."""
    targets = np.zeros((10, 2), dtype=np.int8)
    targets[[0, 3, 6, 8], 0] = 1
    targets[[3, 9], 1] = 1
    splits = stratify(targets, {"train": 0.5, "val": 0.5}, seed=4)
    assert np.bincount(splits).tolist() == [5, 5]
    assert targets[splits == 0].sum(axis=0).tolist() == [2, 1]


def test_unknown_counts_as_nothing():
    targets = long_tail(300, 8, 1)
    unknown = np.where((targets == 0) & (np.arange(300)[:, None] % 3 == 0), -1, targets)
    assert (stratify(unknown.astype(np.int8), THREE) == stratify(targets, THREE)).all()


def test_a_seed_gives_one_result():
    targets = long_tail(300, 8, 1)
    assert (stratify(targets, THREE, seed=5) == stratify(targets, THREE, seed=5)).all()
    assert (stratify(targets, THREE, seed=5) != stratify(targets, THREE, seed=6)).any()


def test_handfuls():
    assert stratify(np.zeros((0, 3), dtype=np.int8), THREE).tolist() == []
    assert sorted(stratify(np.ones((3, 1), dtype=np.int8), THREE).tolist()) == [0, 1, 2]
    assert stratify(np.ones((1, 1), dtype=np.int8), THREE).tolist() == [0]
    assert len(stratify(np.zeros((2, 1), dtype=np.int8), THREE)) == 2


@pytest.mark.parametrize("names", [False, True])
def test_groups_go_whole(names):
    rng = np.random.default_rng(2)
    targets = long_tail(2000, 20, 2)
    groups = rng.integers(0, 300, 2000)
    given = np.array([f"person {g}" for g in groups]) if names else groups
    splits = stratify(targets, THREE, groups=given)
    for group in set(groups.tolist()):
        assert len(set(splits[groups == group])) == 1
    excess = [(splits == k).sum() - share * 2000 for k, share in enumerate(THREE.values())]
    assert max(excess) - min(excess) <= np.bincount(groups).max()
    assert drifts(targets, splits, THREE).mean() < 0.02


def test_groups_of_one_are_none():
    """In whatever order they are named."""
    targets = long_tail(400, 10, 3)
    names = np.random.default_rng(0).permutation(400)
    splits = stratify(targets, THREE, groups=names)
    assert np.bincount(splits).tolist() == [280, 40, 80]
    chance = np.random.default_rng(0).permutation(splits)
    assert drifts(targets, splits, THREE).mean() < drifts(targets, chance, THREE).mean() / 3


def test_one_huge_group_does_not_hide_the_rest():
    groups = np.arange(1000)
    groups[:400] = 0
    splits = stratify(long_tail(1000, 10, 4), {"train": 0.5, "val": 0.5}, groups=groups)
    assert np.bincount(splits).tolist() == [500, 500]


@quick
@given(
    groups=st.none() | st.lists(st.integers(0, 9), min_size=20, max_size=20),
    sets=st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=4), max_size=12),
)
def test_units_are_connected_components(groups, sets):
    edges = [(rows[0], row) for rows in sets for row in rows]
    if groups is not None:
        edges += [(groups.index(group), i) for i, group in enumerate(groups)]
    ends = np.array(edges, dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(20, 20))
    count, expected = connected_components(graph, directed=False)
    found = units_of(20, groups=None if groups is None else np.array(groups), duplicates=sets)
    assert sorted(set(found.tolist())) == list(range(count))
    assert len(set(zip(found.tolist(), expected.tolist(), strict=True))) == count


def test_a_long_chain_of_duplicates_is_one_unit():
    chain = [(i, i + 1) for i in reversed(range(20_000))]
    assert not units_of(20_001, groups=None, duplicates=chain).any()


@pytest.mark.parametrize(
    "shares", [{"train": 0.7, "val": 0.2}, {"train": 1.2, "val": -0.2}, {"train": float("nan")}, {}]
)
def test_shares_have_to_fit(shares):
    with pytest.raises(ConfigError, match="must be over 0 and sum to 1"):
        stratify(np.zeros((4, 1), dtype=np.int8), shares)


def records(count=100, splits=None, groups=None, source="photos.csv"):
    targets = long_tail(count, 4, 0)
    items = tuple(
        Record(
            f"{i}.jpg",
            Path(f"{i}.jpg"),
            targets[i],
            split=None if splits is None else splits[i],
            group=None if groups is None else groups[i],
        )
        for i in range(count)
    )
    return Records.of(LabelSpace("abcd"), items, source, ("read",))


def split_of(result):
    return {record.key: record.split for record in result}


def test_records_are_split_as_their_targets_are():
    data = records()
    result = stratified(data, THREE, seed=3)
    expected = stratify(data.targets, THREE, seed=3)
    assert [SPLITS.index(record.split) for record in result] == expected.tolist()
    assert result.keys == data.keys
    assert result.notes == (
        "read",
        "Splits are drawn by iterative stratification with seed 3: train 70, val 10, test 20",
    )


def test_given_splits_are_replaced_and_that_is_said():
    data = records(splits=["val", None] * 50)
    assert "not kept: val 50" in stratified(data, TWO).notes[-1]


def test_what_is_kept_stays():
    data = records(splits=["test" if i < 40 else "train" for i in range(100)])
    result = stratified(data, {"train": 0.8, "val": 0.2}, keep=["test"])
    assert [r.key for r in result.split("test")] == [f"{i}.jpg" for i in range(40)]
    assert (len(result.split("train")), len(result.split("val"))) == (48, 12)
    assert result.notes[2:] == (
        "Kept as the data set gives them: test 40",
        "Splits of the data set that are not kept: train 60",
    )


def test_groups_and_duplicates_join_what_is_kept():
    splits = ["test" if i < 10 else "train" for i in range(100)]
    groups = ["g" if i in (0, 50) else None for i in range(100)]
    sets = [["50.jpg", "60.jpg"], ["70.jpg", "71.jpg"]]
    result = stratified(
        records(splits=splits, groups=groups),
        {"train": 0.5, "val": 0.5},
        keep=["test"],
        duplicates=sets,
    )
    found = split_of(result)
    assert found["50.jpg"] == found["60.jpg"] == "test"
    assert found["70.jpg"] == found["71.jpg"] != "test"
    told = " ".join(result.notes)
    assert "join a kept split because it has images of their group or duplicates of them: 2" in told
    assert "Groups that are kept in one split: 1" in told
    assert "Sets of duplicates that are kept in one split: 2, with 4 images" in told


def test_kept_splits_that_tear_a_group_are_told_of():
    splits = ["test", "val", *["train"] * 18]
    groups = ["g", "g", "g", *[None] * 17]
    data = records(20, splits=splits, groups=groups)
    result = stratified(data, {"train": 1.0}, keep=["val", "test"])
    found = split_of(result)
    assert [found[f"{i}.jpg"] for i in range(4)] == ["test", "val", "test", "train"]
    assert result.notes[-1] == "Groups or sets that are in more than one kept split: 1"


@pytest.mark.parametrize(
    ("shares", "keep", "error", "what"),
    [
        (THREE, ["val"], ConfigError, "both kept and drawn"),
        (TWO, ["val"], DataError, "split 'val' cannot be kept"),
        ({"val": 1.0}, ["train", "test"], DataError, "There is no image to split"),
    ],
)
def test_what_cannot_be(shares, keep, error, what):
    data = records(splits=["train", "test"] * 50)
    with pytest.raises(error, match=what):
        stratified(data, shares, keep=keep)


def test_a_split_that_would_be_empty_is_an_error():
    data = records(groups=["a"] * 60 + ["b"] * 40)
    with pytest.raises(DataError, match="only 2 images, groups or sets") as caught:
        stratified(data, THREE)
    assert caught.value.where == "photos.csv"
