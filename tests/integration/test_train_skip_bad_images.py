"""A run that leaves out bad images is resumed by the command that it printed when it stopped."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import pytest
import tomli_w

from manylabel.cli.main import main
from manylabel.config import read_toml
from manylabel.data.synthetic import draw_scenes
from manylabel.train.optim import Schedule

RECIPE = {
    "batch_size": 16,
    "workers": 0,
    "device": "cpu",
    "input": {"height": 48, "width": 48},
    "augment": {"name": "flip"},
    "backbone": {"name": "test_resnet", "pretrained": False},
    "head": {"name": "linear"},
    "steps": [{"kind": "main", "epochs": 2}],
}


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_the_printed_command_resumes_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"train": 48, "val": 16, "test": 16}
    scenes = draw_scenes(tmp_path / "drawn", counts=counts, workers=1)
    sorted((scenes / "images" / "train").iterdir())[0].write_bytes(b"no image")
    path, folder = tmp_path / "own.toml", tmp_path / "run"
    path.write_text(tomli_w.dumps(RECIPE))
    asked = ("train", "--data", str(scenes), "--recipe", str(path), "--out", str(folder))
    assert command(*asked) == 2
    assert "--skip-bad-images" in capsys.readouterr().err

    original, seen = Schedule.after_iteration, 0

    def stop_at_second(schedule: Schedule) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        original(schedule)

    monkeypatch.setattr(Schedule, "after_iteration", stop_at_second)
    assert command(*asked, "--skip-bad-images") == 1
    said = capsys.readouterr().err
    (printed,) = [line for line in said.splitlines() if "manylabel train --resume" in line]
    program, *arguments = shlex.split(printed[printed.index("manylabel") :])
    assert program == "manylabel"
    assert command(*arguments) == 0
    assert read_toml(folder / "recipe.toml")["skip_bad_images"] is True
    assert (folder / "metrics.json").exists()
    assert seen > 2


def test_the_flag_beside_resume_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("train", "--resume", str(tmp_path), "--skip-bad-images") == 2
    assert "leave out" in capsys.readouterr().err
