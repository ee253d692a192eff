"""ML-Decoder: a few fixed queries attend to the final map, each for a group of labels.

    final map ── linear, ReLU: tokens E ─┐
    queries G (fixed, one a group) ──────┴─ cross-attention ── feed-forward ── group FC ── logits

Source: T. Ridnik, G. Sharir, A. Ben-Cohen, E. Ben-Baruch, A. Noy, "ML-Decoder: Scalable and
Versatile Classification Head", WACV 2023, arXiv:2111.12933, section 2 and its group-decoding and
group fully connected equations. It is one layer of a transformer decoder without self-attention
over the queries, which would cost C x C. The queries are drawn once and never learned; the
attention's projection of them is learned. So the cost depends on the number of groups, and hardly
on the number of labels.

Differences from the paper:
- If groups of equal size would leave some groups without labels (150 labels, 100 groups), there
  are fewer groups.
- The queries are the same for all images, so they are projected once per batch.
- The queries are not normalised before the attention: they are drawn from a normal distribution.
- The keys' projection has no bias: it would not change a softmax over the positions.
- The group FC has a bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from manylabel.evidence import GROUP_ATTENTION, QUERY_ATTENTION
from manylabel.labels import MAX_LABELS, LabelSpace
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


class MLDecoderConfig(HeadConfig):
    """ML-Decoder's settings; the defaults are the paper's."""

    name: Literal["ml-decoder"] = "ml-decoder"
    """Which head."""
    num_groups: int = Field(default=100, ge=1, le=MAX_LABELS)
    """The largest number of groups of labels; each group has one query. If there are no more labels
    than this, each label has its own query."""
    channels: Channels = 768
    """Channels of the tokens and queries."""
    attention_heads: AttentionHeads = 8
    """Heads of the cross-attention; the channels are divided among them."""
    feedforward_channels: Channels = 2048
    """Channels of the hidden layer of the feed-forward network."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """The fraction of activations that dropout sets to zero in training."""

    @model_validator(mode="after")
    def _check_channels(self) -> MLDecoderConfig:
        if self.channels % self.attention_heads:
            raise ValueError("channels must be a multiple of attention_heads")
        return self


@final
class MLDecoderHead(Head):
    """One decoder layer in which group queries attend to the final map's tokens, and a group FC.

    It has no branches. Its map `attention` is the attention of the query of a label's group,
    averaged over the attention heads. It has the final map's size and sums to 1. All labels of a
    group have the same map.
    """

    Config = MLDecoderConfig

    queries: Tensor

    def __init__(self, config: MLDecoderConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        self.num_labels = num_labels = len(labels)
        self.group_size = -(-num_labels // min(config.num_groups, num_labels))
        num_groups = -(-num_labels // self.group_size)
        self.register_buffer("queries", torch.randn(num_groups, config.channels))
        self.project = nn.Linear(shapes.final_channels, config.channels)
        self.decoder = GroupDecoder(config)
        self.group_fc = GroupFC(num_groups, config.channels, self.group_size)

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images."""
        tokens = functional.relu(self.project(maps.final.flatten(2).transpose(1, 2)))
        decoded, attention = self.decoder(self.queries, tokens)
        per_label = attention.repeat_interleave(self.group_size, dim=1)[:, : self.num_labels]
        return HeadOutput(
            logits=self.group_fc(decoded)[:, : self.num_labels],
            branches={},
            maps={"attention": per_label.unflatten(2, maps.final.shape[-2:])},
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """The attention of the query of each label's group."""
        kind = QUERY_ATTENTION if self.group_size == 1 else GROUP_ATTENTION
        return {"queries": output_map("attention", kind)}

    def label_axes(self) -> Mapping[str, LabelAxis] | None:
        """Those of queries and classifiers; None if several labels share a query."""
        names = ("queries", "group_fc.weight", "group_fc.bias")
        return {name: LabelAxis() for name in names} if self.group_size == 1 else None


@final
class GroupDecoder(nn.Module):
    """A transformer decoder layer without self-attention; all images have the same queries."""

    def __init__(self, config: MLDecoderConfig) -> None:
        super().__init__()
        channels, hidden = config.channels, config.feedforward_channels
        self.heads = config.attention_heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(config.dropout)
        self.norm1 = nn.LayerNorm(channels)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, channels),
        )
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, Q, D] and attention [N, Q, P] of queries [Q, D] over tokens [N, P, D]."""
        attended, attention = self._attend(queries, tokens)
        features = self.norm1(queries + self.dropout(attended))
        return self.norm2(features + self.dropout(self.feedforward(features))), attention

    def _attend(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for projected in (self.query(queries), self.key(tokens), self.value(tokens))
        )
        # The query is scaled first, so that fp16 does not overflow. The softmax is always in fp32.
        products = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        attention = products.float().softmax(-1)  # [N, heads, Q, P]
        attended = self.dropout(attention).to(value.dtype) @ value
        return self.out(attended.transpose(1, 2).flatten(2)), attention.mean(1)


@final
class GroupFC(nn.Module):
    """Group fully connected pooling: query k gives the logits of labels k * g to k * g + g - 1."""

    def __init__(self, num_groups: int, channels: int, group_size: int) -> None:
        super().__init__()
        bound = channels**-0.5  # as in nn.Linear
        self.weight = nn.Parameter(torch.empty(num_groups, channels, group_size))
        self.bias = nn.Parameter(torch.empty(num_groups * group_size))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, Q * g] of features [N, Q, D]; those after the last label have no meaning."""
        return torch.einsum("nqd,qdg->nqg", features, self.weight).flatten(1) + self.bias
