"""What the contract tests of heads go over: each head, small, at its defaults and other settings.

A new head is tested by being listed in `HEADS`; one that is slow at its own sizes gets smaller ones
here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
import torch
from torch import Tensor

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads import HEADS, Head
from manylabel.models.heads.base import HeadOutput

SHAPES: Final = MapShapes(mid_channels=16, final_channels=12, grid=(6, 4))
LABELS: Final = 5
TARGETS: Final = np.random.default_rng(0).integers(-1, 2, (40, LABELS)).astype(np.int8)
"""Targets of a training set; some are unknown."""
TRANSFORMER: Final = {"channels": 16, "feedforward_channels": 24, "dropout": 0.0}
SMALL: Final[dict[str, dict[str, Any]]] = {
    "srn": {"attention_channels": 8, "relation_channels": 6},
    "srn-att": {"attention_channels": 8},
    "srn-modern": {"channels": 8, "relation_channels": 6},
    "semantic": {"relation_channels": 8},
    "ml-gcn": {"vector_size": 6, "hidden_channels": 8},
    "ml-decoder": TRANSFORMER,
    "query2label": TRANSFORMER,
}
"""Options that make a head quick; a head that is not here is tested at its own sizes."""
SETTINGS: Final[list[tuple[str, dict[str, Any]]]] = [
    *((name, {}) for name in HEADS),
    ("linear", {"pool": "max"}),
    ("linear", {"pool": "gem"}),
    ("linear", {"maps": "both", "pool": "gem"}),
    ("srn", {"topology": "released", "pool": "gem"}),
    ("srn", {"scale_weighted": True}),
    ("srn-att", {"topology": "released"}),
    ("srn-modern", {"pool": "max"}),
    ("srn-modern", {"relations": "absolute"}),
    ("semantic", {"pool": "max"}),
    ("csra", {"temperatures": (1, 2), "normalised": False}),
    ("ml-decoder", {"num_groups": 2}),
    ("query2label", {"encoder_layers": 0, "self_attention": False}),
    ("ml-gcn", {"vectors": "fixed", "pool": "gem"}),
]
"""Each head at its defaults, and settings that change what is computed."""

over_heads = pytest.mark.parametrize(
    ("name", "options"),
    SETTINGS,
    ids=[",".join([name, *map(str, options.values())]) for name, options in SETTINGS],
)


def build(name: str, options: dict[str, Any], num_labels: int = LABELS, seed: int = 0) -> Head:
    """A small head of that name, its weights drawn with that seed."""
    build_head = HEADS[name]
    config = build_head.Config.model_validate({**SMALL.get(name, {}), **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_head(config, SHAPES, LabelSpace.numbered(num_labels))


def draw(images: int = 3, size: tuple[int, int] = SHAPES.grid) -> FeatureMaps:
    """Maps as a backbone gives them: not negative, the final one at half the resolution."""
    generator = torch.Generator().manual_seed(1)
    mid = torch.randn(images, SHAPES.mid_channels, *size, generator=generator)
    half = [-(-side // 2) for side in size]
    final = torch.randn(images, SHAPES.final_channels, *half, generator=generator)
    return FeatureMaps(mid.relu(), final.relu())


def tensors(output: HeadOutput) -> dict[str, Tensor]:
    """All tensors of a head's output, by name."""
    units = {} if output.units is None else {"units": output.units}
    return {"final": output.logits, **output.branches, **output.maps, **units}


def assert_same_bits(one: HeadOutput, other: HeadOutput) -> None:
    """All tensors of two outputs are equal."""
    assert tensors(one).keys() == tensors(other).keys()
    for key, value in tensors(one).items():
        assert torch.equal(value, tensors(other)[key]), key


def assert_shapes(output: HeadOutput, maps: FeatureMaps, num_labels: int = LABELS) -> None:
    """Logits [N, C], maps [N, C, H, W] at a resolution of the backbone's, units [N, K]."""
    images, _, height, width = maps.mid.shape
    for key, logits in {"final": output.logits, **output.branches}.items():
        assert logits.shape == (images, num_labels), key
    for key, value in output.maps.items():
        assert value.shape[:2] == (images, num_labels), key
        assert value.shape[2:] in {(height, width), maps.final.shape[2:]}, key
    if output.units is not None:
        assert output.units.ndim == 2
        assert len(output.units) == images
