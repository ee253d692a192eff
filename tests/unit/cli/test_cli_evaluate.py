from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import click
import numpy as np
import pytest

from manylabel.cli.main import cli, main
from manylabel.data.read import DataSource, read
from manylabel.data.splits.split import with_splits
from manylabel.evaluate.run import evaluate
from manylabel.predict import Predictor


@pytest.fixture
def photos(make_image, tmp_path: Path) -> Path:
    """A table of 24 images, its labels not in the model's order, with train and test."""
    labels = np.random.default_rng(1).integers(0, 2, (24, 3))
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "owl", "cat", "dog", "split"])
        for i, row in enumerate(labels):
            make_image(tmp_path / f"{i}.png", i)
            writer.writerow([f"{i}.png", *row, "test" if i % 2 else "train"])
    return tmp_path / "photos.csv"


@pytest.fixture
def without_splits(photos: Path) -> Path:
    rows = [line.rpartition(",")[0] for line in photos.read_text().splitlines()]
    path = photos.with_name("unsplit.csv")
    path.write_text("\n".join(rows) + "\n")
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    return int(ended.value.code or 0)


def run_json(capsys, *arguments: object) -> dict:
    assert run(*arguments, "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


@pytest.mark.parametrize("profile", ["manylabel", "srn"])
def test_json_is_one_object_with_the_figures(
    tiny_bundle: Path, photos: Path, capsys, profile: str
) -> None:
    found = run_json(capsys, tiny_bundle, "--data", photos, "--profile", profile)
    predictor = Predictor.load(tiny_bundle)
    test = read(DataSource(path=photos)).split("test")
    expected = evaluate(predictor, test, profile=profile)
    assert found["split"] == "test"
    assert found["bundle"] == str(tiny_bundle)
    assert found["weights_sha256"] == predictor.engine.weights_sha256
    assert found["num_images"] == 12
    assert found["profile"] == profile
    figures = {key: found[key] for key in expected.as_dict()}
    assert figures == expected.as_dict()


@pytest.mark.parametrize(("split", "count"), [("train", 12), ("test", 12), ("all", 24)])
def test_a_split_can_be_named(tiny_bundle, photos: Path, capsys, split: str, count: int) -> None:
    found = run_json(capsys, tiny_bundle, "--data", photos, "--split", split)
    assert (found["split"], found["num_images"]) == (split, count)


def test_without_splits_all_is_measured_and_said(tiny_bundle, without_splits, capsys) -> None:
    found = run_json(capsys, tiny_bundle, "--data", without_splits)
    assert (found["split"], found["num_images"]) == ("all", 24)
    assert any("no test or val split" in note for note in found["notes"])


def test_of_its_own_data_only_what_training_left_alone(
    make_bundle, tmp_path: Path, without_splits: Path, capsys
) -> None:
    drawn = with_splits(read(DataSource(path=without_splits)))
    trained_on = {"trained_on": drawn.split("train").fingerprint()}
    bundle = make_bundle(tmp_path / "bundle", provenance=trained_on)
    found = run_json(capsys, bundle, "--data", without_splits)
    assert found["split"] == "test"
    assert found["num_images"] == len(drawn.split("test"))
    assert (
        found["data_fingerprint"]
        == evaluate(Predictor.load(bundle), drawn.split("test")).data_fingerprint
    )


def test_the_table_shows_the_figures_in_percent(tiny_bundle, photos: Path, capsys) -> None:
    figures = run_json(capsys, tiny_bundle, "--data", photos)
    assert run(tiny_bundle, "--data", photos) == 0
    lines = capsys.readouterr().out.splitlines()
    by_threshold = next(line for line in lines if "by threshold" in line)
    top3 = next(line for line in lines if "top 3" in line)
    names = ("CP", "CR", "CF1", "OP", "OR", "OF1")
    for line, table in ((by_threshold, figures), (top3, figures["top3"])):
        shown = [cell.strip() for cell in line.split("│")[3:-1]]
        assert shown == [f"{100 * table[name]:.2f}" for name in names]
    assert f"{100 * figures['mAP']:.2f}" in by_threshold
    assert any(figures["definition"] in line for line in lines)
    assert any("split: test" in line for line in lines)


def test_the_table_of_labels_comes_on_demand(tiny_bundle, photos: Path, capsys) -> None:
    figures = run_json(capsys, tiny_bundle, "--data", photos)
    assert run(tiny_bundle, "--data", photos) == 0
    assert "positives" not in capsys.readouterr().out
    assert run(tiny_bundle, "--data", photos, "--per-label") == 0
    lines = capsys.readouterr().out.splitlines()
    for row in figures["labels"]:
        line = next(line for line in lines if line.startswith(f"│ {row['label']} "))
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        assert cells[1] == str(row["positives"])
        assert cells[2] == f"{100 * row['AP']:.2f}"
        assert cells[6] == "0.500"


def test_skipped_labels_and_unknown_targets_are_said(
    tiny_bundle, make_image, tmp_path: Path, capsys
) -> None:
    for i in range(2):
        make_image(tmp_path / f"{i}.png", i)
    (tmp_path / "x.csv").write_text("image,cat,dog,owl\n0.png,1,0,0\n1.png,0,-1,0\n")
    assert run(tiny_bundle, "--data", tmp_path / "x.csv", "--per-label") == 0
    out = capsys.readouterr().out
    assert "skipped, no positive: 2 labels (dog, owl)" in out
    assert "unknown targets: 1" in out
    dog = next(line for line in out.splitlines() if line.startswith("│ dog"))
    assert [cell.strip() for cell in dog.split("│")[2:4]] == ["0", "-"]


def test_bad_images_stop_it_unless_they_are_to_be_skipped(
    tiny_bundle, photos: Path, capsys
) -> None:
    photos.with_name("3.png").write_bytes(b"")
    assert run(tiny_bundle, "--data", photos) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 of 12 images cannot be used" in captured.err
    assert "3.png" in captured.err
    found = run_json(capsys, tiny_bundle, "--data", photos, "--skip-bad-images")
    assert found["num_images"] == 11
    assert any("left out" in note for note in found["notes"])


def test_other_labels_are_told(tiny_bundle, photos: Path, capsys) -> None:
    photos.write_text(photos.read_text().replace("owl", "cow"))
    assert run(tiny_bundle, "--data", photos) == 2
    assert "owl" in capsys.readouterr().err


def test_the_options_of_the_data_set_reach_it(tiny_bundle, photos: Path, capsys) -> None:
    text = photos.read_text().replace("split", "part", 1)
    moved = photos.parent / "tables" / "moved.csv"
    moved.parent.mkdir()
    moved.write_text(text)
    found = run_json(
        capsys,
        *(tiny_bundle, "--data", moved, "--images", photos.parent, "--split-column", "part"),
    )
    assert (found["split"], found["num_images"]) == ("test", 12)


def test_the_flags_are_these() -> None:
    found = cli.get_command(click.Context(cli), "evaluate")
    assert found is not None
    assert [option for param in found.params for option in param.opts] == [
        *("bundle", "--device", "--batch-size", "--max-memory"),
        *("--data", "--format", "--images"),
        *("--image-column", "--label-column", "--label-delimiter", "--split-column"),
        "--option",
        *("--split", "--profile", "--per-label", "--json", "--keep-trained", "--skip-bad-images"),
        "--save-predictions",
    ]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".npz"])
