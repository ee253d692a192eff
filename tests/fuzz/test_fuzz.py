"""The short form of the fuzz job, and proofs that it can fail."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import mutations
import numpy as np
import pytest
from attack import Attack
from targets import TARGETS, Target

from manylabel.errors import DataError

TRIES = 40


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_accepted_or_refused(name: str, tmp_path: Path):
    attack = Attack(name, TARGETS[name], tmp_path)
    attack.check()
    tries = [attack.try_one(number) for number in range(TRIES)]
    assert [(one.number, one.name, one.fault) for one in tries if one.outcome == "failed"] == []
    if name != "image caches":  # they are mended
        assert any(one.outcome == "refused" for one in tries)


@pytest.mark.parametrize("kinds", [mutations.BINARY, mutations.TEXT])
def test_damage_is_the_same_for_the_same_seed(kinds):
    content = bytes(range(256))
    once, again = (
        [mutations.mutated(content, np.random.default_rng(seed), kinds) for seed in range(50)]
        for _ in range(2)
    )
    assert once == again
    assert len(set(once)) > 45


def planted(feed) -> Target:
    def make(folder: Path):
        (folder / "file").write_bytes(b"a valid file")
        return ["file"], feed

    return Target(make, mutations.BINARY, exact=True)


def foreign(path: Path) -> None:
    raise KeyError("a foreign exception")


def refusing(path: Path) -> None:
    raise DataError("No.", where="the file", fix="Give another.")


@pytest.mark.parametrize(
    ("feed", "outcome", "fault"),
    [
        (foreign, "failed", "KeyError"),
        (lambda path: None, "failed", "was accepted"),
        (refusing, "refused", ""),
    ],
)
def test_a_fault_is_found(feed, outcome: str, fault: str, tmp_path: Path):
    found = Attack("planted", planted(feed), tmp_path).try_one(0)
    assert found.outcome == outcome
    assert fault in found.fault


def test_slowness_is_a_fault(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("attack.SECONDS", 0.01)

    def slow(path: Path) -> None:
        time.sleep(0.02)
        refusing(path)

    found = Attack("planted", planted(slow), tmp_path).try_one(0)
    assert found.outcome == "failed"
    assert "seconds" in found.fault


def test_the_valid_file_is_put_back(tmp_path: Path):
    Attack("planted", planted(foreign), tmp_path).try_one(0)
    assert (tmp_path / "file").read_bytes() == b"a valid file"


def test_the_job_runs(tmp_path: Path):
    command = [sys.executable, str(Path(__file__).with_name("run.py")), "--tries", "5"]
    command += ["--target", "tables", "--out", str(tmp_path / "failures")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    name, tries, accepted, refused, failed, _ = done.stdout.splitlines()[-1].split()
    assert (name, tries, failed) == ("tables", "5", "0")
    assert int(accepted) + int(refused) == 5
