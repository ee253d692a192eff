"""The page about backbones: its examples run, its recipe parses, its table is the code's."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

import pytest
import torch

from manylabel.config import parse
from manylabel.models.costs import backbone_cost
from manylabel.train.config import StepConfig
from manylabel.train.optim import AdamWConfig

PAGE = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_examples():
    text = "\n".join(blocks("pycon"))
    with torch.random.fork_rng(devices=[]):
        test = doctest.DocTestParser().get_doctest(text, {}, "backbones.md", "", 0)
        failed, tried = doctest.DocTestRunner().run(test)
    assert tried == len(test.examples) > 6
    assert failed == 0


def test_recipe():
    (example,) = blocks("toml")
    tables = tomllib.loads(example)
    assert parse(StepConfig, tables["steps"][0], where="example").freeze_stages == 2
    assert parse(AdamWConfig, tables["optim"], where="example").layer_decay == 0.75


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("ResNet,", ["resnet18", "tresnet_m", "regnetx_002", "densenet121", "mobilevit_xxs"]),
        ("Swin,", ["swin_tiny_patch4_window7_224", "twins_svt_small"]),
        ("ViT, DINOv3", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3"]),
        ("DINOv2, EVA-02", ["vit_small_patch14_dinov2", "eva02_tiny_patch14_224"]),
    ],
)
def test_strides_in_the_table(row, names):
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {row}"))
    told = tuple(int(cell) for cell in line.split("|")[2:4])
    for name in names:
        assert backbone_cost(name, 224, 224).strides == told, name
