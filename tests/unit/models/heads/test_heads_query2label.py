"""Query2Label against its equations, in float64 and with loops over images and heads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from manylabel.config import parse
from manylabel.errors import ConfigError
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.query2label import Query2LabelConfig, Query2LabelHead, sine_positions

Array = NDArray[np.float64]

IMAGES, LABELS, FINAL, CHANNELS, HEADS = 2, 4, 5, 8, 2
SHAPES = MapShapes(mid_channels=4, final_channels=FINAL, grid=(14, 14))
TINY = {"channels": CHANNELS, "attention_heads": HEADS, "feedforward_channels": 12}


def build(**options) -> Query2LabelHead:
    """A head in evaluation mode; all its parameters are drawn, none is 0, 1 or its neighbour's."""
    config = Query2LabelConfig(**{**TINY, **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = Query2LabelHead(config, SHAPES, LabelSpace.numbered(LABELS)).eval()
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.copy_(torch.randn(parameter.shape) * 0.6)
    return head


def draw(height: int = 3, width: int = 5, seed: int = 1) -> FeatureMaps:
    generator = torch.Generator().manual_seed(seed)
    final = torch.randn(IMAGES, FINAL, height, width, generator=generator)
    return FeatureMaps(torch.zeros(IMAGES, 4, 2 * height, 2 * width), final)


# ---- the reference ----------------------------------------------------------------------------


def positions(height: int, width: int) -> Array:
    """Sines of the position [P, D], one number at a time."""
    quarter = CHANNELS // 4
    out = np.zeros((height * width, CHANNELS))
    for row in range(height):
        for column in range(width):
            for k in range(quarter):
                frequency = 10_000 ** (-k / quarter)
                y = 2 * math.pi * (row + 0.5) / height * frequency
                x = 2 * math.pi * (column + 0.5) / width * frequency
                values = (math.sin(y), math.cos(y), math.sin(x), math.cos(x))
                for part, value in enumerate(values):
                    out[row * width + column, part * quarter + k] = value
    return out


class Reference:
    """The network for one image, over a head's tensors by their names in the state dict."""

    def __init__(self, head: Query2LabelHead) -> None:
        self.tensors = {key: value.double().numpy() for key, value in head.state_dict().items()}
        self.head = head

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors.get(f"{name}.bias", 0.0)

    def norm(self, x: Array, name: str) -> Array:
        rows = [(row - row.mean()) / np.sqrt(row.var() + 1e-5) for row in x]
        return np.array(rows) * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def multi_head(self, q_in: Array, k_in: Array, v_in: Array, name: str) -> tuple[Array, Array]:
        q = self.linear(q_in, f"{name}.project.query")
        k = self.linear(k_in, f"{name}.project.key")
        v = self.linear(v_in, f"{name}.project.value")
        size = CHANNELS // HEADS
        found, looked = [], []
        for head in range(HEADS):
            own = slice(head * size, (head + 1) * size)
            powers = np.exp(q[:, own] @ k[:, own].T / math.sqrt(size))
            attention = powers / powers.sum(axis=1, keepdims=True)
            found.append(attention @ v[:, own])
            looked.append(attention)
        joined = self.linear(np.concatenate(found, axis=1), f"{name}.project.out")
        return joined, np.mean(looked, axis=0)

    def attend(self, x: Array, k_in: Array, v_in: Array, name: str, placed=None) -> Array:
        attended, self.looked = self.multi_head(x if placed is None else placed, k_in, v_in, name)
        return self.norm(x + attended, f"{name}.norm")

    def feedforward(self, x: Array, name: str) -> Array:
        hidden = np.maximum(self.linear(x, f"{name}.layers.0"), 0)
        return self.norm(x + self.linear(hidden, f"{name}.layers.3"), f"{name}.norm")

    def run(self, final_map: Array) -> tuple[Array, Array]:
        """Logits [C] and the last layer's attention [C, P] of a map [E, h, w]."""
        f = self.linear(final_map.reshape(FINAL, -1).T, "project")
        places = positions(*final_map.shape[1:]) if self.head.positions else 0 * f
        for i in range(len(self.head.encoder)):
            f = self.attend(f, f + places, f, f"encoder.{i}.relate", placed=f + places)
            f = self.feedforward(f, f"encoder.{i}.feedforward")
        q = self.tensors["queries"]
        for i in range(len(self.head.decoder)):
            if f"decoder.{i}.relate.norm.weight" in self.tensors:
                q = self.attend(q, q, q, f"decoder.{i}.relate")
            q = self.attend(q, f + places, f, f"decoder.{i}.look")
            looked = self.looked
            q = self.feedforward(q, f"decoder.{i}.feedforward")
        logits = [np.dot(self.tensors["weight"][k], q[k]) for k in range(LABELS)]
        return np.array(logits) + self.tensors["bias"], looked


# ---- tests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoder_layers": 0},
        {"encoder_layers": 2, "decoder_layers": 1},
        {"self_attention": False},
        {"positions": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(3, 5), (1, 1)], ids=str)
def test_the_equations(options, size):
    head, maps = build(**options), draw(*size)
    output = head(maps)
    for image in range(IMAGES):
        expected, attention = Reference(head).run(maps.final[image].double().numpy())
        found = output.logits[image].detach().numpy()
        np.testing.assert_allclose(found, expected, atol=5e-5)
        looked = output.maps["attention"][image].detach().numpy()
        np.testing.assert_allclose(looked, attention.reshape(-1, *size), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (2, 9)], ids=str)
