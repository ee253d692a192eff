"""Evidence maps: class activation maps and U, each against a transcription in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from manylabel.explain.cam import class_activation_maps
from numpy.testing import assert_allclose

from manylabel.explain.attention import evidence_maps, explained_by, scaled
from manylabel.models.backbones import BackboneConfig, FeatureMaps
from manylabel.models.classifier import Classifier, ModelConfig, build_classifier
from manylabel.models.heads import LinearConfig, SRNConfig
from manylabel.models.heads.base import MainNet, main_of
from manylabel.preprocess import InputSpec

LABELS = 5
BACKBONE = BackboneConfig(name="test_resnet", pretrained=False)
SRN = SRNConfig(attention_channels=16, relation_channels=16)


def classifier(head: LinearConfig | SRNConfig) -> Classifier:
    torch.manual_seed(0)
    config = ModelConfig(backbone=BACKBONE, head=head)
    return build_classifier(config, LABELS, InputSpec(height=64, width=64)).eval()


def backbone_maps(model: Classifier) -> FeatureMaps:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return model.backbone(images)


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
    cam = class_activation_maps(main_of(model.head).fc.weight, maps.final)
    logits = cam.mean((2, 3)) + main_of(model.head).fc.bias
    assert_allclose(logits, model.head(maps).logits, atol=1e-5)


@torch.no_grad()
def test_srn_is_explained_by_u():
    model = classifier(SRN)
    maps = backbone_maps(model)
    output = model.head(maps)
    z = model.head.attention.estimator(maps.mid).numpy().astype(np.float64)
    s = model.head.attention.conv1(maps.mid).numpy().astype(np.float64)
    a = np.exp(z) / np.exp(z).sum((2, 3), keepdims=True)
    assert explained_by(output) == "attention"
    assert_allclose(evidence_maps(model, maps, output), a / (1 + np.exp(-s)), rtol=1e-4)


@torch.no_grad()
def test_a_linear_head_is_explained_by_cam():
    model = classifier(LinearConfig())
    maps = backbone_maps(model)
    output = model.head(maps)
    expected = cam_by_loops(model.head.main.fc.weight.numpy(), maps.final.numpy())
    assert explained_by(output) == "cam"
    assert_allclose(evidence_maps(model, maps, output), expected, atol=1e-4)


def test_scaled_divides_by_each_labels_own_maximum():
    maps = torch.tensor([[[[1.0, 4.0], [2.0, 0.0]], [[-3.0, 0.5], [0.25, -1.0]]]])
    expected = [[[[0.25, 1.0], [0.5, 0.0]], [[0.0, 1.0], [0.5, 0.0]]]]
    assert scaled(maps).tolist() == expected


def test_scaled_leaves_a_map_without_evidence_at_zero():
    assert scaled(torch.tensor([[[[-1.0, 0.0], [-2.0, -0.5]]]])).tolist() == [[[[0, 0], [0, 0]]]]