@pytest.mark.parametrize("profile", ["manylabel", "asl", "q2l"])
def test_saved_predictions_scored_again_give_the_very_same_figures(
    tiny_bundle, photos: Path, capsys, tmp_path: Path, ending: str, profile: str
) -> None:
    path = tmp_path / "out" / f"scores{ending}"
    asked = ("--profile", profile)
    found = run_json(capsys, tiny_bundle, "--data", photos, *asked, "--save-predictions", path)
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(
        [path.name, "scores.targets.csv", "scores.receipt.json"]
    )
    targets = path.with_name("scores.targets.csv")
    with pytest.raises(SystemExit):
        main(["score", "--predictions", str(path), "--targets", str(targets), *asked, "--json"])
    again = json.loads(capsys.readouterr().out)
    for name in ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "top3", "labels", "profile"):
        assert again[name] == found[name], name
    assert again["receipt"]["data_sha256"] == found["receipt"]["data_sha256"]
    assert again["receipt"]["thresholds"].split(",")[0] == "the profile's own"
    kept = json.loads(path.with_name("scores.receipt.json").read_text())
    assert kept["receipt"] == found["receipt"]
    assert list(kept["thresholds"]) == ["cat", "dog", "owl"]


def test_thresholds_of_a_tuned_bundle_go_with_its_receipt(
    make_bundle, photos: Path, capsys, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "tuned", thresholds=(0.4, 0.5, 0.6), tuned={"rule": "f1"})
    path = tmp_path / "scores.npz"
    found = run_json(capsys, bundle, "--data", photos, "--save-predictions", path)
    command = ["score", "--predictions", str(path), "--json", "--targets"]
    command += [str(path.with_suffix(".targets.csv")), "--thresholds"]
    with pytest.raises(SystemExit):
        main([*command, str(path.with_suffix(".receipt.json"))])
    again = json.loads(capsys.readouterr().out)
    for name in ("mAP", "CP", "CR", "CF1", "OP", "OR", "OF1", "top3", "labels", "profile"):
        assert again[name] == found[name], name
    assert again["more"]["threshold"] == [0.4, 0.5, 0.6]


