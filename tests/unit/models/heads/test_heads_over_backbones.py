"""Every head over a small backbone of each family: the contract of a classifier."""

from __future__ import annotations

from typing import Any, Final

import pytest
import torch
from catalogue import SMALL, assert_same_bits, assert_shapes
from torch import Tensor

from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier, outline
from manylabel.models.heads import HEADS
from manylabel.preprocess import InputSpec

LABELS: Final = 4
SIZE: Final = (64, 96)
"""Not square, a multiple of every stride but 14."""
TOKENS: Final = {"depth": 2, "embed_dim": 48, "num_heads": 3}

BACKBONES: Final[dict[str, dict[str, Any]]] = {
    "test_resnet": {},
    "resnetv2_18": {"layers": [1, 1, 1, 1]},
    "test_convnext": {},
    "test_efficientnet": {},
    "mobilenetv3_small_050": {},
    "tresnet_m": {"layers": [1, 1, 1, 1]},
    "test_vit": {},
    "vit_small_patch14_reg4_dinov2": TOKENS,
    "vit_small_patch32_224": TOKENS,
    "swin_tiny_patch4_window7_224": {"depths": [1, 1, 1, 1], "embed_dim": 24},
}
"""timm name to what makes it small: strides 14, 16 and 32, maps of convolutions and of tokens."""

over_both = pytest.mark.parametrize(
    ("head", "backbone"), [(head, backbone) for head in HEADS for backbone in BACKBONES]
)


def describe(head: str, backbone: str) -> tuple[ModelConfig, LabelSpace, InputSpec]:
    options = BACKBONES[backbone]
    config = ModelConfig.model_validate(
        {
            "backbone": BackboneConfig(name=backbone, pretrained=False, options=options),
            "head": {"name": head, **SMALL.get(head, {})},
        }
    )
    return config, LabelSpace.numbered(LABELS), InputSpec(height=SIZE[0], width=SIZE[1])


def build(head: str, backbone: str) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_classifier(*describe(head, backbone))


def draw() -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@over_both
def test_gradients_reach_the_pixels_and_the_same_weights_give_the_same_bits(head, backbone):
    """The shapes of the maps follow the strides of the backbone."""
    classifier = build(head, backbone).train()
    pixels = draw().requires_grad_()
    output = classifier(pixels)
    assert_shapes(output, classifier.backbone(pixels), LABELS)
    # The sum of squares: of a plain sum, batch normalisation would cancel the gradient.
    output.logits.square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.isfinite().all()
    assert pixels.grad.abs().sum((1, 2, 3)).min() > 0

    classifier.eval()
    other = build(head, backbone).eval()
    other.load_state_dict(classifier.state_dict())
    with torch.no_grad():
        assert_same_bits(classifier(draw()), other(draw()))


@pytest.mark.parametrize(
    ("head", "backbone"),
    [*((head, "test_resnet") for head in HEADS), *(("linear", name) for name in BACKBONES)],
)
def test_an_outline_has_the_tensors_of_the_classifier_and_no_memory(head, backbone):
    """By it a bundle is compared with its weights, and its head is built."""
    built, before = build(head, backbone), torch.random.get_rng_state()
    planned, shapes = outline(*describe(head, backbone))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(tensor.is_meta for tensor in planned.state_dict().values())
    assert shapes == built.backbone.shapes(*SIZE)
    wanted = {key: (tensor.shape, tensor.dtype) for key, tensor in built.state_dict().items()}
    found = {key: (tensor.shape, tensor.dtype) for key, tensor in planned.state_dict().items()}
    assert found == wanted
