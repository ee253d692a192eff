"""What a head takes from the training set before its first step: ML-GCN's graph and vectors."""

from __future__ import annotations

import torch

from manylabel.data.label_graph import label_graph, read_label_vectors
from manylabel.data.records import Records
from manylabel.models.heads import Head, HeadConfig, MLGCNConfig, MLGCNHead


def fill_graph(head: Head, config: HeadConfig, records: Records) -> None:
    """Give `head` the label graph of the train split and the vectors of its file, if it takes any.

    Raises:
        DataError: The file of vectors cannot be read, or lacks a label.
    """
    if not isinstance(config, MLGCNConfig):
        return
    assert isinstance(head, MLGCNHead)
    targets = records.split("train").targets
    graph = label_graph(targets, tau=config.tau, neighbour_weight=config.neighbour_weight)
    head.set_graph(torch.from_numpy(graph))
    if config.vector_file is not None:
        vectors = read_label_vectors(config.vector_file, records.labels, config.vector_size)
        head.set_vectors(torch.from_numpy(vectors))
