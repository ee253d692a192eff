"""Backbones of every family as two feature maps, and what goes wrong with their weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from manylabel.config import parse
from manylabel.errors import ConfigError
from manylabel.models.backbones import (
    Backbone,
    BackboneConfig,
    FeatureMaps,
    MapShapes,
    pretrained_input,
)


def build(name: str = "test_resnet", **settings) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Backbone(BackboneConfig(name=name, **{"pretrained": False, **settings}))


# ---- maps -------------------------------------------------------------------------------------


class Family(NamedTuple):
    """A model, and its maps' channels and final size for images of 224x224."""

    name: str
    mid: int
    final: int
    final_grid: int


FAMILIES = [
    Family("test_resnet", 192, 96, 7),
    Family("resnet18", 256, 512, 7),
    Family("resnetv2_18", 256, 512, 7),
    Family("densenet121", 1024, 1024, 7),
    Family("mobilenetv2_100", 96, 1280, 7),
    Family("mobilenetv3_small_050", 24, 288, 7),
    Family("efficientnet_b0", 112, 1280, 7),
    Family("regnetx_002", 152, 368, 7),
    Family("convnext_atto", 160, 320, 7),
    Family("vit_tiny_patch16_224", 192, 192, 14),
    Family("deit_tiny_distilled_patch16_224", 192, 192, 14),
    Family("swin_tiny_patch4_window7_224", 384, 768, 7),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_maps_have_the_declared_shapes(family):
    """The middle map is at stride 16 whatever the family; tokens are put back on the grid."""
    backbone = build(family.name)
    assert backbone.shapes(224, 224) == MapShapes(family.mid, family.final, (14, 14))
    with torch.no_grad():
        maps = backbone.eval()(torch.zeros(2, 3, 224, 224))
    assert isinstance(maps, FeatureMaps)
    assert maps.mid.shape == (2, family.mid, 14, 14)
    assert maps.final.shape == (2, family.final, family.final_grid, family.final_grid)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((64, 64), (4, 4)), ((96, 64), (6, 4)), ((448, 448), (28, 28)), ((100, 75), (7, 5))],
    ids=str,
)
def test_shapes_at_other_sizes(size, grid):
    """Rows are height; a side that is no multiple of 16 is rounded up."""
    assert build().shapes(*size) == MapShapes(192, 96, grid)


@pytest.mark.parametrize("training", [True, False])
def test_shapes_leaves_the_backbone_as_it_was(training):
    backbone = build().train(training)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone.shapes(64, 64)
    assert backbone.training is training
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_the_maps_are_those_of_the_model():
    """X is the end of conv4_x (layer3), the final map that of conv5_x (layer4)."""
    backbone, images = build("resnet18").eval(), torch.randn(2, 3, 64, 96)
    kept: dict[str, Tensor] = {}
    for stage in ("layer3", "layer4"):
        backbone.model.get_submodule(stage).register_forward_hook(
            lambda _, __, output, stage=stage: kept.update({stage: output})
        )
    with torch.no_grad():
        maps = backbone(images)
    assert torch.equal(maps.mid, kept["layer3"])
    assert torch.equal(maps.final, kept["layer4"])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_tokens_keep_their_places(name):
    """The final map of a transformer at (row, column) is its token there, prefixes left out."""
    backbone = build(name, options={"img_size": [64, 96]}).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        final = backbone(images).final
        tokens = backbone.model.forward_features(images)
    prefix = tokens.shape[1] - 4 * 6
    assert prefix == backbone.model.num_prefix_tokens > 0
    for row in range(4):
        for column in range(6):
            expected = tokens[:, prefix + row * 6 + column]
            torch.testing.assert_close(final[:, :, row, column], expected)


def test_channels_at_the_end_come_to_the_front():
    """Swin lays its maps out as [N, h, w, E]; rows stay rows."""
    backbone = build("swin_tiny_patch4_window7_224", options={"img_size": [64, 96]}).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps, expected = backbone(images), backbone.model.forward_features(images)
    assert maps.mid.shape == (2, 384, 4, 6)
    assert expected.shape == (2, 2, 3, 768)
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(maps.final[:, :, row, column], expected[:, row, column])


def test_a_gradient_reaches_every_parameter():
    backbone = build().train()
    maps = backbone(torch.randn(4, 3, 64, 64))
    (maps.mid.square().mean() + maps.final.square().mean()).backward()
    for key, parameter in backbone.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


# ---- settings ---------------------------------------------------------------------------------


