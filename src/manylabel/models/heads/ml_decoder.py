"""ML-Decoder: a few fixed queries look at the final map, and each answers for a group of labels.

    final map ── linear, ReLU: tokens E ─┐
    queries G (fixed, one a group) ──────┴─ cross-attention ── feed-forward ── group FC ── logits

Source: T. Ridnik, G. Sharir, A. Ben-Cohen, E. Ben-Baruch, A. Noy, "ML-Decoder: Scalable and
Versatile Classification Head", WACV 2023, arXiv:2111.12933, section 2 and its group-decoding and
group fully connected equations. A transformer decoder's layer loses its self-attention over the
queries, which costs C x C; the queries are drawn once and never learned, since the projection that
the attention puts them through is. Cost then depends on the groups, and almost not on the labels.

Differences from the paper:
- Where groups of equal size leave some without labels (150 labels, 100 groups), there are fewer.
- The queries are the same for all images, so they are projected once a batch.
- No normalisation of the bare queries, which are drawn normal, and no bias in the keys'
  projection, which a softmax over the positions cannot see.
- The group FC has a bias.
"""

from __future__ import annotations

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


class MLDecoderConfig(HeadConfig):
    """ML-Decoder's settings; the defaults are the paper's."""

    name: Literal["ml-decoder"] = "ml-decoder"
    """Which head."""
    num_groups: int = Field(default=100, ge=1)
    """Groups of labels at most, one query each. Up to so many labels, each has its own query."""
    channels: int = Field(default=768, ge=1)
    """Channels of the tokens and queries."""
    attention_heads: int = Field(default=8, ge=1)
    """Heads of the cross-attention; they share the channels."""
    feedforward_channels: int = Field(default=2048, ge=1)
    """Channels of the feed-forward's hidden layer."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Part of the activations set to zero in training."""

    @model_validator(mode="after")
    def _share(self) -> MLDecoderConfig:
        if self.channels % self.attention_heads:
            raise ValueError("channels have to be a multiple of attention_heads")
        return self


@final
class MLDecoderHead(Head):
    """One decoder layer from the final map's tokens to group queries, and a group FC.

    No branches. Map `attention`: where the query of a label's group looked, averaged over the
    attention's heads; of the final map's size, sums to 1. Labels of one group share it.
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
        of_label = attention.repeat_interleave(self.group_size, dim=1)[:, : self.num_labels]
        return HeadOutput(
            logits=self.group_fc(decoded)[:, : self.num_labels],
            branches={},
            maps={"attention": of_label.unflatten(2, maps.final.shape[-2:])},
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """Where each label's query looked."""
        return {"queries": output_map("attention", QUERY_ATTENTION)}


@final
class GroupDecoder(nn.Module):
    """A transformer decoder's layer without self-attention, for queries that no image changes."""

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
        """Features [N, Q, D] of queries [Q, D] and tokens [N, P, D]; where they look [N, Q, P]."""
        attended, attention = self._attend(queries, tokens)
        features = self.norm1(queries + self.dropout(attended))
        return self.norm2(features + self.dropout(self.feedforward(features))), attention

    def _attend(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for projected in (self.query(queries), self.key(tokens), self.value(tokens))
        )
        # Scaled first, so that fp16 does not overflow; then fp32, whatever the run's precision.
        products = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        attention = products.float().softmax(-1)  # [N, heads, Q, P]
        attended = self.dropout(attention).to(value.dtype) @ value
        return self.out(attended.transpose(1, 2).flatten(2)), attention.mean(1)


@final
class GroupFC(nn.Module):
    """Group fully connected pooling: query k gives the logits of labels k * g to k * g + g - 1."""

    def __init__(self, num_groups: int, channels: int, group_size: int) -> None:
        super().__init__()
        bound = channels**-0.5  # as nn.Linear's
        self.weight = nn.Parameter(torch.empty(num_groups, channels, group_size))
        self.bias = nn.Parameter(torch.empty(num_groups * group_size))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, Q * g] of features [N, Q, D]; those past the last label mean nothing."""
        return torch.einsum("nqd,qdg->nqg", features, self.weight).flatten(1) + self.bias
