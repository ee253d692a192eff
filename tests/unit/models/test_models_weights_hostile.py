"""Files of weights that a stranger wrote: nothing is run, and memory is that of the file."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import case
from torch import Tensor

from manylabel.errors import ConfigError
from manylabel.models.backbones import Backbone, BackboneConfig


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return Backbone(BackboneConfig(name="test_resnet", pretrained=False)).model.state_dict()


def load(path: Path) -> Backbone:
    return Backbone(BackboneConfig(name="test_resnet", weights=path))


def refused(path: Path, name: str) -> str:
    with case(name=name), pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.where == str(path)
    assert "weights_only" not in str(caught.value)  # torch's advice is to run the file's code
    return caught.value.what


def test_files_of_both_formats_of_torch_are_read(tmp_path: Path, weights) -> None:
    path = tmp_path / "weights.pth"
    for zipped in (True, False):
        torch.save(weights, path, _use_new_zipfile_serialization=zipped)
        state = load(path).model.state_dict()
        assert all(torch.equal(tensor, weights[key]) for key, tensor in state.items())


def test_tensors_without_numbers_of_their_own_are_refused(tmp_path: Path, weights) -> None:
    path = tmp_path / "weights.pth"
    for name, tensor in {
        "sparse": torch.zeros(3).to_sparse(),
        "no memory": torch.zeros(3, device="meta"),
        "complex": torch.zeros(3, dtype=torch.complex64),
    }.items():
        torch.save({**weights, "more": tensor}, path)
        assert "cannot be read: it" in refused(path, name)


def test_tensors_that_are_larger_than_their_file_are_refused(tmp_path: Path, weights) -> None:
    """One number in memory, shown as 10 ** 12: whoever copies it needs 4 TB."""
    path = tmp_path / "weights.pth"
    torch.save({**weights, "conv1.0.weight": torch.zeros(1).expand(10**12)}, path)
    assert "its tensors are larger than the file" in refused(path, "expanded")


def test_a_file_that_unpacks_to_more_than_itself_is_refused(tmp_path: Path, weights) -> None:
    path, plain = tmp_path / "weights.pth", io.BytesIO()
    torch.save({**weights, "more": torch.zeros(5_000_000)}, plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in whole.infolist():
            out.writestr(entry.filename, whole.read(entry))
    assert path.stat().st_size < 3_000_000
    assert "its content is larger than the file" in refused(path, "packed")


def test_a_small_file_that_asks_for_much_memory_is_refused(tmp_path: Path, weights) -> None:
    class Zeros:
        def __reduce__(self) -> Any:
            return bytearray, (4 << 40,)

    path = tmp_path / "weights.pth"
    for zipped in (True, False):
        torch.save({**weights, "more": Zeros()}, path, _use_new_zipfile_serialization=zipped)
        assert "it contains more than plain tensors" in refused(path, f"zipped: {zipped}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    makers: dict[str, Callable[[], Any]] = {
        "a pipe": lambda: os.mkfifo(path),
        "zeros": lambda: path.symlink_to("/dev/zero"),
    }
    for name, make in makers.items():
        make()
        assert "not an ordinary file" in refused(path, name)
        path.rmdir() if path.is_dir() else path.unlink()
    path.touch()
    os.truncate(path, 100 << 30)
    refused(path, "100 GiB of nothing")
