from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from hostile_images import hostile_images

from manylabel.cli.main import cli, main
from manylabel.cli.predict_formats import FORMATS, Choice
from manylabel.decide import Decision
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


PASSED = (
    "2 files were passed over: 1 .txt, 1 hidden.\n"
    "1 folder was passed over: photos/.cache (hidden).\n"
)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["predict", *map(str, arguments)])
    return int(ended.value.code or 0)


# Which images


def test_what_a_folder_has_beside_images_is_counted(
    tiny_bundle: Path, photos: Path, capsys
) -> None:
    for name in ("a.mov", "b.MOV", "README"):
        (photos / name).write_bytes(b"no image")
    assert run(tiny_bundle, "photos", "--format", "jsonl") == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 4
    assert captured.err.splitlines() == [
        "5 files were passed over: 2 .mov, 1 .txt, 1 hidden, 1 without an ending.",
        "1 folder was passed over: photos/.cache (hidden).",
    ]


def test_a_pattern_without_a_match_does_not_end_the_work_on_others(
    tiny_bundle: Path, photos: Path, capsys
) -> None:
    Path("empty").mkdir()
    assert run(tiny_bundle, "photos/*.gif", "photos/*.png", "empty", "--format", "jsonl") == 1
    captured = capsys.readouterr()
    assert [json.loads(line)["image"] for line in captured.out.splitlines()] == ["photos/a.png"]
    first, second = captured.err.splitlines()
    assert first.startswith("Skipped photos/*.gif: No image matches the pattern. Give images")
    assert second.startswith("Skipped empty: There is no image in the folder.")


def test_nothing_at_all_is_refused(photos: Path, capsys) -> None:
    (photos / "sub2").mkdir()
    (photos / "sub2" / "a.mov").write_bytes(b"no image")
    assert run("bundle", "photos/*.gif", "photos/sub2") == 2
    captured = capsys.readouterr()
    what, *details, where, fix = captured.err.splitlines()
    assert what == "Error: No image matches the pattern."
    assert [line.strip() for line in details] == [
        "There is no image in the folder. (photos/sub2)",
        "1 file was passed over: 1 .mov.",
    ]
    assert where.strip() == "where: photos/*.gif"
    assert fix.strip().startswith("fix:   Give images")


def test_an_interruption_says_what_was_done(
    tiny_bundle: Path, photos: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Predictor.load(tiny_bundle).predict("photos/a.png")

    def interrupted(self, sources):
        yield first
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_many", interrupted)
    assert run(tiny_bundle, "photos", "--format", "jsonl", "--out", "found.jsonl") == 130
    *_, stopped, _, last = capsys.readouterr().err.splitlines()  # a line is ended after ^C
    assert stopped == "Stopped after 1 of 4 images. found.jsonl is not written."
    assert last == "Interrupted."
    assert not Path("found.jsonl").exists()


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
    assert captured.err == PASSED


def test_csv_has_two_columns_a_label(tiny_bundle: Path, photos: Path, capsys) -> None:
    assert run(tiny_bundle, "photos", "--format", "csv") == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    flags = ["labels: cat", "labels: dog", "labels: owl"]
    assert header == ["image", *flags, "cat", "dog", "owl"]
    predictor = Predictor.load(tiny_bundle)
    for name, *numbers in rows:
        listed, scores = numbers[:3], numbers[3:]
        assert all(len(score.split(".")[1]) == 6 for score in scores)
        expected = predictor.predict(name)
        np.testing.assert_allclose(np.array(scores, float), expected.scores, atol=1e-5)
        assert listed == [str(int(name in expected.names)) for name in predictor.labels]


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
    *lines, last = captured.err.removeprefix(PASSED).splitlines()
    assert len(lines) == len(said)
    for path, what in said.items():
        assert any(line.startswith(f"Skipped {path}: ") and what in line for line in lines)
    assert last.startswith(f"{len(said)} of ")


@pytest.mark.parametrize("form", FORMATS)
def test_only_bad_images_still_exit_1(tiny_bundle: Path, photos: Path, form: str) -> None:
    assert run(tiny_bundle, "photos/notes.txt", "--format", form) == 1


@pytest.mark.parametrize("form", FORMATS)
def test_out_gets_what_stdout_would_get(tiny_bundle: Path, photos: Path, capsys, form: str) -> None:
    assert run(tiny_bundle, "photos", "--format", form) == 0
    printed = capsys.readouterr().out
    assert run(tiny_bundle, "photos", "--format", form, "--out", "result") == 0
    assert capsys.readouterr().out == ""
    assert Path("result").read_text(encoding="utf-8") == printed
    assert sorted(path.name for path in Path().iterdir()) == ["photos", "result"]


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
