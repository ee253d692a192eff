"""ML-GCN beside a plain NumPy transcription, and the effect of its graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from manylabel.errors import DataError
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.ml_gcn import MLGCNConfig, MLGCNHead, label_graph, normalised

SHAPES = MapShapes(mid_channels=8, final_channels=6, grid=(5, 4))
LABELS = 4
GRAPH = np.array(
    [[0.8, 0.1, 0.1, 0.0], [0.2, 0.8, 0.0, 0.0], [0.0, 0.0, 0.8, 0.0], [0.0, 0.2, 0.0, 0.8]]
)
"""Label 2 has no edges to other labels, and no label has an edge to label 3."""


def make_head(num_labels: int = LABELS, **options) -> MLGCNHead:
    config = MLGCNConfig.model_validate({"vector_size": 5, "hidden_channels": 7, **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MLGCNHead(config, SHAPES, LabelSpace.numbered(num_labels)).eval()


def draw() -> FeatureMaps:
    generator = torch.Generator().manual_seed(1)
    mid = torch.randn(3, SHAPES.mid_channels, *SHAPES.grid, generator=generator)
    return FeatureMaps(mid, torch.randn(3, SHAPES.final_channels, 3, 2, generator=generator))


def reference(head: MLGCNHead, graph: np.ndarray) -> np.ndarray:
    """Logits by the paper's equations, label by label."""
    w = {key: value.double().numpy() for key, value in head.state_dict().items()}
    degrees = graph.sum(1)
    hat = np.array(
        [
            [graph[i, j] / np.sqrt(degrees[i] * degrees[j]) for j in range(LABELS)]
            for i in range(LABELS)
        ]
    )
    hidden = hat @ w["vectors"] @ w["layer1.weight"].T
    hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
    classifiers = hat @ hidden @ w["layer2.weight"].T
    return draw().final.double().numpy().max((2, 3)) @ classifiers.T


@pytest.mark.parametrize("vectors", ["learned", "fixed"])
def test_every_equation(vectors):
    head = make_head(vectors=vectors)
    head.set_graph(torch.from_numpy(GRAPH))
    with torch.no_grad():
        found = head(draw())
    np.testing.assert_allclose(found.logits.numpy(), reference(head, GRAPH), rtol=1e-4, atol=1e-6)
    assert (found.branches, found.maps, found.units) == ({}, {}, None)


def test_a_new_head_has_no_edges():
    head = make_head()
    found = head(draw()).logits.detach().numpy()
    np.testing.assert_allclose(found, reference(head, np.eye(LABELS)), rtol=1e-4, atol=1e-6)


def test_a_labels_classifier_depends_on_its_neighbours():
    """Label 0's logits depend on label 1's vector along an edge, and not without one."""
    felt = {}
    for name, graph in (("edges", GRAPH), ("none", np.eye(LABELS))):
        head = make_head()
        head.set_graph(torch.from_numpy(graph))
        (gradient,) = torch.autograd.grad(head(draw()).logits[:, 0].sum(), [head.vectors])
        felt[name] = gradient.abs().sum(1) > 0
    assert felt["edges"].tolist() == [True, True, True, False]
    assert felt["none"].tolist() == [True, False, False, False]


def test_normalised_by_hand():
    graph = torch.tensor([[3.0, 1.0], [0.0, 1.0]])
    torch.testing.assert_close(normalised(graph), torch.tensor([[0.75, 0.5], [0.0, 1.0]]))


def test_a_label_without_edges_has_only_its_own_entry():
    head = make_head()
    head.set_graph(torch.from_numpy(GRAPH))
    assert head.adjacency[2].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("vectors", ["learned", "fixed"])
def test_given_vectors_are_learned_or_fixed(vectors):
    head, given = make_head(vectors=vectors), torch.arange(20.0).view(LABELS, 5)
    head.set_vectors(given)
    assert torch.equal(head.vectors, given)
    names = [name for name, _ in head.named_parameters()]
    assert ("vectors" in names) == (vectors == "learned")
    assert {"vectors", "adjacency"} <= head.state_dict().keys()


def test_the_graph_travels_in_the_weights():
    head, other = make_head(), make_head()
    head.set_graph(torch.from_numpy(GRAPH))
    assert not torch.equal(head(draw()).logits, other(draw()).logits)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head(draw()).logits, other(draw()).logits)


def test_in_use_it_is_a_linear_layer():
    head, maps = make_head(), draw()
    expected = maps.final.amax((2, 3)) @ head.label_weights().T
    torch.testing.assert_close(head(maps).logits, expected)


def test_classifiers_start_as_large_as_a_linear_layers():
    """At the paper's sizes, with pooled features of order one, logits are of order one."""
    torch.manual_seed(0)
    head = MLGCNHead(MLGCNConfig(), MapShapes(1024, 2048, (14, 14)), LabelSpace.numbered(80))
    linear = torch.nn.Linear(2048, 80)
    ratio = head.label_weights().std() / linear.weight.std()
    assert 0.5 < ratio < 2


# ---- what it takes from the training set -------------------------------------------------------

NAMED = LabelSpace(["cat", "dog", "owl"])
TARGETS = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [1, -1, 0]], dtype=np.int8)


def make_named(**options) -> MLGCNHead:
    config = MLGCNConfig.model_validate({"vector_size": 2, "hidden_channels": 4, **options})
    return MLGCNHead(config, SHAPES, NAMED)


def test_it_takes_the_graph_of_the_training_targets():
    head = make_named(tau=0.3, neighbour_weight=0.4)
    before = head.vectors.clone()
    head.prepare(TARGETS)
    expected = normalised(torch.from_numpy(label_graph(TARGETS, tau=0.3, neighbour_weight=0.4)))
    assert torch.equal(head.adjacency, expected)
    assert not torch.equal(expected, torch.eye(3))
    assert torch.equal(head.vectors, before)


def test_it_takes_the_vectors_of_its_file_in_the_order_of_the_labels(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("owl 5 6\ncat 1 2\ndog 3 4\n")
    head = make_named(vector_file=path)
    head.prepare(TARGETS)
    assert head.vectors.tolist() == [[1, 2], [3, 4], [5, 6]]
    path.write_text("owl 5 6\n")
    with pytest.raises(DataError, match="2 of 3 labels have no vector"):
        head.prepare(TARGETS)


def test_settled_settings_name_no_file():
    head = make_named(vector_file=Path("gone.txt"))
    assert head.settled() == head.config.model_copy(update={"vector_file": None})