def test_options_reach_the_model_with_lists_as_tuples():
    backbone = build(options={"channels": [16, 24, 40, 56]})
    assert backbone.shapes(64, 64) == MapShapes(4 * 40, 56, (4, 4))
    assert build(options={"output_stride": 16}).shapes(64, 64).grid == (4, 4)


def test_a_size_for_transformers():
    backbone = build("vit_tiny_patch16_224", options={"img_size": 64})
    assert backbone.shapes(64, 64) == MapShapes(192, 192, (4, 4))


def test_options_that_do_not_fit_are_said_before_a_download(monkeypatch):
    monkeypatch.setattr(
        "manylabel.models.backbones.with_downloads", lambda *_: pytest.fail("it was downloaded")
    )
    with pytest.raises(ConfigError, match=r"'resnet18' with these options: \S"):
        build("resnet18", pretrained=True, options={"depth": 12})


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("resnet10l", "Did you mean resnet"),
        ("resnet50.a1_in2k", "resnet50.a1_in1k"),
        ("zzzzqq", "Give the name of a timm model"),
        ("", "Give the name of a timm model"),
    ],
)
def test_names_that_do_not_fit(name, fix):
    with pytest.raises(ConfigError) as caught:
        build(name)
    assert f"'{name}'" in caught.value.what
    assert caught.value.where == "backbone.name"
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 12},
        {"act_layer": "nonsense"},
        {"norm_layer": "nonsense"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_do_not_fit(options):
    with pytest.raises(ConfigError, match=r"'test_resnet' with these options: \S") as caught:
        build(options=options)
    assert caught.value.where == "backbone.options"


def test_an_unknown_key_is_refused():
    with pytest.raises(ConfigError, match=r"Unknown key 'pretraind'") as caught:
        parse(BackboneConfig, {"pretraind": False}, where="recipe.toml")
    assert "'pretrained'" in caught.value.fix


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_size_that_the_model_does_not_take(name):
    with pytest.raises(ConfigError, match=r"112x112") as caught:
        build(name).shapes(112, 112)
    assert name in caught.value.what
    assert "input.height" in caught.value.where
    assert "img_size" in caught.value.fix


def test_pretrained_input_is_what_the_weights_were_trained_with():
    assert pretrained_input("resnet101.a1h_in1k") == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "resize": "bicubic",
    }
    assert pretrained_input("resnet18.tv_in1k")["resize"] == "bilinear"
    assert pretrained_input("vit_tiny_patch16_224.augreg_in21k_ft_in1k")["std"] == [0.5] * 3


@pytest.mark.parametrize("name", ["resnet10l", "resnet50.a1_in2k"])
def test_pretrained_input_of_an_unknown_model(name):
    with pytest.raises(ConfigError) as caught:
        pretrained_input(name)
    assert name in caught.value.what
    assert caught.value.where == "backbone.name"


# ---- weights ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """A state dict of test_resnet whose every tensor differs from a new model's."""
    state = build().model.state_dict()
    return {
        key: value + (1 if key.endswith("num_batches_tracked") else 0.5)
        for key, value in state.items()
    }


def save(path: Path, state: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def with_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "fc.weight": torch.ones(7, 96), "fc.bias": torch.ones(7)}


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if "num_batches" not in key}


def in_half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key: value.half() if value.is_floating_point() else value for key, value in state.items()
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "change", [dict, with_classifier, without_counters, in_half], ids=lambda f: f.__name__
)
def test_weights_from_a_file(tmp_path, weights, suffix, change):
    state = change(weights)
    path = save(tmp_path / f"weights{suffix}", state)
    loaded = build(weights=path).model.state_dict()
    assert loaded.keys() == weights.keys()
    for key, value in loaded.items():
        assert value.dtype == weights[key].dtype
        expected = state.get(key, torch.zeros((), dtype=torch.int64)).to(value.dtype)
        assert torch.equal(value, expected), key


def test_weights_inside_a_training_checkpoint(tmp_path, weights):
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": weights, "epoch": 3}, path)
    loaded = build(weights=path).model.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in loaded.items())


def test_a_file_goes_before_a_download(tmp_path, weights, monkeypatch):
    """With `weights`, nothing is downloaded, although pre-trained is the default."""
    asked = []
    create = timm.create_model

    def record(name, *, pretrained, **options):
        asked.append(pretrained)
        return create(name, pretrained=pretrained, **options)

    monkeypatch.setattr(timm, "create_model", record)
    build(pretrained=True, weights=save(tmp_path / "weights.pth", weights))
    assert asked == [False]


