"""`manylabel explain --score`: what it prints and writes, and how it fails."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from manylabel.cli.main import main
from manylabel.models.heads import SRNConfig

SRN = SRNConfig(attention_channels=16, relation_channels=16)
LABELS = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def bundles(make_bundle, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(folder / "srn", head=SRN)
    make_bundle(folder / "linear")
    return folder


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """24 images of noise, with a cat at the left of each and a dog at the right of five."""
    folder = tmp_path_factory.mktemp("coco")
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for i in range(24):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
        for label, left in ((1, 0), (2, 32))[: 2 if i < 5 else 1]:
            box = {"bbox": [left, 0, 32, 48], "area": 1536, "iscrowd": 0}
            boxes.append({"id": len(boxes), "image_id": i, "category_id": label, **box})
    categories = [{"id": i, "name": name} for i, name in enumerate(LABELS, start=1)]
    written = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "instances_test.json").write_text(json.dumps(written))
    return folder / "instances_test.json"


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> Path:
    """A table of 12 images with masks: cat on the left, dog on the right."""
    folder = tmp_path_factory.mktemp("masked")
    rng = np.random.default_rng(0)
    mask = np.repeat([[1, 3]], 48, axis=0).repeat(32, axis=1).astype(np.uint8)
    Image.fromarray(mask).save(folder / "mask.png")
    with (folder / "data.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "labels", "mask"])
        for i in range(12):
            pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
            rows.writerow([f"{i}.png", "cat|dog" if i % 2 else "cat|dog|owl", "mask.png"])
    (folder / "classes.txt").write_text("null\ncat\ntree\ndog\n")
    return folder / "data.csv"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["explain", *map(str, arguments)])
    return int(exit_.value.code or 0)


FAST = ("--resamples", 100, "--deletion-pairs", 3)


def test_prints_totals_the_comparison_and_every_label(bundles, coco, tmp_path, capsys):
    out = tmp_path / "new" / "scores.json"
    assert run(bundles / "srn", "--score", "--data", coco, *FAST, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "methods: attention, cam, grad-cam" in printed.splitlines()[0]
    assert "note: Regions are boxes: 24 images of 24 may have one" in printed
    assert "29 pairs of an image and a label" in printed
    assert "on 3 pairs" in printed
    for words in ("pointing game", "energy inside", "IoU at 0.5", "deletion (lower is better)"):
        assert f"│ {words} " in printed
    assert printed.count("│ cat ") == printed.count("│ dog ") == 4
    assert "too few pairs" in printed  # insertion and deletion on 3 pairs
    assert "deletion (lower is better), mean of labels" not in printed
    assert " of 5 " in printed  # dog is shown with its count and is not compared
    assert f"All figures: {out}" in printed
    written = json.loads(out.read_text(encoding="utf-8"))
    assert (written["bundle"], written["split"]) == (str(bundles / "srn"), "test")
    chance = written["measures"]["pointing"]["methods"]["chance"]["all_pairs"]
    assert chance["value"] == pytest.approx(0.5)
    dog = written["measures"]["pointing"]["methods"]["cam"]["labels"][1]
    assert (dog["label"], dog["pairs"], dog["against_baselines"]) == ("dog", 5, None)


def test_the_printed_figures_are_those_of_the_file(bundles, coco, tmp_path, capsys):
    out = tmp_path / "scores.json"
    options = ("--split", "all", "--methods", "cam", "--deletion-pairs", 0, "--resamples", 100)
    assert run(bundles / "srn", "--score", "--data", coco, *options, "--out", out) == 0
    printed = capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))["measures"]["energy_inside"]
    cam = found["methods"]["cam"]
    value, low, high = (f"{100 * cam['all_pairs'][x]:.1f}" for x in ("value", "low", "high"))
    assert f"{value} [{low}, {high}] {cam['against_baselines']}" in printed
    assert "insertion" not in json.loads(out.read_text(encoding="utf-8"))["measures"]
    assert "attention" not in printed.splitlines()[0]


def test_masks_of_a_table(bundles, masked, capsys):
    classes = masked.parent / "classes.txt"
    options = ("--mask-classes", classes, *FAST)
    assert run(bundles / "linear", "--score", "--data", masked, *options) == 0
    printed = capsys.readouterr().out
    assert "Regions are masks: 12 images of 12 may have one" in printed
    assert "Labels without a class in the masks, left out: 1 (owl)" in printed
    assert "24 pairs" in printed


def test_an_image_that_cannot_be_used_is_named_and_skipped(bundles, masked, tmp_path, capsys):
    copy = tmp_path / "data"
    copytree(masked.parent, copy)
    (copy / "3.png").write_bytes(b"nothing")
    out = tmp_path / "scores.json"
    options = ("--mask-classes", copy / "classes.txt", *FAST, "--out", out)
    assert run(bundles / "linear", "--score", "--data", copy / "data.csv", *options) == 1
    printed = capsys.readouterr()
    assert "left out: 1 (" in printed.out
    assert "3.png: The file is not an image" in printed.out
    assert printed.err.endswith("1 image was skipped.\n")
    assert json.loads(out.read_text(encoding="utf-8"))["images"] == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{srn}", "--score"], "--score needs --data"),
        (["{srn}", "photo.jpg", "--score", "--data", "{coco}"], "PATHS is for pictures"),
        (["{srn}", "--score", "--top", "1", "--data", "{coco}"], "--top is for pictures"),
        (["{srn}", "--score", "--style", "grid", "--data", "{coco}"], "--style is for pictures"),
        (["{srn}", "photo.jpg", "--out", "{out}/a", "--seed", "3"], "--seed needs --score"),
        (["{srn}", "--score", "--data", "{coco}", "--methods", "grad-cat"], "'grad-cat'"),
        (["{srn}", "--score", "--data", "{coco}", "--methods", "cam,"], "method is empty"),
        (["{srn}", "--score", "--data", "{coco}", "--split", "val"], "val"),
        (["{srn}", "--score", "--data", "{coco}", "--mask-classes", "{classes}"], "no masks"),
        (["{srn}", "--score", "--data", "{masked}"], "--mask-classes to use its masks"),
        (["{srn}", "--score", "--data", "{coco}", "--out", "{out}"], "this is a folder"),
        (["{srn}", "--score", "--data", "{coco}", "--mask-classes", "{out}/no"], "does not exist"),
        (["{srn}", "photo.jpg"], "--out"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    bundles, coco, masked, tmp_path, capsys, arguments, message
):
    known = {
        "srn": bundles / "srn",
        "coco": coco,
        "masked": masked,
        "classes": masked.parent / "classes.txt",
        "out": tmp_path,
    }
    assert run(*(each.format(**known) for each in arguments)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())
