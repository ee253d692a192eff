"""Query2Label: each label has a learned query that attends to the final map.

    final map ── 1x1 ── + positions ── encoder ─── tokens ─┐
    label queries Q_0 (learned) ── decoder: self-attention, cross-attention, feed-forward
                                                           └─ logit of label k = W_k · Q_k + b_k

Source: S. Liu, L. Zhang, X. Yang, H. Su, J. Zhu, "Query2Label: A Simple Transformer Way to
Multi-Label Classification", arXiv:2107.10834, section 3: the decoder's three equations, for layer i

    Q' = MultiHead(Q_{i-1}, Q_{i-1}, Q_{i-1}),  Q'' = MultiHead(Q', F + positions, F),
    Q_i = FFN(Q'')

(each with a residual connection and normalisation), and each label's classifier, which takes the
label's own query. The layers are those of A. Vaswani et al., "Attention Is All You Need". The
position encodings are the sines of N. Carion et al., "End-to-End Object Detection with
Transformers", scaled to the map.

Differences from the paper:
- Q_0 is the same for all images, so the first layer's self-attention is computed once per batch. In
  training its dropout is therefore the same for all images of a batch.
- The keys' projection has no bias: it would not change a softmax over the keys.
- The label embeddings are the queries of the first layer, as the text says. They are not added
  again in every layer as position encodings, as is usual in such decoders.

The self-attention costs C x C for each image and layer, except in the first layer: 0.8 TFLOP per
image for 9,605 labels at 2048 channels. It is a fused kernel, so no C x C matrix is in memory. The
rest of the cost is proportional to C. `self_attention = false` leaves the self-attention out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from manylabel.evidence import QUERY_ATTENTION
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.base import (
    AttentionHeads,
    Channels,
    Evidence,
    Head,
    HeadConfig,
    HeadOutput,
    LabelAxis,
    output_map,
)


class Query2LabelConfig(HeadConfig):
    """Query2Label's settings. The defaults are the paper's, from memory (not confirmed)."""

    name: Literal["query2label"] = "query2label"
    """Which head."""
    encoder_layers: int = Field(default=1, ge=0, le=64)
    """Transformer encoder layers over the map's positions."""
    decoder_layers: int = Field(default=2, ge=1, le=64)
    """Transformer decoder layers, in which the labels' queries attend to the map."""
    channels: Channels = 2048
    """Channels of tokens and queries; a multiple of 4 and of `attention_heads`."""
    attention_heads: AttentionHeads = 4
    """Heads of each attention layer; the channels are divided among them."""
    feedforward_channels: Channels = 8192
    """Channels of the hidden layer of each feed-forward network."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """The fraction of activations that dropout sets to zero in training."""
    self_attention: bool = True
    """Let the labels' queries attend to one another. The cost is the square of their number."""
    positions: bool = True
    """Add sine position encodings to the tokens. Without them the head does not know where on the
    map a token lies."""

    @model_validator(mode="after")
    def _check_channels(self) -> Query2LabelConfig:
        if self.channels % 4 or self.channels % self.attention_heads:
            raise ValueError("channels must be a multiple of 4 and of attention_heads")
        return self


