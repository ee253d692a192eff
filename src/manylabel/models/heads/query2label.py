"""Query2Label: every label asks the final map for itself, by a query that is learned.

    final map ── 1x1 ── + positions ── encoder ─── tokens ─┐
    label queries Q_0 (learned) ── decoder: self-attention, cross-attention, feed-forward
                                                           └─ logit of label k = W_k · Q_k + b_k

Source: S. Liu, L. Zhang, X. Yang, H. Su, J. Zhu, "Query2Label: A Simple Transformer Way to
Multi-Label Classification", arXiv:2107.10834, section 3: the decoder's three equations, for layer i

    Q' = MultiHead(Q_{i-1}, Q_{i-1}, Q_{i-1}),  Q'' = MultiHead(Q', F + positions, F),
    Q_i = FFN(Q'')

(each with its residual and normalisation), and the classifier of every label on its own query. The
layers are those of A. Vaswani et al., "Attention Is All You Need"; the positions are the sines of
N. Carion et al., "End-to-End Object Detection with Transformers", scaled to the map.

Differences from the paper:
- Q_0 is the same for all images, so the first layer's self-attention is computed once a batch; in
  training its dropout is then the same for all images.
- No bias in the keys' projection, which a softmax over the keys cannot see.
- The label embeddings are the first layer's queries, as the text says; they are not added again as
  positions in every layer, as is usual with such decoders.

The self-attention is C x C for every image and layer but the first: 0.8 TFLOP an image for 9,605
labels at 2048 channels. It keeps no C x C matrix, since it is a fused kernel. The rest grows
with C. `self_attention = false` leaves it out.
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
from manylabel.models.heads.base import Evidence, Head, HeadConfig, HeadOutput, output_map


class Query2LabelConfig(HeadConfig):
    """Query2Label's settings; the defaults are the paper's, as recalled (not confirmed)."""

    name: Literal["query2label"] = "query2label"
    """Which head."""
    encoder_layers: int = Field(default=1, ge=0)
    """Transformer layers over the positions, before any label looks."""
    decoder_layers: int = Field(default=2, ge=1)
    """Transformer layers in which the labels look."""
    channels: int = Field(default=2048, ge=1)
    """Channels of tokens and queries; a multiple of 4 and of `attention_heads`."""
    attention_heads: int = Field(default=4, ge=1)
    """Heads of every attention; they share the channels."""
    feedforward_channels: int = Field(default=8192, ge=1)
    """Channels of every feed-forward's hidden layer."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Part of the activations set to zero in training."""
    self_attention: bool = True
    """Let the labels look at one another; costs the square of their number."""
    positions: bool = True
    """Tell the tokens' positions by sines; without, the map is a bag of tokens."""

    @model_validator(mode="after")
    def _share(self) -> Query2LabelConfig:
        if self.channels % 4 or self.channels % self.attention_heads:
            raise ValueError("channels have to be a multiple of 4 and of attention_heads")
        return self


@final
class Query2LabelHead(Head):
    """A transformer from the final map's tokens to one query a label.

    No branches. Map `attention`: where each label's query looked in the last layer, averaged over
    the attention's heads; of the final map's size, sums to 1. The cross-attention has few keys, so
    its weights are at hand in every mode, at no cost that can be measured.
    """

    Config = Query2LabelConfig

    def __init__(self, config: Query2LabelConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        num_labels = len(labels)
        channels, bound = config.channels, config.channels**-0.5  # as nn.Linear's
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
        places = sine_positions(size[0], size[1], tokens) if self.positions else None
        for layer in self.encoder:
            tokens = layer(tokens, places)
        keys = _placed(tokens, places)
        queries = self.queries[None]  # of no image yet: [1, C, D]
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
        """Where each label's query looked."""
        return {"queries": output_map("attention", QUERY_ATTENTION)}


@final
class EncoderLayer(nn.Module):
    """Self-attention over the tokens, and a feed-forward."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.relate = SelfAttention(config)
        self.feedforward = FeedForward(config)

    def forward(self, tokens: Tensor, places: Tensor | None) -> Tensor:
        """Tokens [N, P, D] of tokens [N, P, D] at places [P, D]."""
        return self.feedforward(self.relate(tokens, _placed(tokens, places)))


@final
class DecoderLayer(nn.Module):
    """The labels look at one another, then at the tokens; and a feed-forward."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.relate = SelfAttention(config) if config.self_attention else None
        self.look = CrossAttention(config)
        self.feedforward = FeedForward(config)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [N, C, D] of queries [N or 1, C, D], and where they looked [N, C, P]."""
        if self.relate is not None:
            queries = self.relate(queries, queries)
        queries, attention = self.look(queries, keys, values)
        return self.feedforward(queries), attention


@final
class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself, added to it and normalised."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.project = Projections(config)
        self.probability = config.dropout
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.channels)

    def forward(self, features: Tensor, placed: Tensor) -> Tensor:
        """Features [N, L, D] of features [N, L, D], compared by `placed` [N, L, D]."""
        query, key, value = self.project(placed, placed, features)
        # Fused: no L x L matrix in memory. Its kernels take the softmax in fp32.
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.probability if self.training else 0.0
        )
        return self.norm(features + self.dropout(self.project.join(attended)))


@final
class CrossAttention(nn.Module):
    """Multi-head attention of queries to tokens, added to the queries and normalised."""

    def __init__(self, config: Query2LabelConfig) -> None:
        super().__init__()
        self.project = Projections(config)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.channels)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [N, C, D] of queries [N or 1, C, D], and where they looked [N, C, P]."""
        query, key, value = self.project(queries, keys, values)
        # Scaled first, so that fp16 does not overflow; then fp32, whatever the run's precision.
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
        """The three, projected, each [N, heads, L, D / heads]."""
        projected = self.query(queries), self.key(keys), self.value(values)
        return tuple(each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in projected)

    def join(self, attended: Tensor) -> Tensor:
        """Features [N, L, D] of what the heads found [N, heads, L, D / heads]."""
        return self.out(attended.transpose(1, 2).flatten(2))


@final
class FeedForward(nn.Module):
    """Two linear layers with ReLU between, added to the input and normalised."""

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
        """Features [N, L, D] of features [N, L, D]."""
        return self.norm(features + self.layers(features))


def sine_positions(height: int, width: int, like: Tensor) -> Tensor:
    """Where each position of a map lies, as sines and cosines: [height * width, D], rows first.

    A quarter of the channels each for the sine and the cosine of the row, and of the column. A
    side is 2 pi long whatever the number of positions on it, so that any map size can be read.
    """
    quarter = like.shape[-1] // 4
    steps = torch.arange(quarter, device=like.device, dtype=torch.float32) / quarter
    frequencies = torch.exp(-math.log(10_000) * steps)  # of waves, from 1 down to about 1e-4

    def waves(positions: int) -> Tensor:
        centres = torch.arange(positions, device=like.device, dtype=torch.float32) + 0.5
        angles = (2 * math.pi / positions) * centres[:, None] * frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=1)

    rows = waves(height)[:, None].expand(-1, width, -1)
    columns = waves(width)[None].expand(height, -1, -1)
    return torch.cat((rows, columns), dim=2).flatten(0, 1)


def _placed(tokens: Tensor, places: Tensor | None) -> Tensor:
    return tokens if places is None else tokens + places
