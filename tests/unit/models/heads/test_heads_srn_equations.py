"""SRN against a plain NumPy transcription of its equations, in float64 and with loops.

The reference shares nothing with the head but the names of its tensors. Weights and batch
statistics are drawn, so that none of them is one, zero or equal to its neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.blocks import WholeMapConv2d, resample_to_grid
from manylabel.models.heads.srn import SRNConfig, SRNHead

Array = NDArray[np.float64]

IMAGES, LABELS, CHANNELS, FINAL, HIDDEN, RELATIONS, PER_CHANNEL = 3, 4, 8, 6, 10, 5, 3
GRID = (6, 5)
ALPHA = 0.3
EPSILON = 1e-5
"""What batch normalisation adds to the variance."""

over_topologies = pytest.mark.parametrize("topology", ["paper", "released"])
in_both_modes = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])


# ---- the reference ----------------------------------------------------------------------------


def conv(x: Array, weight: Array, bias: Array | float = 0.0) -> Array:
    """Cross-correlation that keeps the map's size: x [N, D, H, W], weight [E, D, k, k]."""
    size, (height, width) = weight.shape[-1], x.shape[-2:]
    pad = size // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((len(x), len(weight), height, width))
    for row in range(size):
        for column in range(size):
            window = padded[:, :, row : row + height, column : column + width]
            out += np.einsum("ndhw,ed->nehw", window, weight[:, :, row, column])
    return out + np.reshape(bias, (-1, 1, 1))


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax_over_positions(z: Array) -> Array:
    out = np.empty_like(z)
    for image in range(z.shape[0]):
        for label in range(z.shape[1]):
            powers = np.exp(z[image, label] - z[image, label].max())
            out[image, label] = powers / powers.sum()
    return out


def conv4(x: Array, weight: Array, bias: Array | float) -> Array:
    """Units [N, K]: unit k looks at the whole map of its one channel, k // kernels a channel."""
    units = np.zeros((len(x), len(weight)))
    kernels_a_channel = len(weight) // x.shape[1]
    for k in range(len(weight)):
        channel = k // kernels_a_channel
        units[:, k] = (x[:, channel] * weight[k, 0]).sum((1, 2))
    return units + bias