@final
class Query2LabelHead(Head):
    """A transformer over the final map's tokens, with one query for each label.

    It has no branches. Its map `attention` is the attention of each label's query in the last
    layer, averaged over the attention heads. It has the final map's size and sums to 1. The
    cross-attention has few keys, so its weights are computed in every mode, without a measurable
    cost.
    """

    Config = Query2LabelConfig

    def __init__(self, config: Query2LabelConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        num_labels = len(labels)
        channels, bound = config.channels, config.channels**-0.5  # as in nn.Linear
        self.positions = config.positions
        self.project = nn.Linear(shapes.final_channels, channels)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.queries = nn.Parameter(torch.randn(num_labels, channels))
        self.weight = nn.Parameter(torch.empty(num_labels, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_labels).uniform_(-bound, bound))

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images."""
        size = maps.final.shape[-2:]
        tokens = self.project(maps.final.flatten(2).transpose(1, 2))  # [N, P, D]
        positions = sine_positions(size[0], size[1], tokens) if self.positions else None
        for layer in self.encoder:
            tokens = layer(tokens, positions)
        keys = _with_positions(tokens, positions)
        queries = self.queries[None]  # [1, C, D]: the same for all images
        *layers, last = self.decoder
        for layer in layers:
            queries, _ = layer(queries, keys, tokens)
        queries, attention = last(queries, keys, tokens)
        return HeadOutput(
            logits=torch.einsum("ncd,cd->nc", queries, self.weight) + self.bias,
            branches={},
            maps={"attention": attention.unflatten(2, size)},
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """The attention of each label's query in the last layer."""
        return {"queries": output_map("attention", QUERY_ATTENTION)}

    def label_axes(self) -> Mapping[str, LabelAxis]:
        """Those of queries and classifiers."""
        return {name: LabelAxis() for name in ("queries", "weight", "bias")}


@final
class EncoderLayer(nn.Module):
    """Self-attention over the tokens, then a feed-forward network."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.relate = SelfAttention(config)
        self.feedforward = FeedForward(config)

    def forward(self, tokens: Tensor, positions: Tensor | None) -> Tensor:
        """New tokens [N, P, D] of tokens [N, P, D] with position encodings [P, D]."""
        return self.feedforward(self.relate(tokens, _with_positions(tokens, positions)))


@final
class DecoderLayer(nn.Module):
    """Self-attention of the queries, cross-attention to the tokens, and a feed-forward network."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.relate = SelfAttention(config) if config.self_attention else None
        self.look = CrossAttention(config)
        self.feedforward = FeedForward(config)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """New queries [N, C, D] of queries [N or 1, C, D], and their attention [N, C, P]."""
        if self.relate is not None:
            queries = self.relate(queries, queries)
        queries, attention = self.look(queries, keys, values)
        return self.feedforward(queries), attention


@final
class SelfAttention(nn.Module):
    """Multi-head self-attention, with a residual connection and normalisation."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.project = Projections(config)
        self.probability = config.dropout
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.channels)

    def forward(self, features: Tensor, located: Tensor) -> Tensor:
        """New features [N, L, D] of features [N, L, D].

        Args:
            features: The values.
            located: [N, L, D], the queries and keys: the features with their position encodings.
        """
        query, key, value = self.project(located, located, features)
        # A fused kernel: no L x L matrix is in memory, and the softmax is in fp32.
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.probability if self.training else 0.0
        )
        return self.norm(features + self.dropout(self.project.join(attended)))


@final
class CrossAttention(nn.Module):
    """Multi-head attention of queries to tokens, with a residual connection and normalisation."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.project = Projections(config)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.channels)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """New queries [N, C, D] of queries [N or 1, C, D], and their attention [N, C, P]."""
        query, key, value = self.project(queries, keys, values)
        # The query is scaled first, so that fp16 does not overflow. The softmax is always in fp32.
        products = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        attention = products.float().softmax(-1)  # [N, heads, C, P]
        attended = self.dropout(attention).to(value.dtype) @ value
        features = self.norm(queries + self.dropout(self.project.join(attended)))
        return features, attention.mean(1)


@final
class Projections(nn.Module):
    """The four linear layers of a multi-head attention."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        channels = config.channels
        self.heads = config.attention_heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values after projection, each [N, heads, L, D / heads]."""
        projected = self.query(queries), self.key(keys), self.value(values)
        return tuple(each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in projected)

    def join(self, attended: Tensor) -> Tensor:
        """Features [N, L, D] of the heads' results [N, heads, L, D / heads]."""
        return self.out(attended.transpose(1, 2).flatten(2))


@final
class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, a residual connection and normalisation."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.channels, config.feedforward_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward_channels, config.channels),
            nn.Dropout(config.dropout),
        )
        self.norm = nn.LayerNorm(config.channels)

    def forward(self, features: Tensor) -> Tensor:
        """New features [N, L, D] of features [N, L, D]."""
        return self.norm(features + self.layers(features))


def sine_positions(height: int, width: int, like: Tensor) -> Tensor:
    """The position encodings of a map as sines and cosines: [height * width, D], row by row.

    The channels are four equal parts: sine and cosine of the row, sine and cosine of the column. A
    side has the length 2 pi for any number of positions, so any map size works.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        like: A tensor [..., D] on the device that the result is to be on.
    """
    quarter = like.shape[-1] // 4
    steps = torch.arange(quarter, device=like.device, dtype=torch.float32) / quarter
    frequencies = torch.exp(-math.log(10_000) * steps)  # from 1 down to about 1e-4

    def waves(positions: int) -> Tensor:
        centres = torch.arange(positions, device=like.device, dtype=torch.float32) + 0.5
        angles = (2 * math.pi / positions) * centres[:, None] * frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=1)

    rows = waves(height)[:, None].expand(-1, width, -1)
    columns = waves(width)[None].expand(height, -1, -1)
    return torch.cat((rows, columns), dim=2).flatten(0, 1)


def _with_positions(tokens: Tensor, positions: Tensor | None) -> Tensor:
    return tokens if positions is None else tokens + positions
