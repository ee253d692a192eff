from __future__ import annotations

import gc
import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from manylabel.errors import DataError, RunError
from manylabel.metrics import ScoreTable

KEYS = [f"{i}.jpg" for i in range(10)]
SCORES = np.arange(20, dtype=np.float32).reshape(10, 2) / 20
TARGETS = (np.arange(20).reshape(10, 2) % 3 - 1).astype(np.int8)


def filled(batches: list[list[int]]) -> ScoreTable:
    table = ScoreTable()
    for rows in batches:
        table.add([KEYS[row] for row in rows], SCORES[rows], TARGETS[rows])
    return table


@pytest.mark.parametrize(
    "batches",
    [
        [list(range(10))],
        [[9, 3, 1], [0, 2, 4, 5], [8, 7, 6]],
        # Two processes of alternating images, the last batch filled up from the start.
        [[0, 2, 4], [1, 3, 5], [6, 8, 0], [7, 9, 1]],
        [[4, 4, 0, 1, 2, 3], [5, 6, 7, 8, 9]],
    ],
    ids=["one batch", "any order", "two processes, padded", "twice in a batch"],
)
def test_comes_out_in_the_order_of_the_data_set(batches):
    table = filled(batches)
    scores, targets = table.finish(KEYS)
    np.testing.assert_array_equal(scores, SCORES)
    np.testing.assert_array_equal(targets, TARGETS)
    assert scores.dtype == np.float32
    assert targets.dtype == np.int8
    assert len(table) == 10


def test_the_first_scores_of_a_repeated_image_are_kept():
    table = ScoreTable()
    table.add(["a"], [[0.1]], [[1]])
    table.add(["a", "b"], [[0.9], [0.2]], [[1], [0]])
    scores, _ = table.finish(["a", "b"])
    assert scores.tolist() == [[0.1], [0.2]]


@pytest.mark.parametrize("second", [["b", "a"], ["b", "b"]])
def test_a_repeated_image_is_refused_where_declared_and_nothing_is_taken(second):
    table = ScoreTable(repeats="refuse")
    table.add(["a"], [[0.1]], [[1]])
    with pytest.raises(DataError, match="scored twice") as caught:
        table.add(second, [[0.9], [0.2]], [[1], [0]])
    assert caught.value.where == second[1]
    assert table.finish(["a"])[0].tolist() == [[0.1]]


def test_an_image_that_was_not_scored_is_noticed():
    with pytest.raises(AssertionError, match=r"1 of 10 images were not scored: \['9.jpg'\]"):
        filled([[0, 1, 2, 3, 4, 5, 6, 7, 8]]).finish(KEYS)


def test_an_image_of_another_data_set_is_noticed():
    with pytest.raises(AssertionError, match=r"1 images are not of the data set: \['9.jpg'\]"):
        filled([list(range(10))]).finish(KEYS[:9])


def test_keys_that_are_not_unique_are_noticed():
    with pytest.raises(AssertionError, match="not unique"):
        filled([[0, 1]]).finish([KEYS[0], KEYS[1], KEYS[0]])


def test_a_score_that_is_no_number_names_its_image():
    with pytest.raises(DataError) as caught:
        ScoreTable().add(["a.jpg", "b.jpg"], [[0.1], [np.nan]], [[0], [1]])
    assert "image b.jpg, label 0: nan" in caught.value.where


def test_a_target_that_is_none_names_its_image():
    with pytest.raises(DataError) as caught:
        ScoreTable().add(["a.jpg", "b.jpg"], [[0.1], [0.2]], [[0], [3]])
    assert "image b.jpg, label 0: 3" in caught.value.where


def test_keys_scores_and_targets_must_go_together():
    with pytest.raises(AssertionError):
        ScoreTable().add(["a"], [[0.1], [0.2]], [[0], [1]])


def test_scores_and_targets_must_have_the_same_labels():
    with pytest.raises(DataError, match=r"scores have the shape \[1, 2\], the targets \[1, 1\]"):
        ScoreTable().add(["a"], [[0.1, 0.2]], [[0]])


def test_batches_of_other_labels_are_refused():
    table = filled([[0, 1]])
    with pytest.raises(DataError, match="has 3 labels, but earlier batches have 2"):
        table.add(["x"], [[0.1, 0.2, 0.3]], [[0, 1, 0]])


@pytest.mark.parametrize("size", [None, 1, 3000], ids=["unknown", "too small", "known"])
@pytest.mark.parametrize("in_memory", [1 << 40, 20_000, 0], ids=["memory", "later disk", "disk"])
def test_any_order_size_and_place_give_the_same_bits(size, in_memory):
    rng = np.random.default_rng(0)
    scores = rng.random((3000, 3), dtype=np.float32)
    targets = rng.integers(-1, 2, (3000, 3)).astype(np.int8)
    keys = [str(i) for i in range(3000)]
    table = ScoreTable(size, in_memory=in_memory)
    for rows in np.array_split(rng.permutation(3000), 47):
        table.add([keys[row] for row in rows], scores[rows], targets[rows])
    found, truth = table.finish(keys)
    assert (found.dtype, found.tobytes()) == (np.float32, scores.tobytes())
    assert (truth.dtype, truth.tobytes()) == (np.int8, targets.tobytes())


def filled_large(in_memory: int) -> tuple[np.ndarray, np.ndarray]:
    """2,000 x 1,000: scores of 8 MB, targets of 2 MB, in falling order of the batches."""
    keys = [str(i) for i in range(2000)]
    table = ScoreTable(2000, in_memory=in_memory)
    for start in range(1950, -1, -50):
        some = np.full((50, 1000), start / 2000, np.float32)
        table.add(keys[start : start + 50], some, np.zeros((50, 1000), np.int8))
    return table.finish(keys)


@pytest.mark.parametrize(("in_memory", "megabytes"), [(1 << 40, 12), (0, 2)])
def test_nothing_is_held_twice(in_memory, megabytes):
    filled([[0]])  # imports are done
    tracemalloc.start()
    try:
        scores, _ = filled_large(in_memory)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 1e6
    np.testing.assert_array_equal(scores[::50, 0], np.arange(0, 2000, 50, dtype=np.float32) / 2000)


def test_no_file_is_left(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scores, targets = filled_large(0)
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    if os.path.isdir("/proc/self/fd"):
        maps = Path("/proc/self/maps")
        assert str(tmp_path) in maps.read_text()
        del scores, targets
        gc.collect()
        assert str(tmp_path) not in maps.read_text()


def test_a_disk_without_room_is_told_before_anything_is_lost(monkeypatch):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(RunError, match=r"not enough disk space for 0\.01 GB") as caught:
            filled_large(0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.where == tempfile.gettempdir()
    assert "TMPDIR" in caught.value.fix


def test_where_the_disk_cannot_set_room_aside_it_is_written(monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    scores, _ = filled_large(0)
    assert scores[-1, 0] == np.float32(1950 / 2000)


def test_a_finished_table_takes_nothing_more():
    table = filled([list(range(10))])
    table.finish(KEYS)
    with pytest.raises(AssertionError, match="finished"):
        table.add(["x"], [[0.1, 0.2]], [[0, 1]])
    with pytest.raises(AssertionError, match="finished"):
        table.finish(KEYS)