@dataclass(frozen=True)
class Reference:
    """The equations of one topology over a head's tensors, by their names in the state dict."""

    tensors: dict[str, Array]
    topology: str
    training: bool
    positions_scale: float = 1.0
    weight_with: Callable[[Array, Array], Array] = lambda s, a: sigmoid(s) * a  # Eq. 8

    def norm(self, x: Array, name: str) -> Array:
        """Batch normalisation with the statistics of the mode."""
        over = (0, *range(2, x.ndim))
        if self.training:
            mean, variance = x.mean(over), x.var(over)
        else:
            mean, variance = self.at(f"{name}.running_mean"), self.at(f"{name}.running_var")
        shape = (1, -1, *(1,) * (x.ndim - 2))
        scaled = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + EPSILON)
        weight, bias = self.at(f"{name}.weight"), self.at(f"{name}.bias")
        return scaled * weight.reshape(shape) + bias.reshape(shape)

    def at(self, name: str) -> Array:
        return self.tensors[name]

    def conv(self, x: Array, name: str) -> Array:
        return conv(x, self.at(f"{name}.weight"), self.tensors.get(f"{name}.bias", 0.0))

    def bottleneck(self, x: Array, name: str) -> Array:
        """BN, ReLU, 1x1; BN, ReLU, 3x3; BN, ReLU, 1x1; plus the input."""
        inner = self.conv(relu(self.norm(x, f"{name}.0")), f"{name}.2")
        inner = self.conv(relu(self.norm(inner, f"{name}.3")), f"{name}.5")
        inner = self.conv(relu(self.norm(inner, f"{name}.6")), f"{name}.8")
        return x + inner

    def z_and_s(self, x: Array) -> tuple[Array, Array]:
        """Z, before the softmax, and S."""
        if self.topology == "paper":
            inner = relu(self.conv(x, "attention.estimator.0"))
            inner = relu(self.conv(inner, "attention.estimator.2"))
            return self.conv(inner, "attention.estimator.4"), self.conv(x, "attention.conv1")
        x = self.bottleneck(x, "attention.shared.0.residual")
        x = self.bottleneck(x, "attention.shared.1.residual")
        x = relu(self.norm(x, "attention.shared.2"))
        inner = relu(self.norm(self.conv(x, "attention.estimator.0"), "attention.estimator.1"))
        inner = relu(self.norm(self.conv(inner, "attention.estimator.3"), "attention.estimator.4"))
        confidence = relu(self.norm(self.conv(x, "attention.conv1.0"), "attention.conv1.1"))
        return self.conv(inner, "attention.estimator.6"), self.conv(confidence, "attention.conv1.3")

    def units(self, u: Array) -> Array:
        """conv2, conv3 and conv4 of U, each with ReLU."""
        name = "regularisation"
        weight = self.at(f"{name}.conv4.weight")
        if self.topology == "paper":
            x = relu(self.conv(u, f"{name}.semantic.0"))
            x = relu(self.conv(x, f"{name}.semantic.2"))
            return relu(conv4(x, weight, self.at(f"{name}.conv4.bias")))
        x = relu(self.norm(self.conv(u, f"{name}.semantic.0"), f"{name}.semantic.1"))
        x = relu(self.norm(self.conv(x, f"{name}.semantic.3"), f"{name}.semantic.4"))
        return relu(self.norm(conv4(x, weight, 0.0), f"{name}.norm4"))

    def __call__(self, mid: Array, final: Array) -> dict[str, Array]:
        """Everything that the head says of X and the final map."""
        pooled = final.mean((2, 3))
        y_cls = pooled @ self.at("main.fc.weight").T + self.at("main.fc.bias")
        z, s = self.z_and_s(mid)
        a = softmax_over_positions(z)
        u = self.weight_with(s, a)
        units = self.units(u * self.positions_scale)
        y_sr = units @ self.at("regularisation.fc.weight").T + self.at("regularisation.fc.bias")
        return {
            "attention": a,
            "confidence": s,
            "weighted": u,
            "units": units,
            "cls": y_cls,
            "att": (a * s).sum((2, 3)),
            "sr": y_sr,
            "final": ALPHA * y_cls + (1 - ALPHA) * y_sr,
        }


# ---- the head ---------------------------------------------------------------------------------


def fill(module: nn.Module, rng: np.random.Generator) -> None:
    """Draw every parameter and statistic; variances are positive, maps keep their order of size."""
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if tensor.ndim > 1:
            drawn = rng.normal(0, np.sqrt(2 / tensor[0].numel()), tensor.shape)
        elif name.endswith("running_var") or name.endswith("weight"):
            drawn = rng.uniform(0.5, 1.5, tensor.shape)
        else:
            drawn = rng.normal(0, 0.3, tensor.shape)
        tensor.copy_(torch.from_numpy(drawn))


def make_head(topology: str, *, scale_weighted: bool = False) -> SRNHead:
    config = SRNConfig.model_validate(
        {
            "topology": topology,
            "attention_channels": HIDDEN,
            "relation_channels": RELATIONS,
            "units_per_channel": PER_CHANNEL,
            "alpha": ALPHA,
            "scale_weighted": scale_weighted,
        }
    )
    head = SRNHead(config, MapShapes(CHANNELS, FINAL, GRID), LabelSpace.numbered(LABELS))
    fill(head, np.random.default_rng(3))
    return head


def draw_maps() -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    mid = rng.normal(0, 2, (IMAGES, CHANNELS, *GRID))
    return mid, rng.normal(0, 1, (IMAGES, FINAL, 3, 2))


def said(head: SRNHead, mid: Array, final: Array) -> dict[str, Array]:
    with torch.no_grad():
        output = head(FeatureMaps(torch.from_numpy(mid).float(), torch.from_numpy(final).float()))
    named = {"final": output.logits, "units": output.units, **output.branches, **output.maps}
    return {key: value.numpy().astype(np.float64) for key, value in named.items()}


