"""A graph of labels from any training set: which label makes which other one likely.

Source: Z.-M. Chen, X.-S. Wei, P. Wang, Y. Guo, "Multi-Label Image Recognition with Graph
Convolutional Networks", CVPR 2019, arXiv:1904.03582, the section on the correlation matrix.
Deliberate difference: unknown targets are left out, where the paper has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.parsing import finite
from manylabel.errors import DataError
from manylabel.files import read_lines
from manylabel.labels import PRESENT, UNKNOWN, LabelSpace

_ROWS: Final = 4096
"""Images counted at a time: bounds memory, and keeps single-precision counts exact."""

_LARGEST: Final = float(np.finfo(np.float32).max)


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
    together, looked_at = (np.zeros((num_labels, num_labels)) for _ in range(2))
    for start in range(0, len(targets), _ROWS):
        rows = targets[start : start + _ROWS]
        present = (rows == PRESENT).astype(np.float32)
        together += present.T @ present
        looked_at += present.T @ (rows != UNKNOWN).astype(np.float32)
    return np.divide(together, looked_at, out=np.zeros_like(together), where=looked_at > 0)


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
        number = finite(float(field))
    except ValueError:
        number = None
    if number is None or abs(number) > _LARGEST:
        raise _unfit(f"{field!r} is no number that can be used", where, size)
    return number


def _unfit(what: str, where: str, size: int) -> DataError:
    return DataError(
        f"{what}.",
        where=where,
        fix=f"Write a label's name and its {size} numbers on a line, or set head.vector_size to "
        "how many there are.",
    )
