"""What SRN's head says by name, its attention, and how many weights it has."""

from __future__ import annotations

import math

import pytest
import torch
from catalogue import LABELS, build, draw

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads import SRNConfig, SRNHead


@pytest.mark.parametrize("topology", ["paper", "released"])
def test_names_of_srn(topology):
    output = build("srn", {"topology": topology, "units_per_channel": 3}).eval()(draw())
    assert set(output.branches) == {"cls", "att", "sr"}
    assert set(output.maps) == {"attention", "confidence", "weighted"}
    assert output.units is not None
    assert output.units.shape == (3, 6 * 3)


@pytest.mark.parametrize("topology", ["paper", "released"])
@pytest.mark.parametrize("size", [(14, 14), (9, 20)], ids=str)
def test_attention_is_a_distribution(topology, size):
    maps = draw(3, size)
    output = build("srn", {"topology": topology}).eval()(
        FeatureMaps(maps.mid * 100, maps.final)  # far from uniform
    )
    attention, weighted = output.maps["attention"], output.maps["weighted"]
    assert attention.min() >= 0
    assert attention.max() > 2 / math.prod(size)
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(3, LABELS))
    assert (weighted <= attention).all()


# Weights and biases by hand, C = 80 labels over X of 1024 channels on the 14x14 grid.
ATTENTION = (1024 * 512 + 512) + (9 * 512 * 512 + 512) + (512 * 80 + 80)
CONFIDENCE = 1024 * 80 + 80
CONV2, CONV3 = 80 * 512 + 512, 512 * 512 + 512
CONV4 = 512 * 4 * 14 * 14 + 2048
FC = 2048 * 80 + 80
PAPER = ATTENTION + CONFIDENCE + CONV2 + CONV3 + CONV4 + FC

BOTTLENECKS = 2 * (1024 * 256 + 9 * 256 * 256 + 256 * 1024)
SECOND_CONV1 = (1024 * 512) + (512 * 80 + 80)
BIASES_BEFORE_NORM = 512 + 512 + 512 + 512 + 2048
RELEASED = PAPER - CONFIDENCE + SECOND_CONV1 + BOTTLENECKS - BIASES_BEFORE_NORM
NORM_AFFINE = 2 * (2 * (1024 + 256 + 256) + 1024 + 512 * 2 + 512 + 512 * 2 + 2048)


def full_size_head(topology: str) -> SRNHead:
    config = SRNConfig.model_validate({"topology": topology})
    with torch.device("meta"):
        return SRNHead(config, MapShapes(1024, 2048, (14, 14)), LabelSpace.numbered(80))


def count(module: torch.nn.Module, *, norms: bool) -> int:
    """Parameters of a module, with or without those of batch normalisation."""
    return sum(
        parameter.numel()
        for inner in module.modules()
        if norms or not isinstance(inner, torch.nn.modules.batchnorm._BatchNorm)
        for parameter in inner.parameters(recurse=False)
    )


@pytest.mark.parametrize(
    ("topology", "known", "by_hand", "norm_affine"),
    [("paper", 3_879_152, PAPER, 0), ("released", 6_586_608, RELEASED, NORM_AFFINE)],
)
def test_parameter_counts(topology, known, by_hand, norm_affine):
    """Beyond the main net; the text's 3.88 M and the released network's 6.59 M."""
    head = full_size_head(topology)
    main = count(head.main, norms=True)
    assert main == 2048 * 80 + 80
    assert count(head, norms=False) - main == known == by_hand
    assert count(head, norms=True) - main == known + norm_affine


def test_grouping_saves_two_hundred_million_weights():
    conv4 = full_size_head("paper").regularisation.conv4
    ungrouped = torch.nn.Conv2d(512, 2048, 14, bias=False, device="meta")
    assert conv4.weight.numel() == 401_408
    assert ungrouped.weight.numel() == 205_520_896 == 512 * conv4.weight.numel()
