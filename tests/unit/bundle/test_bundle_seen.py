"""The list of seen images in a bundle."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from manylabel.bundle.classifier import load_bundle
from manylabel.bundle.folder import read_bundle, sealed, with_decision, write_bundle
from manylabel.bundle.seen import SEEN_FILE, SeenImages
from manylabel.decide import Decision
from manylabel.errors import BundleError

BIG = 2**64 - 1
SEEN = SeenImages.of(trained=[7, 3, BIG, 3], validated=[5], tuned=[])
DECISION = Decision(thresholds=(0.1, 0.2, 0.3))


@pytest.fixture(scope="module")
def bundle(make_bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("seen") / "bundle", seen=SEEN)


def changed(folder: Path, **values: object) -> Path:
    path = folder / "bundle.json"
    tables = json.loads(path.read_text())
    tables["seen"] |= values
    path.write_text(json.dumps(sealed(tables)))
    return folder


def test_the_file_is_sorted_numbers_and_is_described(bundle: Path) -> None:
    numbers = np.frombuffer((bundle / SEEN_FILE).read_bytes(), "<u8").tolist()
    assert numbers == [3, 7, BIG, 5]
    table = json.loads((bundle / "bundle.json").read_text())["seen"]
    assert (table["trained"], table["validated"], table["tuned"]) == (3, 1, 0)
    assert read_bundle(bundle).info.seen == load_bundle(bundle).info.seen == SEEN


def test_images_are_found_among_others() -> None:
    contents = np.array([5, 3, 4, BIG, 8, 0], dtype=np.uint64)
    assert SEEN.trained_among(contents).tolist() == [False, True, False, True, False, False]
    assert SEEN.validated_among(contents).tolist() == [True, *[False] * 5]
    assert not SEEN.tuned_among(contents).any()
    none = SeenImages.of(trained=[0, 0])
    assert none.trained == b""
    assert not none.trained_among(contents).any()


def test_they_are_the_numbers_that_a_set_would_find() -> None:
    random = np.random.default_rng(0)
    known, asked = (random.integers(1, 2000, size, dtype=np.uint64) for size in (700, 900))
    expected = [number in set(known.tolist()) for number in asked.tolist()]
    assert SeenImages.of(trained=known).trained_among(asked).tolist() == expected


def test_a_large_set_takes_8_bytes_an_image_and_little_time() -> None:
    random = np.random.default_rng(0)
    contents = random.integers(1, BIG, 1_700_000, dtype=np.uint64)
    seen = SeenImages.of(trained=contents)
    assert len(seen.to_bytes()) == 8 * 1_700_000
    assert seen.trained_among(contents[:1000]).all()


def test_a_new_decision_keeps_the_list_and_adds_what_it_was_fitted_to(
    bundle: Path, tmp_path: Path
) -> None:
    fitted = np.array([9, 8], dtype=np.uint64)
    out = with_decision(bundle, tmp_path / "tuned", DECISION, tuned_on=fitted)
    found = read_bundle(out).info.seen
    assert found == SeenImages.of(trained=[3, 7, BIG], validated=[5], tuned=[8, 9])
    again = with_decision(out, out, DECISION)
    assert read_bundle(again).info.seen == SEEN  # the new decision was fitted to no image


def test_a_copy_of_a_bundle_keeps_the_list(bundle: Path, tmp_path: Path) -> None:
    found = read_bundle(bundle)
    write_bundle(tmp_path / "copy", found.weights, found.info)
    assert read_bundle(tmp_path / "copy").info == found.info


def test_a_bundle_is_replaced_with_its_list(bundle: Path, tiny_bundle: Path, tmp_path) -> None:
    own = shutil.copytree(bundle, tmp_path / "own")
    found = read_bundle(tiny_bundle)
    write_bundle(own, found.weights, found.info)
    assert read_bundle(own).info.seen is None
    assert not (own / SEEN_FILE).exists()


def test_an_older_bundle_does_not_know(tiny_bundle: Path, tmp_path: Path) -> None:
    assert "seen" not in json.loads((tiny_bundle / "bundle.json").read_text())
    assert load_bundle(tiny_bundle).info.seen is None
    out = with_decision(tiny_bundle, tmp_path / "new", DECISION, tuned_on=np.array([1], np.uint64))
    assert read_bundle(out).info.seen is None


def test_without_its_file_a_bundle_predicts_and_does_not_know(bundle: Path, tmp_path) -> None:
    part = shutil.copytree(bundle, tmp_path / "part")
    (part / SEEN_FILE).unlink()
    assert load_bundle(part).info.seen is None
    out = with_decision(part, tmp_path / "new", DECISION)
    assert "seen" not in json.loads((out / "bundle.json").read_text())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0" * 8,
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: b"",
    ],
    ids=["shorter", "longer", "another bit", "empty"],
)
def test_a_damaged_list_is_refused(bundle: Path, tmp_path: Path, damage) -> None:
    own = shutil.copytree(bundle, tmp_path / "own")
    path = own / SEEN_FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BundleError, match="damaged") as refused:
        load_bundle(own)
    assert refused.value.where == str(path)


@pytest.mark.parametrize(
    "values",
    [
        {"trained": -1},
        {"trained": 1.5},
        {"trained": "3"},
        {"trained": 10**30},
        {"trained": 2**27, "validated": 2**27},
        {"sha256": "0" * 1000},
        {"other": 1},
    ],
)
def test_a_description_that_no_bundle_has_is_refused(bundle: Path, tmp_path, values) -> None:
    own = changed(shutil.copytree(bundle, tmp_path / "own"), **values)
    with pytest.raises(BundleError):
        read_bundle(own)


def test_a_pipe_is_not_waited_for(bundle: Path, tmp_path: Path) -> None:
    own = shutil.copytree(bundle, tmp_path / "own")
    (own / SEEN_FILE).unlink()
    os.mkfifo(own / SEEN_FILE)
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(own)