def reference(head: SRNHead, topology: str, **options) -> Reference:
    tensors = {key: value.numpy().astype(np.float64) for key, value in head.state_dict().items()}
    return Reference(tensors, topology, head.training, **options)


def assert_equations_hold(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[key], value, rtol=0, atol=2e-5 * scale, err_msg=key)


# ---- the equations ----------------------------------------------------------------------------


@in_both_modes
@over_topologies
def test_every_equation(topology, training):
    head = make_head(topology).train(training)
    expected = reference(head, topology)(*draw_maps())
    assert_equations_hold(said(head, *draw_maps()), expected)


@over_topologies
def test_eval_and_train_differ_just_where_there_is_normalisation(topology):
    head = make_head(topology)
    trained = said(head.train(), *draw_maps())
    evaluated = said(head.eval(), *draw_maps())
    assert np.allclose(trained["att"], evaluated["att"]) == (topology == "paper")


@over_topologies
def test_eq_8_weights_the_attention_with_the_confidence(topology):
    """U = sigmoid(S) * A; the other reading, sigmoid(S * A), is told apart by this test."""
    head = make_head(topology).eval()
    found = said(head, *draw_maps())
    attention, confidence = found["attention"], found["confidence"]
    np.testing.assert_allclose(found["weighted"], sigmoid(confidence) * attention, atol=1e-7)
    mistaken = reference(head, topology, weight_with=lambda s, a: sigmoid(s * a))(*draw_maps())
    assert np.abs(mistaken["weighted"] - found["weighted"]).max() > 0.4
    assert np.abs(mistaken["sr"] - found["sr"]).max() > 0.4


def test_y_att_is_a_classifier_of_the_attended_features():
    """W^l . sum(a x) + b^l: the same number, since a label's attention sums to 1."""
    head = make_head("paper").eval()
    mid, final = draw_maps()
    found = said(head, mid, final)
    conv1 = head.attention.conv1
    assert isinstance(conv1, nn.Conv2d)
    assert conv1.bias is not None
    weight, bias = conv1.weight.detach().numpy()[:, :, 0, 0], conv1.bias.detach().numpy()
    for image in range(IMAGES):
        for label in range(LABELS):
            attended = (found["attention"][image, label] * mid[image]).sum((1, 2))
            expected = weight[label] @ attended + bias[label]
            assert found["att"][image, label] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("alpha", "branch"), [(1.0, "cls"), (0.0, "sr")])
def test_alpha_is_the_weight_of_y_cls(alpha, branch):
    head = make_head("paper").eval()
    head.alpha = alpha
    found = said(head, *draw_maps())
    np.testing.assert_allclose(found["final"], found[branch], rtol=1e-6)


def test_max_pooling_is_of_the_final_map_only():
    config = SRNConfig(pool="max", attention_channels=HIDDEN, relation_channels=RELATIONS)
    head = SRNHead(config, MapShapes(CHANNELS, FINAL, GRID), LabelSpace.numbered(LABELS)).eval()
    mid, final = draw_maps()
    fc = head.main.fc
    expected = final.max((2, 3)) @ fc.weight.detach().numpy().T + fc.bias.detach().numpy()
    np.testing.assert_allclose(said(head, mid, final)["cls"], expected, rtol=1e-5, atol=1e-6)


# ---- scale, other maps, conv4 -----------------------------------------------------------------


@in_both_modes
@over_topologies
def test_scale_weighted_multiplies_what_conv2_sees_and_not_the_reported_map(topology, training):
    head = make_head(topology, scale_weighted=True).train(training)
    scaled = reference(head, topology, positions_scale=GRID[0] * GRID[1])(*draw_maps())
    found = said(head, *draw_maps())
    assert_equations_hold(found, scaled)
    plain = said(make_head(topology).train(training), *draw_maps())
    np.testing.assert_array_equal(found["weighted"], plain["weighted"])
    if topology == "paper" or not training:  # a batch's own statistics take the scale out again
        assert np.abs(found["sr"] - plain["sr"]).max() > 0.1