def test_classifiers_of_a_two_headed_model_are_left_out(tmp_path):
    name, options = "deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 1}
    whole = timm.create_model(name, pretrained=False, **options)
    assert {"head.weight", "head_dist.weight"} <= whole.state_dict().keys()
    path = save(tmp_path / "weights.pth", whole.state_dict())
    loaded = build(name, options=options, weights=path).model.state_dict()
    assert {key.split(".")[0] for key in whole.state_dict().keys() - loaded.keys()} == {
        "head",
        "head_dist",
    }
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in loaded.items())


def lacking(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith("layer4")}


def foreign(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "layer9.weight": torch.zeros(1)}


def misshapen(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "layer1.0.conv1.weight": torch.zeros(3)}


def prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in state.items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lacking, r"missing in the file: layer4\.0\.conv1\.weight"),
        (foreign, r"1 of \d+ tensors is unknown to the model: layer9\.weight"),
        (
            misshapen,
            r"1 of .*: layer1\.0\.conv1\.weight is \[3\] in the file, \[\d+, .* in the model",
        ),
        (
            prefixed,
            r"missing in the file: conv1\.0\.weight; .* are unknown to the model: module\.",
        ),
    ],
)
def test_weights_that_do_not_fit(tmp_path, weights, suffix, change, said):
    path = save(tmp_path / f"weights{suffix}", change(weights))
    with pytest.raises(ConfigError, match=said) as caught:
        build(weights=path)
    assert caught.value.where == str(path)


def pickled(path: Path, content: object) -> None:
    torch.save(content, path)


def text(path: Path, content: str) -> None:
    path.write_text(content)


def half_of_it(path: Path, state: dict[str, Tensor]) -> None:
    path.write_bytes(save(path, state).read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "write", "content"),
    [
        ("object.pth", pickled, {"args": argparse.Namespace(lr=1)}),
        ("list.pth", pickled, [1, 2]),
        ("numbers.pth", pickled, {"accuracy": 0.5}),
        ("numbered.pth", pickled, {0: torch.zeros(1)}),
        ("text.pth", text, "<html>404 Not Found</html>"),
        ("text.safetensors", text, "<html>404 Not Found</html>"),
        ("empty.pth", text, ""),
        ("empty.safetensors", text, ""),
        ("half.pth", half_of_it, {"weight": torch.zeros(9, 9)}),
        ("half.safetensors", half_of_it, {"weight": torch.zeros(9, 9)}),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_weights_that_cannot_be_read(tmp_path, name, write, content):
    path = tmp_path / name
    write(path, content)
    with pytest.raises(ConfigError, match=r"cannot be read: \S") as caught:
        build(weights=path)
    assert caught.value.where == str(path)
    assert "weights_only" not in str(caught.value)  # torch's advice is to run the file's code


class _Trap:
    """What an attacker would put into a file of weights."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_code_in_a_file_is_not_run(tmp_path, weights):
    marker, path = tmp_path / "ran", tmp_path / "weights.pth"
    torch.save({**weights, "trap": _Trap(marker)}, path)
    with pytest.raises(ConfigError, match="contains more than plain tensors"):
        build(weights=path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_missing_weights(tmp_path, suffix):
    path = tmp_path / f"missing{suffix}"
    with pytest.raises(ConfigError, match="do not exist") as caught:
        build(weights=path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("folder", ["weights", "weights.safetensors"])
def test_a_folder_that_is_no_bundle(tmp_path, folder):
    (tmp_path / folder).mkdir()
    with pytest.raises(ConfigError, match="is not a bundle") as caught:
        build(weights=tmp_path / folder)
    assert caught.value.where == str(tmp_path / folder)


@pytest.mark.parametrize(
    "extra", [{}, {"head.main.fc.bias": torch.zeros(3)}], ids=["alone", "both"]
)
def test_a_bundles_file_is_its_backbone(tmp_path, weights, extra):
    """A file is a bundle's only if it has a backbone and a head."""
    path = save(
        tmp_path / "model.safetensors",
        {f"backbone.model.{k}": v for k, v in weights.items()} | extra,
    )
    if not extra:
        with pytest.raises(ConfigError, match="unknown to the model: backbone.model"):
            build(weights=path)
        return
    for source in (path, tmp_path):
        loaded = build(weights=source).model.state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in loaded.items())


def test_a_fault_of_timm_that_is_no_download_is_not_disguised(monkeypatch):
    def fail(name, *, pretrained, **options):
        raise RuntimeError("a fault")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        build(pretrained=False)
