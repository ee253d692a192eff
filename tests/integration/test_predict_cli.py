"""Prediction and evaluation as a user runs them: `manylabel` in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from manylabel import Predictor
from manylabel.cli.main import main


def manylabel(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "manylabel", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.fixture
def folder(make_image, tmp_path: Path) -> Path:
    """Photographs in a folder for each label, and one file that is none."""
    for i, label in enumerate(["cat", "dog", "owl", "cat", "dog", "owl"]):
        make_image(tmp_path / "photos" / label / f"{i}.jpg", i)
    return tmp_path


def test_predict_writes_results_to_stdout_and_errors_to_stderr(
    tiny_bundle: Path, folder: Path
) -> None:
    (folder / "photos" / "cat" / "0.jpg").write_bytes(b"")
    done = manylabel("predict", tiny_bundle, "photos", "--format", "jsonl", folder=folder)
    assert done.returncode == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["image"] for row in rows] == [
        f"photos/{name}.jpg" for name in ("cat/3", "dog/1", "dog/4", "owl/2", "owl/5")
    ]
    assert done.stderr.splitlines() == [
        "Skipped photos/cat/0.jpg: The image file is empty (0 bytes). Download or export it again.",
        "1 of 6 images was skipped.",
    ]
    expected = Predictor.load(tiny_bundle).predict(folder / "photos" / "owl" / "5.jpg")
    assert rows[-1]["labels"] == expected.names
    assert rows[-1]["scores"] == pytest.approx(expected.as_dict()["scores"], abs=1e-5)


def test_evaluate_prints_one_object(tiny_bundle: Path, folder: Path) -> None:
    done = manylabel("evaluate", tiny_bundle, "--data", "photos", "--json", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["num_images"], found["num_labels"], found["split"]) == (6, 3, "all")
    assert 0 <= found["mAP"] <= 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["predict", "BUNDLE", "photos/*.gif"], "No image matches the pattern."),
        (["predict", "BUNDLE", "photos", "--device", "tpu9"], "The device 'tpu9' cannot be used"),
        (["evaluate", "BUNDLE", "--data", "nothing.csv"], "The data set does not exist."),
        (
            ["evaluate", "BUNDLE", "--data", "photos/cat"],
            "The folder is not a data set of a known kind",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_mistake_is_three_lines(
    tiny_bundle: Path, folder: Path, arguments: list[str], what: str, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main([str(tiny_bundle) if argument == "BUNDLE" else argument for argument in arguments])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    assert_three_lines(captured.err, what)


def test_a_users_mistake_has_no_traceback(folder: Path) -> None:
    done = manylabel("predict", "nothing", "photos", folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert_three_lines(done.stderr, "The bundle does not exist.")


def assert_three_lines(message: str, what: str) -> None:
    """An error says what is wrong, where, and how to correct it."""
    first, *rest = message.splitlines()
    assert first.startswith(f"Error: {what}")
    assert [line.split(":")[0].strip() for line in rest] == ["where", "fix"]
