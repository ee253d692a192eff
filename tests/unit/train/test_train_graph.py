"""What ML-GCN takes from a training set, and what of it a bundle holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from manylabel.bundle import self_contained
from manylabel.data.label_graph import label_graph
from manylabel.data.records import Record, Records, Split
from manylabel.errors import DataError
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig, MapShapes
from manylabel.models.classifier import ModelConfig, build_classifier
from manylabel.models.heads import LinearConfig, LinearHead, MLGCNConfig, MLGCNHead
from manylabel.models.heads.ml_gcn import normalised
from manylabel.preprocess import InputSpec
from manylabel.train.graph import fill_graph

SHAPES = MapShapes(8, 6, (4, 4))
TRAIN = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [1, -1, 0]], dtype=np.int8)
TEST = np.array([[0, 1, 1]] * 9, dtype=np.int8)


def make_records() -> Records:
    parts: dict[Split, NDArray[np.int8]] = {"train": TRAIN, "test": TEST}
    items = [
        Record(f"{split}{i}", Path(f"{split}{i}.jpg"), row, split)
        for split, targets in parts.items()
        for i, row in enumerate(targets)
    ]
    return Records.of(LabelSpace(["cat", "dog", "owl"]), tuple(items), "drawn")


def test_the_graph_is_that_of_the_train_split():
    config = MLGCNConfig(vector_size=2, hidden_channels=4)
    head = MLGCNHead(config, SHAPES, 3)
    before = head.vectors.clone()
    fill_graph(head, config, make_records())
    expected = normalised(torch.from_numpy(label_graph(TRAIN, tau=0.4, neighbour_weight=0.2)))
    assert torch.equal(head.adjacency, expected)
    assert not torch.equal(expected, torch.eye(3))
    assert torch.equal(head.vectors, before)


def test_vectors_come_from_the_file(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("owl 5 6\ncat 1 2\ndog 3 4\n")
    config = MLGCNConfig(vector_size=2, hidden_channels=4, vector_file=path)
    head = MLGCNHead(config, SHAPES, 3)
    fill_graph(head, config, make_records())
    assert head.vectors.tolist() == [[1, 2], [3, 4], [5, 6]]
    path.write_text("owl 5 6\n")
    with pytest.raises(DataError, match="2 of 3 labels have no vector"):
        fill_graph(head, config, make_records())


def test_other_heads_take_nothing():
    head = LinearHead.build(LinearConfig(), SHAPES, 3)
    before = {key: value.clone() for key, value in head.state_dict().items()}
    fill_graph(head, LinearConfig(), make_records())
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())


def test_a_bundle_names_no_file():
    config = MLGCNConfig(vector_size=2, hidden_channels=4, vector_file=Path("gone.txt"))
    model = ModelConfig(backbone=BackboneConfig(name="test_resnet", pretrained=False), head=config)
    classifier = build_classifier(model, 3, InputSpec(height=64, width=64))
    whole = self_contained(model, classifier).head
    assert whole == config.model_copy(update={"vector_file": None})
