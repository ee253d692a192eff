"""`manylabel audit`: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from manylabel.cli.main import main

SMALL = ("--fewest", 3, "--images-per-pair", 6, "--resamples", 20, "--device", "cpu")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["audit", *map(str, arguments)])
    return int(exit_.value.code or 0)


@pytest.fixture(scope="module")
def data(make_image, tmp_path_factory) -> Path:
    """A table of images in which cats come with dogs; owls are never with another."""
    folder = tmp_path_factory.mktemp("animals")
    random = np.random.default_rng(0)
    lines = ["image,labels"]
    for number in range(40):
        make_image(folder / f"{number}.png", seed=number)
        cat = random.random() < 0.5
        dog = random.random() < (0.8 if cat else 0.2)
        names = [name for name, there in (("cat", cat), ("dog", dog)) if there]
        lines.append(f"{number}.png,{'|'.join(names) if names else 'owl'}")
    (folder / "animals.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "animals.csv"


def test_writes_three_files_and_prints_pairs(tiny_bundle, data, tmp_path, capsys):
    out = tmp_path / "new" / "audit"
    assert run(tiny_bundle, "--data", data, "--out", out, "--seed", 7, *SMALL) == 0
    printed = capsys.readouterr().out
    found = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    pairs = [(pair["label"], pair["companion"]) for pair in found["pairs"]]
    assert sorted(pairs) == [("cat", "dog"), ("dog", "cat")]
    assert (found["split"], found["images"], found["settings"]["seed"]) == ("all", 40, 7)
    assert found["labels_without_companion"] == ["owl"]
    rows = list(csv.DictReader((out / "audit.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["label"] for row in rows] == [pair["label"] for pair in found["pairs"]]
    assert (out / "audit.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "40 images, 2 pairs, seed 7" in " ".join(printed.split())
    assert "The data has no boxes of the companions of all pairs" in " ".join(printed.split())
    assert f"Page: {out / 'audit.html'}" in printed


def test_the_same_seed_gives_the_same_files(tiny_bundle, data, tmp_path):
    for name in ("one", "two"):
        assert run(tiny_bundle, "--data", data, "--out", tmp_path / name, *SMALL) == 0
    for name in ("audit.json", "audit.csv", "audit.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--label", "catt"), "Did you mean 'cat'"),
        (("--label", "owl"), "No label has a usual companion"),
        (("--method", "attention"), "It has: cam"),
        (("--images-per-pair", 10), "a figure needs 20"),
        (("--companions", 0), "--companions"),
    ],
)
def test_mistakes_end_with_2_before_anything_is_written(
    options, said, tiny_bundle, data, tmp_path, capsys
):
    assert run(tiny_bundle, "--data", data, "--out", tmp_path / "out", *options) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_bad_images_are_refused_or_skipped(tiny_bundle, data, tmp_path, capsys, make_image):
    folder = tmp_path / "data"
    folder.mkdir()
    for file in data.parent.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "3.png").write_bytes(b"no image")
    table = folder / "animals.csv"
    assert run(tiny_bundle, "--data", table, "--out", tmp_path / "out", *SMALL) == 2
    assert "--skip-bad-images" in capsys.readouterr().err
    skipping = (*SMALL, "--skip-bad-images")
    assert run(tiny_bundle, "--data", table, "--out", tmp_path / "out", *skipping) == 0
    found = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert found["images"] == 39
    assert any("left out: 1" in note for note in found["notes"])


def test_a_folder_that_cannot_be_written_is_said_before_the_work(
    tiny_bundle, data, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    assert run(tiny_bundle, "--data", data, "--out", tmp_path / "file" / "out", *SMALL) == 1
    assert "The audit cannot be written" in capsys.readouterr().err
