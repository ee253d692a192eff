"""Counts the parameters and floating-point operations of backbones and heads.

Models are built without weights and run on torch's `meta` device, which computes shapes only. So
even the largest model is counted quickly. One multiplication with its addition counts as two
operations, as in torch. Papers that count it as one give half of these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from manylabel.errors import ConfigError
from manylabel.labels import LabelSpace
from manylabel.models.backbones import Backbone, BackboneConfig, MapShapes
from manylabel.models.heads import HEADS
from manylabel.models.hub import is_cached

FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "ResNet": ("resnet18", "resnet50", "resnet101"),
    "ResNetV2": ("resnetv2_50", "resnetv2_101"),
    "TResNet": ("tresnet_m", "tresnet_l"),
    "ConvNeXt": ("convnext_atto", "convnext_tiny", "convnext_base"),
    "EfficientNet": ("efficientnet_b0", "tf_efficientnet_lite0", "tf_efficientnetv2_s"),
    "MobileNet": ("mobilenetv3_large_100", "mobilenetv4_conv_small"),
    "RegNet": ("regnety_016", "regnety_040"),
    "DenseNet": ("densenet121",),
    "MobileViT": ("mobilevitv2_100",),
    "ViT": ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"),
    "DINOv2": ("vit_small_patch14_dinov2", "vit_base_patch14_reg4_dinov2"),
    "DINOv3": ("vit_small_patch16_dinov3", "vit_base_patch16_dinov3"),
    "EVA-02": ("eva02_tiny_patch14_224",),
    "Swin": ("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"),
}
"""A selection of backbones by family. Every model of timm with feature maps can be used."""


@final
@dataclass(frozen=True, slots=True)
class BackboneCost:
    """The cost of a backbone for one image, and the shapes of its maps."""

    name: str
    parameters: int
    gflops: float
    """Billions of operations that compute both maps of one image."""
    strides: tuple[int, int]
    """The strides of the mid map and the final map, in pixels."""
    shapes: MapShapes
    """The shapes of the maps."""


@final
@dataclass(frozen=True, slots=True)
class HeadCost:
    """The cost of a head for one image."""

    name: str
    parameters: int
    gflops: float
    """Billions of operations from the maps of one image to its logits."""


def find_backbones(pattern: str) -> list[str]:
    """The models of timm whose name matches `pattern`; `*` matches any text.

    Raises:
        ConfigError: No model matches.
    """
    found = timm.list_models(pattern)
    if not found:
        raise ConfigError(
            f"timm has no model that matches '{pattern}'.",
            where="PATTERN",
            fix="Use * for any text, for instance 'resnet*' or '*dinov2*'.",
        )
    return found


def pretrained_tags(name: str) -> list[str]:
    """The tags of the pre-trained weights of a model; `name.tag` names one of them."""
    weights = timm.list_pretrained(f"{name.split('.')[0]}.*")
    return [full.split(".", 1)[1] for full in weights]


def cached_tags(name: str) -> list[str]:
    """The tags of the weights that were downloaded already."""
    architecture = name.split(".")[0]
    return [tag for tag in pretrained_tags(name) if is_cached(f"{architecture}.{tag}")]


def backbone_cost(name: str, height: int, width: int) -> BackboneCost:
    """The cost of a backbone for an image of height x width pixels; nothing is downloaded.

    Raises:
        ConfigError: There is no such model, it has no feature maps, or it does not accept images of
            that size.
    """
    with torch.device("meta"):
        backbone = _backbone(name, height, width)
        shapes = backbone.shapes(height, width)
        gflops = _gflops(backbone, torch.empty(1, 3, height, width))
    return BackboneCost(name, _count(backbone), gflops, backbone.strides, shapes)


def head_costs(backbone_name: str, height: int, width: int, num_labels: int) -> list[HeadCost]:
    """The cost of each head in `HEADS`, with default settings, on the maps of a backbone.

    Args:
        backbone_name: A model of timm.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        num_labels: The number of labels, C.

    Raises:
        ConfigError: As for `backbone_cost`.
    """
    costs, labels = [], LabelSpace.numbered(num_labels)
    with torch.device("meta"), torch.no_grad():
        backbone = _backbone(backbone_name, height, width)
        shapes = backbone.shapes(height, width)
        maps = backbone(torch.empty(1, 3, height, width))
        for name, build_head in HEADS.items():
            head = build_head(build_head.Config.model_validate({}), shapes, labels).eval()
            costs.append(HeadCost(name, _count(head), _gflops(head, maps)))
    return costs


def _backbone(name: str, height: int, width: int) -> Backbone:
    return Backbone(BackboneConfig(name=name, pretrained=False), (height, width)).eval()


def _gflops(module: nn.Module, inputs: Any) -> float:
    counter = FlopCounterMode(display=False)
    module.requires_grad_(False)  # otherwise the counter fails on parameters used in no_grad
    with torch.no_grad(), counter:
        module(inputs)
    return counter.get_total_flops() / 1e9


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
