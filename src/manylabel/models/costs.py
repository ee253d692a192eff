"""What backbones and heads cost: parameters and floating-point operations, counted, not timed.

Models are built without weights and run without numbers (on torch's `meta` device), so that even
the largest is counted at once. One multiplication with its addition is two operations, as torch
counts them; papers that count it once give half of these numbers.
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

FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "ResNet": ("resnet18", "resnet50", "resnet101"),
    "ResNetV2": ("resnetv2_50", "resnetv2_101"),
    "TResNet": ("tresnet_m", "tresnet_l"),
    "ConvNeXt": ("convnext_atto", "convnext_tiny", "convnext_base"),
    "EfficientNet": ("efficientnet_b0", "tf_efficientnetv2_s"),
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
"""Backbones to begin with, by family; any model of timm that yields feature maps will do."""


@final
@dataclass(frozen=True, slots=True)
class BackboneCost:
    """What a backbone costs for one image, and what it yields."""

    name: str
    parameters: int
    gflops: float
    """Billions of operations to both maps of one image."""
    strides: tuple[int, int]
    """Pixels from one position to the next of the mid and the final map."""
    shapes: MapShapes
    """The shapes of the maps."""


@final
@dataclass(frozen=True, slots=True)
class HeadCost:
    """What a head costs for one image."""

    name: str
    parameters: int
    gflops: float
    """Billions of operations from the maps of one image to its logits."""


def find_backbones(pattern: str) -> list[str]:
    """The models of timm whose name fits `pattern`, in which `*` stands for anything.

    Raises:
        ConfigError: There is none.
    """
    found = timm.list_models(pattern)
    if not found:
        raise ConfigError(
            f"timm has no model that fits '{pattern}'.",
            where="PATTERN",
            fix="Put a * where anything may stand, for instance 'resnet*' or '*dinov2*'.",
        )
    return found


def pretrained_tags(name: str) -> list[str]:
    """What the pre-trained weights of a model are called: `name.tag` names one of them."""
    weights = timm.list_pretrained(f"{name.split('.')[0]}.*")
    return [full.split(".", 1)[1] for full in weights]


def backbone_cost(name: str, height: int, width: int) -> BackboneCost:
    """What a backbone costs for an image of height x width pixels; nothing is downloaded.

    Raises:
        ConfigError: There is no such model, it yields no feature maps, or it does not take images
            of that size.
    """
    with torch.device("meta"):
        backbone = _backbone(name, height, width)
        shapes = backbone.shapes(height, width)
        gflops = _gflops(backbone, torch.empty(1, 3, height, width))
    return BackboneCost(name, _count(backbone), gflops, backbone.strides, shapes)


def head_costs(backbone_name: str, height: int, width: int, num_labels: int) -> list[HeadCost]:
    """What each of `HEADS` costs, of default settings, over a backbone's maps.

    Args:
        backbone_name: A model of timm.
        height: Of the image, in pixels.
        width: Likewise.
        num_labels: C.

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
    module.requires_grad_(False)  # the counter falls over parameters handed on within no_grad
    with torch.no_grad(), counter:
        module(inputs)
    return counter.get_total_flops() / 1e9


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