def test_positions(size):
    found = sine_positions(*size, like=torch.zeros(1, 1, CHANNELS))
    np.testing.assert_allclose(found.numpy(), positions(*size), atol=1e-5)


def test_positions_fit_any_map():
    """The middle of a map has the same place whatever the number of positions."""
    small, large = (sine_positions(n, n, torch.zeros(1, 1, 64)) for n in (3, 9))
    torch.testing.assert_close(small[4], large[40], atol=1e-5, rtol=0)


@pytest.mark.parametrize("known", [False, True], ids=["without positions", "with positions"])
def test_only_positions_tell_the_order(known):
    head, maps = build(positions=known), draw()
    order = torch.randperm(15, generator=torch.Generator().manual_seed(3))
    shuffled = maps.final.flatten(2)[:, :, order].unflatten(2, (3, 5))
    found, expected = head(FeatureMaps(maps.mid, shuffled)), head(maps)
    if known:
        assert (found.logits - expected.logits).abs().max() > 1e-2
    else:
        torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)
        looked = expected.maps["attention"].flatten(2)[:, :, order]
        torch.testing.assert_close(found.maps["attention"].flatten(2), looked, atol=1e-5, rtol=1e-4)


def test_labels_move_with_their_queries():
    head, maps, order = build(), draw(), torch.tensor([2, 0, 3, 1])
    before = head(maps)
    with torch.no_grad():
        for tensor in (head.queries, head.weight, head.bias):
            tensor.copy_(tensor[order].clone())
    torch.testing.assert_close(head(maps).logits, before.logits[:, order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("relate", [True, False])
def test_labels_see_one_another_by_self_attention_alone(relate):
    head, maps = build(self_attention=relate), draw()
    before = head(maps).logits
    with torch.no_grad():
        head.queries[0].add_(1.0)
    moved = (head(maps).logits - before)[:, 1:].abs().max()
    assert (moved > 1e-3) == relate


def test_attention_is_a_distribution():
    attention = build()(draw()).maps["attention"]
    assert attention.shape == (IMAGES, LABELS, 3, 5)
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(IMAGES, LABELS))
    assert attention.amax() > 2 / 15


def test_dropout_is_for_training_alone():
    head, maps = build(dropout=0.5), draw()
    torch.testing.assert_close(head(maps).logits, build(dropout=0.0)(maps).logits)
    head.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        assert not torch.allclose(head(maps).logits, head(maps).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_attention_is_fp32_under_autocast(dtype):
    head, maps = build(), draw()
    with torch.autocast("cpu", dtype):
        output = head(maps)
    attention = output.maps["attention"]
    assert attention.dtype == torch.float32
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(IMAGES, LABELS))
    torch.testing.assert_close(output.logits.float(), head(maps).logits, atol=0.2, rtol=0.05)


def test_compiled_whole():
    """No graph break, and the same answer and gradients."""
    head, maps = build(), draw()
    head(maps).logits.square().sum().backward()
    plain = {key: parameter.grad for key, parameter in head.named_parameters()}
    head.zero_grad()
    output = torch.compile(head, fullgraph=True, backend="aot_eager")(maps)
    output.logits.square().sum().backward()
    torch.testing.assert_close(output.logits, head(maps).logits, atol=1e-5, rtol=1e-5)
    for key, parameter in head.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[key], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("options", [{"channels": 10}, {"channels": 16, "attention_heads": 3}])
def test_channels_must_be_a_multiple_of_four_and_of_the_heads(options):
    with pytest.raises(ConfigError, match="multiple of 4 and of attention_heads"):
        parse(Query2LabelConfig, options, where="recipe.toml")


def test_parameters_of_resnet101():
    with torch.device("meta"):
        head = Query2LabelHead(
            Query2LabelConfig(), MapShapes(1024, 2048, (14, 14)), LabelSpace.numbered(80)
        )
    attention = 4 * 2048 * 2048 + 3 * 2048 + 2 * 2048  # no bias in the keys; its norm
    feedforward = (2048 * 8192 + 8192) + (8192 * 2048 + 2048) + 2 * 2048
    encoder, decoder = attention + feedforward, 2 * attention + feedforward
    ends = (2048 * 2048 + 2048) + 2 * (80 * 2048) + 80
    found = sum(parameter.numel() for parameter in head.parameters())
    assert found == encoder + 2 * decoder + ends
