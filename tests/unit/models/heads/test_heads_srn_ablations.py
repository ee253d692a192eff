"""The paper's two ablations, beside plain NumPy and beside SRN with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.base import Head, HeadOutput
from manylabel.models.heads.semantic import SemanticConfig, SemanticHead
from manylabel.models.heads.srn import SRNAttConfig, SRNAttHead, SRNConfig, SRNHead

Array = NDArray[np.float64]

SHAPES = MapShapes(mid_channels=8, final_channels=6, grid=(5, 4))
LABELS = 3


def draw() -> FeatureMaps:
    generator = torch.Generator().manual_seed(0)
    mid = torch.randn(2, SHAPES.mid_channels, *SHAPES.grid, generator=generator)
    return FeatureMaps(mid * 2, torch.randn(2, SHAPES.final_channels, 3, 2, generator=generator))


def seeded(kind: type[Head], config: object) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return kind(config, SHAPES, LabelSpace.numbered(LABELS)).eval()  # pyright: ignore[reportCallIssue]


def weights_of(head: Head) -> dict[str, Array]:
    return {key: value.double().numpy() for key, value in head.state_dict().items()}


def say(head: Head) -> HeadOutput:
    with torch.no_grad():
        return head(draw())


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def conv(features: Array, weight: Array, bias: Array) -> Array:
    """A convolution with zeros around, position by position."""
    images, _, height, width = features.shape
    reach = weight.shape[-1] // 2
    padded = np.pad(features, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    result = np.zeros((images, len(weight), height, width))
    for row in range(height):
        for column in range(width):
            window = padded[:, :, row : row + 2 * reach + 1, column : column + 2 * reach + 1]
            result[:, :, row, column] = np.einsum("ndhw,odhw->no", window, weight) + bias
    return result


def main_net(w: dict[str, Array]) -> Array:
    pooled = draw().final.double().numpy().mean((2, 3))
    return pooled @ w["main.fc.weight"].T + w["main.fc.bias"]


def assert_close(found: torch.Tensor, expected: Array) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


# ---- attention only ---------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_every_equation_of_srn_att(alpha):
    head = seeded(SRNAttHead, SRNAttConfig(attention_channels=4, alpha=alpha))
    w, mid, found = weights_of(head), draw().mid.double().numpy(), say(head)
    z = mid
    for layer in (0, 2, 4):
        key = f"attention.estimator.{layer}"
        z = conv(z, w[f"{key}.weight"], w[f"{key}.bias"])
        z = relu(z) if layer < 4 else z
    grown = np.exp(z)
    attention = grown / grown.sum((2, 3), keepdims=True)
    confidence = conv(mid, w["attention.conv1.weight"], w["attention.conv1.bias"])
    y_cls, y_att = main_net(w), (attention * confidence).sum((2, 3))
    assert_close(found.maps["attention"], attention)
    assert_close(found.maps["confidence"], confidence)
    assert_close(found.maps["weighted"], sigmoid(confidence) * attention)
    assert_close(found.branches["cls"], y_cls)
    assert_close(found.branches["att"], y_att)
    assert_close(found.logits, alpha * y_cls + (1 - alpha) * y_att)
    assert found.units is None


@pytest.mark.parametrize("topology", ["paper", "released"])
def test_srn_att_is_srn_without_its_regularisation(topology):
    """SRN's weights of main net and attention fit, and give the same branches and maps."""
    srn = seeded(SRNHead, SRNConfig(topology=topology, attention_channels=4, relation_channels=4))
    head = SRNAttHead(
        SRNAttConfig(topology=topology, attention_channels=4), SHAPES, LabelSpace.numbered(LABELS)
    ).eval()
    own = {k: v for k, v in srn.state_dict().items() if not k.startswith("regularisation.")}
    head.load_state_dict(own)
    found, expected = say(head), say(srn)
    for key in ("cls", "att"):
        assert torch.equal(found.branches[key], expected.branches[key]), key
    for key, value in expected.maps.items():
        assert torch.equal(found.maps[key], value), key


def test_srn_att_has_the_papers_parameters():
    """f_att and conv1 of the text at C = 80, X of 1024 channels."""
    with torch.device("meta"):
        head = SRNAttHead(SRNAttConfig(), MapShapes(1024, 2048, (14, 14)), LabelSpace.numbered(80))
    attention = (1024 * 512 + 512) + (9 * 512 * 512 + 512) + (512 * 80 + 80) + (1024 * 80 + 80)
    assert sum(p.numel() for p in head.attention.parameters()) == attention == 3_007_648


# ---- relations without space ------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_every_equation_of_semantic(alpha):
    head = seeded(SemanticHead, SemanticConfig(relation_channels=7, alpha=alpha))
    w, found = weights_of(head), say(head)
    y_cls = main_net(w)
    units = sigmoid(y_cls)
    for layer in (0, 2):
        key = f"regularisation.semantic.{layer}"
        units = relu(units @ w[f"{key}.weight"].T + w[f"{key}.bias"])
    y_sr = units @ w["regularisation.fc.weight"].T + w["regularisation.fc.bias"]
    assert_close(found.branches["cls"], y_cls)
    assert_close(found.branches["sr"], y_sr)
    assert_close(found.logits, alpha * y_cls + (1 - alpha) * y_sr)
    assert found.units is not None
    assert_close(found.units, units)


def test_semantic_does_not_depend_on_positions():
    """Positions of the final map in another order change nothing; nor does the mid map."""
    head, maps = seeded(SemanticHead, SemanticConfig(relation_channels=7)), draw()
    moved = FeatureMaps(torch.full_like(maps.mid, torch.nan), maps.final.flip(2, 3))
    with torch.no_grad():
        torch.testing.assert_close(head(moved).logits, head(maps).logits)
