"""ML-GCN: one linear classifier a label, made by a graph network over the labels.

    label graph A', vectors of the labels ── GraphLayer ── GraphLayer ── W [C, E] ─┬─ logits = x W^T
    backbone ── final map ── max over the positions ───────────────────── x [N, E] ─┘

Labels that often occur together share what they learn: each classifier is mixed from its
neighbours' vectors. The graph is counted from the training set (`label_graph`).

Source: Z.-M. Chen, X.-S. Wei, P. Wang, Y. Guo, "Multi-Label Image Recognition with Graph
Convolutional Networks", CVPR 2019, arXiv:1904.03582, section 3. Deliberate differences: the
labels' vectors are learned unless a file gives them (the paper's are GloVe's, fixed); weights start
so that the classifiers are about as large as a linear layer's (the paper does not say how); unknown
targets are left out of the graph's counts (the paper has none).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from manylabel.errors import DataError
from manylabel.files import read_lines
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.base import Evidence, Head, HeadConfig, HeadOutput, class_activation
from manylabel.models.heads.main_net import Pool, Pooling

_SLOPE: Final = 0.2
"""Of the leaky ReLU between the two layers; the paper's."""

_ROWS: Final = 4096
"""Images counted at a time: bounds memory, and keeps single-precision counts exact."""

_LARGEST: Final = float(np.finfo(np.float32).max)


class MLGCNConfig(HeadConfig):
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

    A new head has no edges and random vectors. Before training, `prepare` gives it the graph of the
    training set and the vectors of the file, if there is one; both are then part of the weights, so
    a bundle is whole. It has no main net, no branches and no maps.
    """

    Config = MLGCNConfig

    adjacency: Tensor
    """The normalised graph [C, C]."""
    vectors: Tensor
    """The labels' vectors [C, V]."""

    def __init__(self, config: MLGCNConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        self.tau, self.neighbour_weight = config.tau, config.neighbour_weight
        self.vector_file = config.vector_file
        vectors, channels = torch.randn(len(labels), config.vector_size), shapes.final_channels
        if config.vectors == "learned":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.register_buffer("adjacency", torch.eye(len(labels)))
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

    def evidence(self) -> Mapping[str, Evidence]:
        """Class activation maps, by the classifiers that the graph makes."""
        return {"cam": class_activation(self.label_weights)}

    def prepare(self, targets: NDArray[np.int8]) -> None:
        """Take the graph of the training targets, and the vectors of the file if one is named.

        Raises:
            DataError: The file of vectors cannot be read, or lacks a label.
        """
        super().prepare(targets)
        graph = label_graph(targets, tau=self.tau, neighbour_weight=self.neighbour_weight)
        self.set_graph(torch.from_numpy(graph))
        if self.vector_file is not None:
            vectors = read_label_vectors(self.vector_file, self.labels, self.vectors.shape[1])
            self.set_vectors(torch.from_numpy(vectors))

    def settled(self) -> HeadConfig:
        """The settings without the file of vectors, which are part of the weights."""
        return self.config.model_copy(update={"vector_file": None})

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


def conditional_probabilities(targets: NDArray[np.int8]) -> NDArray[np.float64]:
    """P [C, C]: row i, column j is how often label j is present where label i is, 0..1.

    Of the images with label i, those count whose target of j is known. Where there are none, as
    in the row of a label that was never seen, the probability is 0.

    Args:
        targets: [N, C] in 1 / 0 / -1.

    Example:
        >>> conditional_probabilities(np.array([[1, 1], [1, 0], [1, -1]], dtype=np.int8)).tolist()
        [[1.0, 0.5], [1.0, 1.0]]
    """
    num_labels = targets.shape[1]
    both, known = (np.zeros((num_labels, num_labels)) for _ in range(2))
    for start in range(0, len(targets), _ROWS):
        rows = targets[start : start + _ROWS]
        present = (rows == PRESENT).astype(np.float32)
        both += present.T @ present
        known += present.T @ (rows != UNKNOWN).astype(np.float32)
    return np.divide(both, known, out=np.zeros_like(both), where=known > 0)


def label_graph(
    targets: NDArray[np.int8], *, tau: float, neighbour_weight: float
) -> NDArray[np.float32]:
    """A' [C, C]: row i says how much label i takes from each label.

    Label i points to label j where P(j | i) >= `tau`. It takes `neighbour_weight` in equal shares
    from those that it points to and the rest from itself. A label that points nowhere, as one that
    was never seen, has only its own entry.

    Args:
        targets: [N, C] in 1 / 0 / -1, of the training split alone.
        tau: Over 0, at most 1: weaker ties are taken for noise.
        neighbour_weight: From 0 to below 1; the paper's p.

    Example:
        >>> targets = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=np.int8)
        >>> label_graph(targets, tau=0.4, neighbour_weight=0.25).tolist()
        [[0.75, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 0.75]]
    """
    edges = conditional_probabilities(targets) >= tau
    np.fill_diagonal(edges, False)
    neighbours = edges.sum(1, keepdims=True)
    graph = neighbour_weight * edges / np.maximum(neighbours, 1)
    np.fill_diagonal(graph, 1 - neighbour_weight)
    return graph.astype(np.float32)


def read_label_vectors(path: Path, labels: LabelSpace, size: int) -> NDArray[np.float32]:
    """A vector a label [C, size], in the labels' order, from a text file.

    A line holds a name and `size` numbers with blanks or tabs between; the name may have blanks in
    it. Names that are no labels are passed over, so that one file can serve many data sets.

    Raises:
        DataError: The file cannot be read, a line does not fit, a name is given twice, or a label
            has no line.
    """
    found: dict[str, list[float]] = {}
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        name, *fields = line.rsplit(maxsplit=size)
        if len(fields) != size:
            raise _unfit(f"The line holds fewer than {size} numbers", where, size)
        if name in found:
            raise DataError(
                f"The vector of {name!r} is given twice.", where=where, fix="Keep one of the lines."
            )
        found[name] = [_number(field, where, size) for field in fields]
    if missing := [name for name in labels if name not in found]:
        raise DataError(
            f"{len(missing)} of {len(labels)} labels have no vector: {', '.join(missing[:5])}.",
            where=str(path),
            fix="Give each a line: the label's name as the data set spells it, and as many numbers "
            "as head.vector_size says.",
        )
    return np.array([found[name] for name in labels], dtype=np.float32)


def _number(field: str, where: str, size: int) -> float:
    try:
        number = float(field)
    except ValueError:
        number = float("nan")
    if not abs(number) <= _LARGEST:  # of NaN, this is false
        raise _unfit(f"{field!r} is no number that can be used", where, size)
    return number


def _unfit(what: str, where: str, size: int) -> DataError:
    return DataError(
        f"{what}.",
        where=where,
        fix=f"Write a label's name and its {size} numbers on a line, or set head.vector_size to "
        "how many there are.",
    )
