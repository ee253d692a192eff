"""The short form of the attack by hostile bundles, and proofs that it can fail."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hostile_bundles
import pytest
from forked import tried
from hostile_bundles import CASES, Attack, Case

from manylabel.errors import BundleError, DataError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of memory need Linux")

SHORT = (
    "model.backbone.options.checkpoint_path = '/etc/passwd'",
    "model.backbone.pretrained = True",
    "model.backbone.name = 'test_vit', model.backbone.options.depth = 1000000",
    "model.head = {'name': 'srn', 'attention_channels': 1000000000}",
    "labels = []",
    "deep objects",
    "bundle.json: a pipe",
    "model.safetensors: 100 GiB of zeros",
    "a header of 18,446,744,073,709,551,615 bytes",
    "one more",
)
"""The names of cases of each kind that are made in no time."""


@pytest.fixture(scope="module")
def attack(tmp_path_factory: pytest.TempPathFactory) -> Attack:
    return Attack(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("name", SHORT)
def test_hostile_bundles_are_refused(name: str, attack: Attack) -> None:
    (case,) = [case for case in CASES if case.name == name]
    found = attack.try_one(case)
    assert (found.outcome, bool(found.reason)) == ("refused", True), found.reason


def test_there_are_many_cases_of_each_kind() -> None:
    assert all(count >= 25 for count in Counter(case.kind for case in CASES).values())
    assert {case.kind for case in CASES if case.name in SHORT} == {case.kind for case in CASES}
    assert len({(case.kind, case.name) for case in CASES}) == len(CASES) >= 350


def test_a_bundle_with_the_same_content_is_accepted(attack: Attack) -> None:
    assert attack.try_one(Case("text", "no change", lambda folder: None)).outcome == "accepted"


def test_other_content_that_is_accepted_is_a_fault(attack: Attack) -> None:
    labels = hostile_bundles._set("values", {"labels": ["cat", "dog", "elk"]})
    found = attack.try_one(labels)
    assert found.outcome == "failed"
    assert "accepted with other content" in found.reason


def test_an_error_of_another_kind_is_a_fault(attack: Attack, monkeypatch) -> None:
    monkeypatch.setattr(hostile_bundles, "load_bundle", _refuse_as_data)
    found = attack.try_one(CASES[0])
    assert "DataError is no BundleError" in found.reason


def _refuse_as_data(folder: Path) -> None:
    raise DataError("No.", where="the file", fix="Give another.")


def _refuse(what: str, fix: str = "Give another.") -> None:
    raise BundleError(what, where="the file", fix=fix)


def _hide(work: Callable[[], object]) -> None:
    """Do what is forbidden, and go on as if it had not been refused."""
    try:
        work()
    except OSError:
        _refuse("No.")


def _connect() -> None:
    with socket.socket() as made:
        made.connect(("127.0.0.1", 9))


@pytest.mark.parametrize(
    ("feed", "reason"),
    [
        (lambda folder: _hide((folder.parent / "other").read_bytes), "to open /"),
        (lambda folder: _hide(_connect), "socket.connect"),
        (lambda folder: _hide(lambda: subprocess.run(["true"], check=True)), "subprocess.Popen"),
        (lambda folder: _hide((folder / "file").unlink), "os.remove"),
        (lambda folder: {}["key"], "KeyError: 'key' (test_hostile_bundles.py, line "),
        (lambda folder: bytes(2 << 30), "MemoryError"),
        (lambda folder: os._exit(7), "The process ended with 7."),
        (lambda folder: os.abort(), "The process ended with -6."),
        (lambda folder: _refuse("x" * 6_000), "The message has 6,"),
        (lambda folder: _refuse("No.", fix=" "), "The message does not say"),
    ],
)
def test_a_planted_fault_is_found(
    feed: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in (folder / "file", tmp_path / "other"):
        path.write_bytes(b"content")
    found = tried(feed, folder)
    assert found.outcome == "failed"
    assert reason in found.reason
    assert (folder / "file").exists()


def test_a_hang_is_a_fault(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("forked.HANG", 0.2)
    assert tried(lambda folder: time.sleep(5), tmp_path).reason == "It took more than 0 seconds."


def test_slowness_is_a_fault(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("forked.SECONDS", 0.01)
    found = tried(lambda folder: _refuse(str(sum(range(3_000_000)))), tmp_path)
    assert found.outcome == "failed"
    assert found.reason.startswith("It took 0.")
