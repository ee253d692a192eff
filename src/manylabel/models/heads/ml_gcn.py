"""ML-GCN: one linear classifier per label, computed by a graph network over the labels.

    label graph A', vectors of the labels ── GraphLayer ── GraphLayer ── W [C, E] ─┬─ logits = x W^T
    backbone ── final map ── max over the positions ───────────────────── x [N, E] ─┘

Labels that often occur together share what they learn: each classifier is a mixture of the vectors
of its label and of the label's neighbours. The graph is counted in the training set
(`label_graph`).

Source: Z.-M. Chen, X.-S. Wei, P. Wang, Y. Guo, "Multi-Label Image Recognition with Graph
Convolutional Networks", CVPR 2019, arXiv:1904.03582, section 3. Deliberate differences:
- By default the labels' vectors are random at first and learned. The paper's are GloVe vectors,
  which stay fixed.
- The initial weights make the classifiers about as large as those of a linear layer. The paper does
  not say how the weights start.
- Unknown targets are left out of the graph's counts. The paper has none.
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
from manylabel.models.heads.base import (
    Channels,
    Evidence,
    Head,
    HeadConfig,
    HeadOutput,
    LabelAxis,
    class_activation,
)
from manylabel.models.heads.main_net import Pool, Pooling

_SLOPE: Final = 0.2
"""The negative slope of the leaky ReLU between the two layers; the paper's."""

_ROWS: Final = 4096
"""Images that are counted at a time. It limits memory and keeps counts in fp32 exact."""

_LARGEST: Final = float(np.finfo(np.float32).max)
"""The largest number in a vector."""


class MLGCNConfig(HeadConfig):
    """ML-GCN's settings. The defaults are the paper's, except for the labels' vectors."""

    name: Literal["ml-gcn"] = "ml-gcn"
    """Which head."""
    pool: Pool = "max"
    """How the final map is pooled: `max` (the paper's), `avg` or `gem`."""
    tau: float = Field(default=0.4, gt=0, le=1)
    """A label has an edge to another label if the other one is present in at least this fraction of
    the images that have the first one."""
    neighbour_weight: float = Field(default=0.2, ge=0, lt=1)
    """The fraction of a label's new vector that comes from its neighbours; the paper's p."""
    vectors: Literal["learned", "fixed"] = "learned"
    """`learned`: the labels' vectors are trained. `fixed` (the paper's): they are not trained.
    Either way they start from `vector_file`, or at random without a file."""
    vector_file: Path | None = None
    """A text file with one line for each label: its name and its numbers, for instance an averaged
    word vector."""
    vector_size: Channels = 300
    """The number of values in a label's vector."""
    hidden_channels: Channels = 1024
    """Channels between the two graph layers."""


@final
class MLGCNHead(Head):
    """Classifiers that are computed from a label graph and applied to pooled features.

    A new head has no edges and random vectors. Before training, `prepare` sets the graph of the
    training set, and the vectors of the file if there is one. Both are part of the weights, so a
    bundle needs no other file. The head has no main net, no branches and no maps. Any map size
    works.
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
        """The output for N images: the logits are the classifiers times the pooled features."""
        logits = functional.linear(self.pooling(maps.final), self.label_weights())
        return HeadOutput(logits, branches={}, maps={})

    def label_weights(self) -> Tensor:
        """The labels' classifiers [C, E]: two graph layers applied to the labels' vectors.

        They do not depend on the images. After training they are constant, and the head is a linear
        layer.
        """
        # Neighbours are summed before each product with weights, where there are fewer channels.
        hidden = functional.leaky_relu(self.layer1(self.adjacency @ self.vectors), _SLOPE)
        return self.layer2(self.adjacency @ hidden)

    def evidence(self) -> Mapping[str, Evidence]:
        """Class activation maps of the classifiers that the graph network computes."""
        return {"cam": class_activation(self.label_weights)}

    def label_axes(self) -> Mapping[str, LabelAxis | None]:
        """That of the labels' vectors. The graph is that of the new training set."""
        return {"vectors": LabelAxis(), "adjacency": None}

    def prepare(self, targets: NDArray[np.int8]) -> None:
        """Set the graph of the training targets, and the vectors of the file if there is one.

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
        """The settings without the file of vectors: the vectors are part of the weights."""
        return self.config.model_copy(update={"vector_file": None})

    @torch.no_grad()
    def set_graph(self, graph: Tensor) -> None:
        """Set the label graph A' [C, C]; row i holds the weight of each label for label i."""
        self.adjacency.copy_(normalised(graph))

    @torch.no_grad()
    def set_vectors(self, vectors: Tensor) -> None:
        """Set the labels' vectors [C, V], in the order of the labels."""
        assert vectors.shape == self.vectors.shape, (vectors.shape, self.vectors.shape)
        self.vectors.copy_(vectors)


def normalised(graph: Tensor) -> Tensor:
    """The normalised graph D^-1/2 A' D^-1/2 [C, C].

    Args:
        graph: A' [C, C]. D is the diagonal matrix of the sums of its rows, which must be above 0.
    """
    scale = graph.sum(1).rsqrt()
    return scale[:, None] * graph * scale


def conditional_probabilities(targets: NDArray[np.int8]) -> NDArray[np.float64]:
    """P [C, C]: row i, column j is the probability of label j given label i, 0..1.

    It is counted over the images that have label i and whose target for label j is known. If there
    are none, for instance because label i has no image, the probability is 0.

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
    """The label graph A' [C, C]; row i holds the weight of each label for label i.

    Label i has an edge to label j if P(j | i) >= `tau`. The labels that it has edges to share
    `neighbour_weight` equally, and label i itself has 1 - `neighbour_weight`. A label without
    edges, for instance one without images, has only its own entry, 1 - `neighbour_weight`.

    Args:
        targets: [N, C] in 1 / 0 / -1, of the training split alone.
        tau: Above 0 and at most 1. Lower probabilities count as noise.
        neighbour_weight: At least 0 and below 1; the paper's p.

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
    """The labels' vectors [C, size] from a text file, in the order of the labels.

    A line holds a name and `size` numbers, with spaces or tabs between them. The name may contain
    spaces. Names that are not labels are ignored, so one file can serve many data sets.

    Raises:
        DataError: The file cannot be read, a line cannot be read, a name is given twice, or a label
            has no line.
    """
    found: dict[str, list[float]] = {}
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        name, *fields = line.rsplit(maxsplit=size)
        if len(fields) != size:
            raise _line_error(f"The line has fewer than {size} numbers", where, size)
        if name in found:
            raise DataError(
                f"The file has two vectors for {name!r}.",
                where=where,
                fix="Keep one of the lines.",
            )
        found[name] = [_number(field, where, size) for field in fields]
    if missing := [name for name in labels if name not in found]:
        raise DataError(
            f"{len(missing)} of {len(labels)} labels have no vector: {', '.join(missing[:5])}.",
            where=str(path),
            fix="Add a line for each of them: the label's name as in the data set, and "
            f"{size} numbers (head.vector_size).",
        )
    return np.array([found[name] for name in labels], dtype=np.float32)


def _number(field: str, where: str, size: int) -> float:
    try:
        number = float(field)
    except ValueError:
        number = float("nan")
    if not abs(number) <= _LARGEST:  # a comparison with NaN is false
        raise _line_error(f"{field!r} is not a finite number in the range of fp32", where, size)
    return number


def _line_error(what: str, where: str, size: int) -> DataError:
    return DataError(
        f"{what}.",
        where=where,
        fix=f"Write a label's name and its {size} numbers on each line, or set head.vector_size to "
        "the number of values that a line has.",
    )
