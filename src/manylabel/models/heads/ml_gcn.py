"""ML-GCN: one linear classifier a label, made by a graph network over the labels.

    label graph A', vectors of the labels ── GraphLayer ── GraphLayer ── W [C, E] ─┬─ logits = x W^T
    backbone ── final map ── max over the positions ───────────────────── x [N, E] ─┘

Labels that often occur together share what they learn: each classifier is mixed from its
neighbours' vectors. The graph is counted from the training set (`manylabel.data.label_graph`).

Source: Z.-M. Chen, X.-S. Wei, P. Wang, Y. Guo, "Multi-Label Image Recognition with Graph
Convolutional Networks", CVPR 2019, arXiv:1904.03582, section 3. Deliberate differences: the
labels' vectors are learned unless a file gives them (the paper's are GloVe's, fixed); weights start
so that the classifiers are about as large as a linear layer's (the paper does not say how).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from manylabel.config import Config
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.base import Head, HeadOutput, Pool, Pooling

_SLOPE: Final = 0.2
"""Of the leaky ReLU between the two layers; the paper's."""


class MLGCNConfig(Config):
    """ML-GCN's settings; the defaults are the paper's but for the labels' vectors."""

    name: Literal["ml-gcn"] = "ml-gcn"
    """Which head."""
    pool: Pool = "max"
    """How the final map is pooled: `max` (the paper's), `avg` or `gem`."""
    tau: float = Field(default=0.4, gt=0, le=1)
    """A label points to another where the other is present in at least this share of its images."""
    neighbour_weight: float = Field(default=0.2, ge=0, lt=1)
    """The share of a label's new vector that comes from its neighbours; the paper's p."""
    vectors: Literal["learned", "fixed"] = "learned"
    """`learned`: the labels' vectors are trained as well. `fixed` (the paper's): they stay what
    `vector_file` gives, or random without a file."""
    vector_file: Path | None = None
    """Text with a line a label, its name and its numbers, such as averaged word vectors."""
    vector_size: int = Field(default=300, ge=1)
    """Numbers in a label's vector."""
    hidden_channels: int = Field(default=1024, ge=1)
    """Channels between the two graph layers."""


@final
class MLGCNHead(Head):
    """Pooled features and classifiers made from a graph of labels; any map size works.

    A new head has no edges and random vectors. Training gives it the graph of its training set
    (`set_graph`) and vectors from a file (`set_vectors`); both are then part of the weights, so a
    bundle is whole. It has no main net, no branches and no maps.
    """

    adjacency: Tensor
    """The normalised graph [C, C]."""
    vectors: Tensor
    """The labels' vectors [C, V]."""

    def __init__(self, config: MLGCNConfig, shapes: MapShapes, num_labels: int) -> None:
        super().__init__()
        vectors, channels = torch.randn(num_labels, config.vector_size), shapes.final_channels
        if config.vectors == "learned":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.register_buffer("adjacency", torch.eye(num_labels))
        self.pooling = Pooling(config.pool)
        self.layer1 = nn.Linear(config.vector_size, config.hidden_channels, bias=False)
        self.layer2 = nn.Linear(config.hidden_channels, channels, bias=False)
        # A hidden channel's variance is near 1, a classifier's near 1 / E.
        nn.init.normal_(self.layer1.weight, std=config.vector_size**-0.5)
        nn.init.normal_(self.layer2.weight, std=(config.hidden_channels * channels) ** -0.5)

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images: each label's classifier applied to the pooled features."""
        logits = functional.linear(self.pooling(maps.final), self.label_weights())
        return HeadOutput(logits, branches={}, maps={})

    def label_weights(self) -> Tensor:
        """The labels' classifiers [C, E]: two graph layers over their vectors.

        They depend on no image: in use they are constants, and the head is a linear layer.
        """
        # A neighbourhood is summed before each product with weights: there are fewer channels then.
        hidden = functional.leaky_relu(self.layer1(self.adjacency @ self.vectors), _SLOPE)
        return self.layer2(self.adjacency @ hidden)

    @torch.no_grad()
    def set_graph(self, graph: Tensor) -> None:
        """Take a label graph A' [C, C]; row i holds what label i takes from each label."""
        self.adjacency.copy_(normalised(graph))

    @torch.no_grad()
    def set_vectors(self, vectors: Tensor) -> None:
        """Take the labels' vectors [C, V], in the order of the labels."""
        assert vectors.shape == self.vectors.shape, (vectors.shape, self.vectors.shape)
        self.vectors.copy_(vectors)


def normalised(graph: Tensor) -> Tensor:
    """D^-1/2 A' D^-1/2 [C, C], D holding the sums of the rows of A' [C, C], all over 0."""
    scale = graph.sum(1).rsqrt()
    return scale[:, None] * graph * scale
