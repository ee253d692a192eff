import errno
import hashlib
import io
import os
from functools import partial

import numpy as np
import pytest
import torch
from cases import case

from manylabel.errors import CheckpointError, RunError
from manylabel.train import checkpoint
from manylabel.train.checkpoint import load_checkpoint, require_checkpoint, save_checkpoint


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


def test_a_checkpoint_of_another_version_is_an_error(tmp_path):
    """The first two formats were torch's files as they are; a later one has another number."""
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a"})
    later = path.read_bytes().replace(b"checkpoint 3", b"checkpoint 4", 1)
    for old in ({"identity": "a", "tools": None}, {"format": 2, "identity": "a"}):
        torch.save(old, path)
        refused(path, "another version of manylabel")
    path.write_bytes(later)
    refused(path, "another version of manylabel")


def refused(path, fault):
    """Neither the check before a run nor the resume takes the file."""
    for take in (require_checkpoint, partial(load_checkpoint, identity="a")):
        with pytest.raises(CheckpointError) as error:
            take(path)
        assert fault in error.value.what
        assert error.value.where == str(path)
        assert error.value.fix


def digested(payload):
    return b"manylabel checkpoint 3 sha256 %s\n" % hashlib.sha256(payload).hexdigest().encode()


def test_the_first_line_is_the_digest_of_what_torch_saves(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a", "w": torch.arange(5)})
    header, newline, payload = path.read_bytes().partition(b"\n")
    assert header + newline == digested(payload)
    assert torch.equal(torch.load(io.BytesIO(payload), weights_only=True)["w"], torch.arange(5))


def test_any_damage_is_an_error(tmp_path):
    """One bit, a block of zeros, a lost or repeated end: no damaged file is resumed from."""
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a", "losses": [0.5, 3], "w": torch.rand(3000)})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damages = [b"", b"manylabel", whole[:50], whole[:-1], whole + b"x", whole[:1500], whole[1:]]
    for place in rng.integers(0, 8 * len(whole), 200):
        damages.append(bytearray(whole))
        damages[-1][place // 8] ^= 1 << place % 8
    for place in rng.integers(200, len(whole) - 600, 50):
        damages.append(whole[:place] + bytes(512) + whole[place + 512 :])
    for number, damage in enumerate(damages):
        if damage == whole:
            continue  # a block that was zero
        path.write_bytes(damage)
        with case(number=number), pytest.raises(CheckpointError) as error:
            load_checkpoint(path, identity="a")
        assert "damaged" in error.value.what or "another version" in error.value.what
    path.write_bytes(whole)
    assert load_checkpoint(path, identity="a")["losses"] == [0.5, 3]


def test_a_damaged_checkpoint_is_refused_before_a_run_begins(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "a", "w": torch.rand(3000)})
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(path, "damaged: it is incomplete, or bytes of it have changed")
    path.write_text("not a checkpoint")
    refused(path, "damaged: it does not begin as a checkpoint does")


class _Trap:
    """What an attacker would put into a checkpoint."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return type(self.marker).touch, (self.marker,)


@pytest.mark.parametrize("damage", ["code", "a list", "no file of torch", "half a file of torch"])
def test_a_foreign_file_with_a_right_digest_is_an_error(tmp_path, damage):
    path, file, marker = tmp_path / "checkpoint.pt", io.BytesIO(), tmp_path / "ran"
    torch.save([1] if damage == "a list" else {"identity": "a", "code": _Trap(marker)}, file)
    payload = file.getvalue()
    if damage.endswith("of torch"):
        payload = b"text" if damage.startswith("no") else payload[: len(payload) // 2]
    path.write_bytes(digested(payload) + payload)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, identity="a")
    assert "damaged" in error.value.what
    assert "weights_only" not in str(error.value)  # torch's advice is to run the file's code
    assert not marker.exists()


def test_a_small_checkpoint_that_asks_for_much_memory_is_an_error(tmp_path):
    """4 TB by a call that torch allows, which would fail in another way."""
    path, file = tmp_path / "checkpoint.pt", io.BytesIO()
    torch.save({"identity": "a", "more": _Zeros(4 << 40)}, file)
    path.write_bytes(digested(file.getvalue()) + file.getvalue())
    with pytest.raises(CheckpointError, match="it asks for more than the state of a run"):
        load_checkpoint(path, identity="a")


class _Zeros:
    def __init__(self, size):
        self.size = size

    def __reduce__(self):
        return bytearray, (self.size,)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_what_is_no_ordinary_file_is_an_error_at_once(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero")):
        make()
        refused(path, "not an ordinary file")
        path.rmdir() if path.is_dir() else path.unlink()
