import errno
import os

import pytest
import torch

from manylabel.errors import CheckpointError, RunError
from manylabel.train import checkpoint
from manylabel.train.checkpoint import load_checkpoint, save_checkpoint


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a", "weights": {"w": torch.arange(3.0)}})
    state = load_checkpoint(path, identity="a")
    assert torch.equal(state["weights"]["w"], torch.arange(3.0))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("moment", ["open", "write", "replace"])
def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch, moment):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a", "epoch": 1})
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if moment == "open":
        monkeypatch.setattr(type(path), "open", full)
    elif moment == "write":
        monkeypatch.setattr(checkpoint.torch, "save", full)
    else:
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError) as error:
        save_checkpoint(path, {"identity": "a", "epoch": 2})
    monkeypatch.undo()
    assert "No space left on device" in error.value.what
    assert "The previous checkpoint is kept: manylabel train --resume" in error.value.fix
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_disk_that_fills_up_while_torch_writes_is_the_same_error(tmp_path):
    """torch's zip writer replaces the system's error by a RuntimeError."""
    import resource

    if not hasattr(resource, "RLIMIT_FSIZE"):
        pytest.skip("no file size limit on this system")
    import signal

    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a", "epoch": 1})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RunError, match="cannot be written: File too large"):
            save_checkpoint(path, {"identity": "a", "w": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt", identity="a")


def test_a_foreign_checkpoint_is_an_error(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a"})
    with pytest.raises(CheckpointError, match="another recipe or to other data"):
        load_checkpoint(path, identity="b")


def test_a_checkpoint_of_an_older_version_is_an_error(tmp_path):
    """The first format had no number, and other keys."""
    path = tmp_path / "checkpoint.pt"
    torch.save({"identity": "a", "position": [0, 1, 0], "tools": None}, path)
    with pytest.raises(CheckpointError, match="another version of manylabel") as error:
        load_checkpoint(path, identity="a")
    assert error.value.where == str(path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "code"])
def test_a_damaged_checkpoint_is_an_error(tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a", "w": torch.zeros(1000)})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1500])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a checkpoint")
    else:
        torch.save({"identity": "a", "code": test_a_foreign_checkpoint_is_an_error}, path)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path, identity="a")
