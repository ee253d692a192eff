"""Evidence of heads: class activation maps, U and its factors, beside transcriptions in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig, FeatureMaps
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier
from manylabel.models.heads import LinearConfig, SRNConfig
from manylabel.models.heads.base import Evidence, class_activation_maps
from manylabel.models.heads.main_net import MainNet
from manylabel.preprocess import InputSpec

LABELS = 5
BACKBONE = BackboneConfig(name="test_resnet", pretrained=False)
SRN = SRNConfig(attention_channels=16, relation_channels=16)


def classifier(head: LinearConfig | SRNConfig) -> Classifier:
    torch.manual_seed(0)
    config = ModelConfig(backbone=BACKBONE, head=head)
    return build_classifier(
        config, LabelSpace.numbered(LABELS), InputSpec(height=64, width=64)
    ).eval()


def backbone_maps(model: Classifier) -> FeatureMaps:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return model.backbone(images)


def first_of(model: Classifier) -> tuple[str, Evidence]:
    """The method that a head is explained by."""
    return next(iter(model.head.evidence().items()))


def cam_by_loops(weight: np.ndarray, final: np.ndarray) -> np.ndarray:
    images, channels, height, width = final.shape
    result = np.zeros((images, len(weight), height, width))
    for n in range(images):
        for c in range(len(weight)):
            for i in range(height):
                for j in range(width):
                    result[n, c, i, j] = sum(
                        weight[c, e] * final[n, e, i, j] for e in range(channels)
                    )
    return result


@torch.no_grad()
@pytest.mark.parametrize("pool", ["avg", "max"])
def test_cam_is_the_weighted_sum_of_channels(pool):
    torch.manual_seed(0)
    main = MainNet(7, LABELS, pool)
    final = torch.randn(2, 7, 3, 4)
    expected = cam_by_loops(main.fc.weight.numpy(), final.numpy())
    assert_allclose(class_activation_maps(main.fc.weight, final), expected, atol=1e-5)


@torch.no_grad()
def test_mean_of_cam_and_bias_is_the_logit():
    model = classifier(LinearConfig())
    maps = backbone_maps(model)
    cam = class_activation_maps(model.head.main.fc.weight, maps.final)
    logits = cam.mean((2, 3)) + model.head.main.fc.bias
    assert_allclose(logits, model.head(maps).logits, atol=1e-5)


@torch.no_grad()
def test_srn_is_explained_by_u():
    model = classifier(SRN)
    maps = backbone_maps(model)
    output = model.head(maps)
    z = model.head.attention.estimator(maps.mid).numpy().astype(np.float64)
    s = model.head.attention.conv1(maps.mid).numpy().astype(np.float64)
    a = np.exp(z) / np.exp(z).sum((2, 3), keepdims=True)
    method, evidence = first_of(model)
    assert method == "attention"
    assert_allclose(evidence.maps(maps, output), a / (1 + np.exp(-s)), rtol=1e-4)
    methods = model.head.evidence()
    assert_allclose(methods["unweighted-attention"].maps(maps, output), a, rtol=1e-4)
    assert_allclose(methods["confidence"].maps(maps, output), 1 / (1 + np.exp(-s)), rtol=1e-4)


@torch.no_grad()
def test_a_linear_head_is_explained_by_cam():
    model = classifier(LinearConfig())
    maps = backbone_maps(model)
    output = model.head(maps)
    expected = cam_by_loops(model.head.main.fc.weight.numpy(), maps.final.numpy())
    method, evidence = first_of(model)
    assert method == "cam"
    assert_allclose(evidence.maps(maps, output), expected, atol=1e-4)