def test_it_says_how_a_tuned_bundle_decides(make_bundle, photos, tmp_path, capsys) -> None:
    own = {"thresholds": (0.4, 0.5, 0.6), "at_least": 1, "at_most": 2, "tuned": {"rule": "f1"}}
    found = run_json(capsys, make_bundle(tmp_path / "tuned", **own), "--data", photos)
    decided = "decided where score >= the label's threshold, 1 to 2 labels an image;"
    assert decided in found["definition"]
    assert "score >= 0.5" not in found["definition"]


def test_saved_predictions_are_compared_as_their_model_decides(
    make_bundle, photos, tmp_path, capsys
) -> None:
    """The figures of `compare` are those that `evaluate` gave for each of the two bundles."""
    own = {"thresholds": (0.4, 0.5, 0.3), "at_least": 1, "at_most": 2, "tuned": {"rule": "f1"}}
    found = {}
    for name, settings in {"plain": {}, "tuned": own}.items():
        path = tmp_path / f"{name}.csv"
        bundle = make_bundle(tmp_path / name, **settings)
        found[name] = run_json(capsys, bundle, "--data", photos, "--save-predictions", path)
    assert found["plain"]["CF1"] != found["tuned"]["CF1"]
    files = [str(tmp_path / f"{name}.csv") for name in found]
    command = ["compare", *files, "--targets", str(tmp_path / "plain.targets.csv"), "--json"]
    with pytest.raises(SystemExit):
        main(command)
    compared = json.loads(capsys.readouterr().out)
    for letter, name in zip("ab", found, strict=True):
        for figure in ("mAP", "CF1", "OF1"):
            value = pytest.approx(found[name][figure])
            assert compared["comparison"][letter][figure] == value
            assert compared[letter]["profiles"]["manylabel"][figure] == value
    limits = "score >= the label's threshold, 1 to 2 labels an image"
    assert compared["comparison"]["decided"] == {"a": "score >= 0.5", "b": limits}
    assert any(limits in note and "tuned.csv" in note for note in compared["notes"])
    with pytest.raises(SystemExit):
        main([*command, "--threshold", "0.5"])
    same = json.loads(capsys.readouterr().out)["comparison"]
    assert same["difference"]["CF1"]["value"] == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda tables: tables["receipt"].update(images=3),
        lambda tables: tables["thresholds"].pop("cat"),
        lambda tables: tables["thresholds"].update(cat=7),
        lambda tables: tables["thresholds"].update(cat="high"),
        lambda tables: tables.update(limits={"at_least": 3, "at_most": 1}),
        lambda tables: tables.clear(),
    ],
)
def test_a_receipt_of_other_predictions_is_not_used(
    make_bundle, photos, tmp_path, capsys, damage
) -> None:
    bundle = make_bundle(tmp_path / "tuned", thresholds=(0.4, 0.5, 0.3), tuned={"rule": "f1"})
    path = tmp_path / "s.csv"
    run_json(capsys, bundle, "--data", photos, "--save-predictions", path)
    about = tmp_path / "s.receipt.json"
    tables = json.loads(about.read_text())
    damage(tables)
    about.write_text(json.dumps(tables))
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(path), "--targets", str(tmp_path / "s.targets.csv"), "--json"])
    assert not ended.value.code
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert any("s.receipt.json does not belong to" in note for note in notes)