def by_area(weighted: Array, grid: tuple[int, int]) -> Array:
    """U on another grid: each old cell gives each new one the part that lies in it."""
    height, width = weighted.shape[-2:]

    def shared(old: int, new: int) -> Array:
        parts = np.zeros((new, old))
        for i in range(new):
            for j in range(old):
                low, high = max(i / new, j / old), min((i + 1) / new, (j + 1) / old)
                parts[i, j] = max(0.0, high - low) * old
        return parts

    rows, columns = shared(height, grid[0]), shared(width, grid[1])
    return np.einsum("ih,nchw,jw->ncij", rows, weighted, columns)


SIZES = [
    ((14, 14), (14, 14)),
    ((28, 28), (14, 14)),
    ((7, 7), (14, 14)),
    ((28, 7), (14, 14)),
    ((14, 20), (14, 14)),
    ((20, 14), (7, 7)),
    ((9, 12), (14, 14)),
    ((1, 1), (3, 2)),
]


@pytest.mark.parametrize(("size", "grid"), SIZES, ids=str)
def test_resampling_shares_out_by_area_and_keeps_the_sum(size, grid):
    rng = np.random.default_rng(5)
    weighted = rng.dirichlet(np.full(size[0] * size[1], 0.2), (2, 3)).reshape(2, 3, *size)
    found = resample_to_grid(grid, torch.from_numpy(weighted)).numpy()
    np.testing.assert_allclose(found.sum((2, 3)), weighted.sum((2, 3)), rtol=1e-6)
    np.testing.assert_allclose(found, by_area(weighted, grid), rtol=1e-6, atol=1e-9)


def test_nothing_is_resampled_on_the_grid_itself():
    weighted = torch.rand(2, 3, *GRID)
    assert resample_to_grid(GRID, weighted) is weighted


@over_topologies
def test_a_larger_map_reaches_conv4_through_the_resampled_u(topology):
    """The equations hold on another map, with U put on the grid that conv4's kernels have."""
    head = make_head(topology).eval()
    rng = np.random.default_rng(6)
    mid = rng.normal(0, 2, (IMAGES, CHANNELS, 2 * GRID[0], 3 * GRID[1]))
    found = said(head, mid, draw_maps()[1])
    equations = reference(head, topology)
    z, s = equations.z_and_s(mid)
    u = sigmoid(s) * softmax_over_positions(z)
    np.testing.assert_allclose(found["weighted"], u, atol=1e-5)
    np.testing.assert_allclose(found["units"], equations.units(by_area(u, GRID)), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_whole_map_conv_is_the_grouped_convolution(bias, layout):
    """nn.Conv2d with one channel a group, forward and backward, whatever the memory's layout."""
    torch.manual_seed(7)
    ours = WholeMapConv2d(RELATIONS, PER_CHANNEL, GRID, bias=bias)
    theirs = nn.Conv2d(RELATIONS, RELATIONS * PER_CHANNEL, GRID, groups=RELATIONS, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    inputs = [
        torch.randn(IMAGES, RELATIONS, *GRID, generator=torch.Generator().manual_seed(8))
        .contiguous(memory_format=layout)
        .requires_grad_()
        for _ in range(2)
    ]
    ours.to(memory_format=layout)
    units, expected = ours(inputs[0]), theirs(inputs[1]).flatten(1)
    torch.testing.assert_close(units, expected, rtol=1e-5, atol=1e-6)
    for result in (units, expected):
        (result * torch.arange(result.numel()).view_as(result).cos()).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-5, atol=1e-6)
    for (key, one), (_, two) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-5, atol=1e-6, msg=key)


def test_whole_map_conv_starts_as_that_convolution_does():
    torch.manual_seed(9)
    ours = WholeMapConv2d(RELATIONS, PER_CHANNEL, GRID, bias=True)
    torch.manual_seed(9)
    theirs = nn.Conv2d(RELATIONS, RELATIONS * PER_CHANNEL, GRID, groups=RELATIONS)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
