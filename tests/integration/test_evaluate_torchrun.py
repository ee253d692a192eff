"""`manylabel evaluate` under torchrun, as users start it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from manylabel.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]

TORCHRUN = (sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone")


@pytest.fixture
def photos(make_image, tmp_path: Path) -> Path:
    """A table of 11 images."""
    labels = np.random.default_rng(1).integers(0, 2, (11, 3))
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "cat", "dog", "owl"])
        for i, row in enumerate(labels):
            make_image(tmp_path / f"{i}.png", i)
            writer.writerow([f"{i}.png", *row])
    return tmp_path / "photos.csv"


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What two processes of the command print."""
    command = [*TORCHRUN, "--nproc-per-node", "2", "-m", "manylabel", "evaluate"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=240
    )


def test_two_processes_print_once_what_one_prints(tiny_bundle, photos: Path, capsys) -> None:
    given = (tiny_bundle, "--data", photos, "--batch-size", 3, "--json")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, given)])
    assert not ended.value.code
    one = json.loads(capsys.readouterr().out)
    two = evaluate(*given, "--save-predictions", photos.with_name("scores.npz"))
    assert two.returncode == 0, two.stderr
    assert json.loads(two.stdout) == one
    with np.load(photos.with_name("scores.npz")) as saved:
        assert saved["images"].tolist() == [f"{i}.png" for i in range(11)]


def test_an_error_is_printed_once_and_ends_all_processes(tiny_bundle, photos: Path) -> None:
    for name in ("1.png", "9.png"):  # in batches of different processes
        photos.with_name(name).write_bytes(b"")
    two = evaluate(tiny_bundle, "--data", photos, "--batch-size", 3)
    assert two.returncode != 0
    assert two.stdout == ""
    assert two.stderr.count("2 of 11 images cannot be used") == 1