def test_predictions_take_the_place_of_older_ones(tiny_bundle, photos, capsys) -> None:
    path = photos.with_name("scores.csv")
    path.write_text("old")
    found = run_json(capsys, tiny_bundle, "--data", photos, "--save-predictions", path)
    assert len(path.read_text().splitlines()) == 1 + found["num_images"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_scores_targets_and_receipt_are_replaced_together(
    tiny_bundle, photos, capsys, monkeypatch, number: int
) -> None:
    """The disk is full when the first, second or third file is completed."""
    names = ("scores.csv", "scores.targets.csv", "scores.receipt.json")
    for name in names:
        photos.with_name(name).write_text("old")
    calls, sync = iter(range(1, 100)), os.fsync

    def full(descriptor: int) -> None:
        if next(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr("manylabel.evaluate.predictions.saving._save_and_read_back", lambda *_: 0)
    monkeypatch.setattr(os, "fsync", full)
    path = photos.with_name(names[0])
    assert run(tiny_bundle, "--data", photos, "--save-predictions", path) == 1
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert [photos.with_name(name).read_text() for name in names] == ["old"] * 3
    assert not list(photos.parent.glob(".*"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scores.xls", "suffix '.xls'"),
        ("photos.csv", "would replace a file"),
        ("there.csv/scores.csv", "cannot be written"),
    ],
)
def test_what_cannot_be_saved_is_told_before_the_work(
    tiny_bundle, photos: Path, capsys, monkeypatch, name: str, said: str
) -> None:
    monkeypatch.setattr("manylabel.evaluate.run.evaluate", None)
    photos.with_name("there.csv").write_text("a file")
    before = photos.read_text()
    assert run(tiny_bundle, "--data", photos, "--save-predictions", photos.parent / name) != 0
    assert said in capsys.readouterr().err
    assert photos.read_text() == before
    assert not list(photos.parent.glob(".*"))


def test_a_label_that_no_table_can_head_is_told(make_bundle, photos, capsys, tmp_path) -> None:
    bundle = make_bundle(tmp_path / "bundle", labels=("cat", "dog", "group"))
    photos.write_text(photos.read_text().replace("owl", "group"))
    # The table itself cannot have such a label: COCO's file can.
    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 9, "height": 9} for i in range(4)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(("cat", "dog", "group"))],
        "annotations": [
            {"id": i, "image_id": i, "category_id": i % 3, "bbox": [0, 0, 4, 4], "iscrowd": 0}
            for i in range(4)
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(document))
    path = tmp_path / "scores.csv"
    assert (
        run(
            *(bundle, "--data", tmp_path / "instances.json", "--images", tmp_path),
            *("--save-predictions", path),
        )
        == 2
    )
    assert "cannot be the header of a column" in capsys.readouterr().err
    assert not path.exists()
