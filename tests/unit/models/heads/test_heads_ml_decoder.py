"""ML-Decoder against its equations, in float64 and with loops over heads and labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from manylabel.config import parse
from manylabel.errors import ConfigError
from manylabel.evidence import GROUP_ATTENTION, QUERY_ATTENTION
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.ml_decoder import MLDecoderConfig, MLDecoderHead

Array = NDArray[np.float64]

IMAGES, FINAL, CHANNELS, HEADS = 2, 5, 8, 2
SHAPES = MapShapes(mid_channels=4, final_channels=FINAL, grid=(14, 14))
TINY = {"channels": CHANNELS, "attention_heads": HEADS, "feedforward_channels": 12}


def build(num_labels: int = 7, **options) -> MLDecoderHead:
    """A head in evaluation mode; all its parameters are drawn, none is 0, 1 or its neighbour's."""
    config = MLDecoderConfig(**{**TINY, **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = MLDecoderHead(config, SHAPES, LabelSpace.numbered(num_labels)).eval()
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.copy_(torch.randn(parameter.shape) * 0.5)
    return head


def draw(height: int = 4, width: int = 5, seed: int = 1) -> FeatureMaps:
    generator = torch.Generator().manual_seed(seed)
    final = torch.randn(IMAGES, FINAL, height, width, generator=generator)
    return FeatureMaps(torch.zeros(IMAGES, 4, 2 * height, 2 * width), final)


# ---- the reference ----------------------------------------------------------------------------


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    rows = [(row - row.mean()) / np.sqrt(row.var() + 1e-5) for row in x]
    return np.array(rows) * weight + bias


class Reference:
    """The layer for one image, over a head's tensors by their names in the state dict."""

    def __init__(self, head: MLDecoderHead) -> None:
        self.tensors = {key: value.double().numpy() for key, value in head.state_dict().items()}

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors.get(f"{name}.bias", 0.0)

    def norm(self, x: Array, name: str) -> Array:
        return layer_norm(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def multi_head(self, queries: Array, tokens: Array) -> tuple[Array, Array]:
        """What the queries take from the tokens, and where they look, averaged over the heads."""
        q = self.linear(queries, "decoder.query")
        k = self.linear(tokens, "decoder.key")
        v = self.linear(tokens, "decoder.value")
        size = CHANNELS // HEADS
        found, looked = [], []
        for head in range(HEADS):
            own = slice(head * size, (head + 1) * size)
            attention = softmax(q[:, own] @ k[:, own].T / np.sqrt(size))
            found.append(attention @ v[:, own])
            looked.append(attention)
        return self.linear(np.concatenate(found, axis=1), "decoder.out"), np.mean(looked, axis=0)

    def run(self, final_map: Array, num_labels: int, group_size: int) -> tuple[Array, Array]:
        """Logits [C] and attention [C, P] of a map [E, h, w]."""
        tokens = np.maximum(self.linear(final_map.reshape(FINAL, -1).T, "project"), 0)
        queries = self.tensors["queries"]
        attended, looked = self.multi_head(queries, tokens)
        g1 = self.norm(queries + attended, "decoder.norm1")
        hidden = np.maximum(self.linear(g1, "decoder.feedforward.0"), 0)
        g2 = self.norm(g1 + self.linear(hidden, "decoder.feedforward.3"), "decoder.norm2")
        weight, bias = self.tensors["group_fc.weight"], self.tensors["group_fc.bias"]
        logits, attention = np.zeros(num_labels), []
        for label in range(num_labels):
            group, place = label // group_size, label % group_size
            logits[label] = np.dot(g2[group], weight[group, :, place]) + bias[label]
            attention.append(looked[group])
        return logits, np.array(attention)


# ---- tests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_labels", "num_groups", "group_size"),
    [(7, 100, 1), (7, 7, 1), (7, 3, 3), (7, 4, 2), (6, 2, 3), (1, 100, 1), (9, 1, 9)],
)
@pytest.mark.parametrize("size", [(4, 5), (1, 1)], ids=str)
def test_the_equations(num_labels, num_groups, group_size, size):
    head, maps = build(num_labels, num_groups=num_groups), draw(*size)
    output = head(maps)
    for image in range(IMAGES):
        expected, attention = Reference(head).run(
            maps.final[image].double().numpy(), num_labels, group_size
        )
        found = output.logits[image].detach().numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5)
        looked = output.maps["attention"][image].detach().numpy()
        np.testing.assert_allclose(looked, attention.reshape(-1, *size), atol=1e-6)


def test_evidence_says_that_labels_of_a_group_share_their_map():
    """Seven labels in groups of three: 0 to 2, 3 to 5, and 6."""
    grouped, maps = build(7, num_groups=3), draw()
    evidence = grouped.evidence()["queries"]
    assert evidence.kind is GROUP_ATTENTION
    found = evidence.maps(maps, grouped(maps)).detach()
    groups = [[j for j in range(7) if torch.equal(found[:, i], found[:, j])] for i in range(7)]
    assert groups == [[0, 1, 2]] * 3 + [[3, 4, 5]] * 3 + [[6]]
    assert build(7).evidence()["queries"].kind is QUERY_ATTENTION


@pytest.mark.parametrize(
    ("num_labels", "queries"), [(1, 1), (80, 80), (100, 100), (101, 51), (150, 75), (9605, 100)]
)
def test_there_are_no_groups_without_labels(num_labels, queries):
    with torch.device("meta"):
        head = MLDecoderHead(MLDecoderConfig(), SHAPES, LabelSpace.numbered(num_labels))
    assert len(head.queries) == queries
    assert (queries - 1) * head.group_size < num_labels <= queries * head.group_size


def test_with_a_group_a_label_the_order_of_labels_is_free():
    """Queries do not see one another: moved with their classifiers, they answer the same."""
    head, maps, order = build(), draw(), torch.tensor([3, 1, 6, 0, 2, 5, 4])
    before = head(maps)
    with torch.no_grad():
        for tensor in (head.queries, head.group_fc.weight, head.group_fc.bias):
            tensor.copy_(tensor[order].clone())
    after = head(maps)
    torch.testing.assert_close(after.logits, before.logits[:, order])
    torch.testing.assert_close(after.maps["attention"], before.maps["attention"][:, order])


def test_the_order_of_positions_does_not_matter():
    head, maps = build(num_groups=3), draw()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    shuffled = maps.final.flatten(2)[:, :, order].unflatten(2, (4, 5))
    found = head(FeatureMaps(maps.mid, shuffled))
    torch.testing.assert_close(found.logits, head(maps).logits, atol=1e-5, rtol=1e-5)
    expected = head(maps).maps["attention"].flatten(2)[:, :, order]
    torch.testing.assert_close(found.maps["attention"].flatten(2), expected, atol=1e-6, rtol=1e-5)


def test_queries_are_drawn_and_kept_but_never_learned():
    head = build()
    assert "queries" in head.state_dict()
    assert "queries" not in dict(head.named_parameters())
    assert 0.5 < head.queries.std() < 1.5


def test_dropout_is_for_training_alone():
    head, maps = build(dropout=0.5), draw()
    torch.testing.assert_close(head(maps).logits, build(dropout=0.0)(maps).logits)
    head.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        assert not torch.allclose(head(maps).logits, head(maps).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_attention_is_fp32_under_autocast(dtype):
    head, maps = build(num_groups=3), draw()
    with torch.autocast("cpu", dtype):
        output = head(maps)
    attention = output.maps["attention"]
    assert attention.dtype == torch.float32
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(IMAGES, 7), atol=1e-6, rtol=0)
    torch.testing.assert_close(output.logits.float(), head(maps).logits, atol=0.1, rtol=0.03)


def test_products_beyond_fp16_stay_finite():
    """Without scaling first, 256 channels of 20 * 20 would be 102,400: more than fp16 holds."""
    head = build(channels=256, attention_heads=1)
    with torch.no_grad():
        for layer, value in ((head.decoder.query, 20.0), (head.decoder.key, 0.0)):
            layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.fill_(value)
        head.decoder.key.weight.fill_(20.0 / 256)
        head.project.weight.zero_()
        head.project.bias.fill_(1.0)
    with torch.autocast("cpu", torch.float16):
        output = head(draw())
    assert torch.isfinite(output.logits).all()


def test_compiled_whole():
    """No graph break, and the same answer and gradients."""
    head, maps = build(num_groups=3), draw()
    head(maps).logits.square().sum().backward()
    plain = {key: parameter.grad for key, parameter in head.named_parameters()}
    head.zero_grad()
    output = torch.compile(head, fullgraph=True, backend="aot_eager")(maps)
    output.logits.square().sum().backward()
    torch.testing.assert_close(output.logits, head(maps).logits)
    for key, parameter in head.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[key], atol=1e-4, rtol=1e-4)


def test_channels_must_be_a_multiple_of_the_heads():
    with pytest.raises(ConfigError, match="multiple of attention_heads"):
        parse(MLDecoderConfig, {"channels": 100}, where="recipe.toml")


def test_parameters_of_resnet101():
    with torch.device("meta"):
        head = MLDecoderHead(
            MLDecoderConfig(), MapShapes(1024, 2048, (14, 14)), LabelSpace.numbered(80)
        )
    attention = 4 * 768 * 768 + 3 * 768  # no bias in the keys
    feedforward = 768 * 2048 + 2048 + 2048 * 768 + 768
    others = (2048 * 768 + 768) + 2 * (2 * 768) + (768 * 80 + 80)
    found = sum(parameter.numel() for parameter in head.parameters())
    assert found == attention + feedforward + others
