"""The page about SRN: its examples run, its recipe parses, its numbers are the code's."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
import torch

from manylabel.config import read_toml
from manylabel.labels import LabelSpace
from manylabel.models.backbones import Backbone, BackboneConfig, MapShapes
from manylabel.models.heads import SRNConfig, SRNHead
from manylabel.train.config import resolve

PAGE = (Path(__file__).parents[2] / "docs" / "srn.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_examples():
    with torch.random.fork_rng(devices=[]):
        test = doctest.DocTestParser().get_doctest("\n".join(blocks("pycon")), {}, "srn.md", "", 0)
        failed, tried = doctest.DocTestRunner().run(test)
    assert tried > 20
    assert failed == 0


def test_recipe(tmp_path):
    (example,) = blocks("toml")
    path = tmp_path / "example.toml"
    path.write_text(example)
    run = resolve(read_toml(path), where="recipe")
    assert run.head == SRNConfig(topology="released")
    assert [step.kind for step in run.steps] == ["attention", "joint-released"]
    assert run.steps[1].freeze == ("backbone",)


@pytest.mark.parametrize("kind", SRNHead.steps)
def test_every_step_is_in_the_table(kind):
    assert f"| {SRNHead.steps[kind].number} " in next(row for row in rows() if f"`{kind}`" in row)


def test_parameters_in_the_table():
    with torch.device("meta"):
        backbone = Backbone(BackboneConfig(name="resnet101", pretrained=False))
        head = SRNHead(SRNConfig(), MapShapes(1024, 2048, (14, 14)), LabelSpace.numbered(80))
    parts = {
        "backbone": backbone,
        "main net": head.main,
        "f_att": head.attention.estimator,
        "conv1": head.attention.conv1,
        "conv2, conv3": head.regularisation.semantic,
        "conv4": head.regularisation.conv4,
        "fc": head.regularisation.fc,
    }
    for name, part in parts.items():
        number = sum(parameter.numel() for parameter in part.parameters())
        row = next(row for row in rows() if row.startswith(f"| {name} |"))
        assert row.endswith(f"| {number:,} |")


def rows() -> list[str]:
    return [line for line in PAGE.splitlines() if line.startswith("| ")]
