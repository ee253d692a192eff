from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from hostile_images import hostile_images

from manylabel.cli.main import cli, main
from manylabel.cli.predict import Choice, find_images
from manylabel.decide import Decision
from manylabel.errors import DataError
from manylabel.labels import LabelSpace
from manylabel.predict import Prediction, Predictor


@pytest.fixture
def photos(make_image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images and other things, which is the working directory, too."""
    for seed, name in enumerate(["a.png", "b.JPG", "sub/c.png", "sub/deep/d.webp", ".hidden.png"]):
        make_image(tmp_path / "photos" / name, seed)
    make_image(tmp_path / "photos" / ".cache" / "e.png", 9)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["predict", *map(str, arguments)])
    return int(ended.value.code or 0)


# Which images


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["photos"], ["a.png", "b.JPG", "sub/c.png", "sub/deep/d.webp"]),
        (["photos/sub/"], ["sub/c.png", "sub/deep/d.webp"]),
        (["photos/b.JPG", "photos/a.png"], ["b.JPG", "a.png"]),
        (["photos/*.png"], ["a.png"]),
        (["photos/*"], ["a.png", "b.JPG", "sub/c.png", "sub/deep/d.webp"]),
        (["photos/**/*.[pw]*"], ["a.png", "sub/c.png", "sub/deep/d.webp"]),
        (["photos/a.png", "photos"], ["a.png", "b.JPG", "sub/c.png", "sub/deep/d.webp"]),
        (["photos/notes.txt"], ["notes.txt"]),  # named by itself: it is reported when it is opened
        (["photos/missing.png"], ["missing.png"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_files_folders_and_patterns(photos: Path, paths: list[str], found: list[str]) -> None:
    assert find_images(paths) == [Path("photos") / name for name in found]


def test_a_file_whose_name_is_a_pattern_is_a_file(photos: Path, make_image) -> None:
    make_image(photos / "[x].png")
    assert find_images(["photos/[x].png"]) == [Path("photos/[x].png")]


@pytest.mark.parametrize("path", ["photos/*.gif", "empty"])
def test_a_path_that_yields_nothing_is_refused(photos: Path, path: str, capsys) -> None:
    Path("empty").mkdir()
    with pytest.raises(DataError) as caught:
        find_images(["photos/a.png", path])
    assert caught.value.where == path
    assert run("bundle", path) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_refused(photos: Path) -> None:
    (photos / "sub").chmod(0)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            find_images(["photos"])
    finally:
        (photos / "sub").chmod(0o755)


# Which labels


@pytest.mark.parametrize(
    ("top", "threshold", "listed"),
    [
        (None, None, ["b", "c"]),
        (1, None, ["b"]),
        (3, None, ["b", "c", "d"]),
        (None, 0.35, ["b", "c", "d"]),
        (None, 0.9, ["b"]),  # reaches it
        (2, 0.35, ["b", "c"]),
        (3, 0.55, ["b", "c"]),
        (None, 0.95, []),
    ],
)
def test_top_and_threshold_choose_labels(top, threshold, listed: list[str]) -> None:
    scores = np.array([0.2, 0.9, 0.6, 0.4], np.float32)
    decision = Decision(thresholds=(0.5,) * 4)
    if threshold is not None:
        decision = decision.at_threshold(threshold)
    prediction = Prediction("x", LabelSpace("abcd"), scores, decision.decide(scores[None])[0])
    choice = Choice(top, any_score=threshold is None)
    assert [name for name, _ in choice.of(prediction)] == listed


def test_the_labels_that_are_decided_for_are_listed_and_not_as_many_of_the_best() -> None:
    scores = np.array([0.2, 0.9, 0.6], np.float32)
    decided = Decision(thresholds=(0.1, 0.95, 0.5)).decide(scores[None])[0]
    prediction = Prediction("x", LabelSpace("abc"), scores, decided)
    listed = Choice(None, any_score=True).of(prediction)
    assert [name for name, _ in listed] == ["c", "a"]


# What is printed


def test_jsonl_is_the_predictions(tiny_bundle: Path, photos: Path, capsys) -> None:
    assert run(tiny_bundle, "photos", "--format", "jsonl", "--device", "cpu") == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    predictor = Predictor.load(tiny_bundle, device="cpu")
    assert len(rows) == 4
    for row in rows:
        prediction = predictor.predict(row["image"])
        assert list(row) == ["image", "labels", "scores"]
        assert row["labels"] == prediction.names
        expected = prediction.as_dict()["scores"]
        assert row["scores"] == pytest.approx(expected, abs=1e-5)
    assert captured.err == ""


def test_csv_has_a_column_a_label(tiny_bundle: Path, photos: Path, capsys) -> None:
    assert run(tiny_bundle, "photos", "--format", "csv") == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["image", "cat", "dog", "owl"]
    predictor = Predictor.load(tiny_bundle)
    for name, *scores in rows:
        assert all(len(score.split(".")[1]) == 6 for score in scores)
        expected = predictor.predict(name).scores
        np.testing.assert_allclose(np.array(scores, float), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("on_terminal", "name"), [(True, r"a\x1b[31m.png"), (False, "a\x1b[31m.png")]
)
def test_csv_on_a_terminal_cannot_command_it(
    tiny_bundle: Path, tmp_path: Path, make_image, capsys, monkeypatch, on_terminal: bool, name: str
) -> None:
    make_image(tmp_path / "a\x1b[31m.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    assert run(tiny_bundle, "a\x1b[31m.png", "--format", "csv") == 0
    assert capsys.readouterr().out.splitlines()[1].split(",")[0] == name


def test_the_table_has_names_as_they_are(
    tiny_bundle: Path, photos: Path, make_image, capsys
) -> None:
    name = "photos/[bold]" + "x" * 120 + ".png"
    make_image(Path(name), 3)
    assert run(tiny_bundle, name, "--top", "3") == 0
    out = capsys.readouterr().out
    assert name in out
    for label, score in Predictor.load(tiny_bundle).predict(name).top(3):
        assert f"{label} {score:.2f}" in out


def test_a_bad_image_is_reported_in_a_line_and_skipped(
    tiny_bundle: Path, photos: Path, capsys
) -> None:
    code = run(
        tiny_bundle,
        *("photos/a.png", "photos/notes.txt", "photos/missing.png", "photos/sub/c.png"),
        *("--format", "jsonl"),
    )
    assert code == 1
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["image"] for row in rows] == ["photos/a.png", "photos/sub/c.png"]
    first, second, last = captured.err.splitlines()
    assert first.startswith("Skipped photos/notes.txt: The file is not an image")
    assert second.startswith("Skipped photos/missing.png: The image cannot be read: No such file")
    assert last == "2 of 4 images were skipped."


def test_no_file_ends_the_work_on_others(tiny_bundle: Path, photos: Path, capsys) -> None:
    said = hostile_images(Path("photos/hostile"))
    assert run(tiny_bundle, "photos", "--format", "jsonl", "--batch-size", "2") == 1
    captured = capsys.readouterr()
    rows = [json.loads(line)["image"] for line in captured.out.splitlines()]
    assert {"photos/a.png", "photos/sub/c.png"} <= set(rows)
    *lines, last = captured.err.splitlines()
    assert len(lines) == len(said)
    for path, what in said.items():
        assert any(line.startswith(f"Skipped {path}: ") and what in line for line in lines)
    assert last.startswith(f"{len(said)} of ")


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_only_bad_images_still_exit_1(tiny_bundle: Path, photos: Path, form: str) -> None:
    assert run(tiny_bundle, "photos/notes.txt", "--format", form) == 1


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_out_gets_what_stdout_would_get(tiny_bundle: Path, photos: Path, capsys, form: str) -> None:
    assert run(tiny_bundle, "photos", "--format", form) == 0
    printed = capsys.readouterr().out
    assert run(tiny_bundle, "photos", "--format", form, "--out", "result") == 0
    assert capsys.readouterr().out == ""
    assert Path("result").read_text(encoding="utf-8") == printed
    assert sorted(path.name for path in Path().iterdir()) == ["photos", "result"]


def test_csv_and_a_choice_do_not_go_together(tiny_bundle: Path, photos: Path, capsys) -> None:
    assert run(tiny_bundle, "photos", "--format", "csv", "--top", "2") == 2
    assert "csv writes all scores" in capsys.readouterr().err


def test_a_missing_bundle_is_told(photos: Path, capsys) -> None:
    assert run("no/bundle", "photos") == 2
    assert capsys.readouterr().err.startswith("Error: The bundle does not exist.")


def test_the_flags_are_these() -> None:
    found = cli.get_command(click.Context(cli), "predict")
    assert found is not None
    assert [option for param in found.params for option in param.opts] == [
        *("bundle", "--device", "--batch-size", "--max-memory"),
        *("paths", "--format", "--top", "--threshold", "--out"),
    ]
