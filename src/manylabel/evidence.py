"""Evidence maps: what their numbers mean, and what reads those of all labels together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class MapKind:
    """What one kind of evidence map shows.

    A map has a number for each label and position: how much that place speaks for the label. Only
    the numbers of one label's map can be compared with one another.

    Args:
        title: What a map shows, for people.
        low: No number in a map is below this; None: there is no bound.
        high: No number in a map is above this; None: there is no bound.
    """

    title: str
    low: float | None
    high: float | None


WEIGHTED_ATTENTION: Final = MapKind("SRN's weighted attention U", low=0, high=1)
"""A label's attention times its confidence; sums to at most 1 over the positions."""
QUERY_ATTENTION: Final = MapKind("where each label's query looked, present or not", low=0, high=1)
"""The attention of a label's query; sums to 1 over the positions, for absent labels, too."""
CLASS_ACTIVATION: Final = MapKind("class activation maps", low=None, high=None)
"""What each position adds to a label's logit; in logits, with a sign."""


@final
@dataclass(frozen=True, eq=False)
class RelationWeights:
    """What can be shown of the weights of a branch that reads the maps of all labels.

    K units look at G groups of labels. A group is a mixture of label maps; SRN's are the channels
    between conv3 and conv4.

    Args:
        kernels: float32 [K, h, w]: what each unit looks for.
        groups: int64 [K]: the group whose map each unit looks at.
        relative: What a place in a kernel is. False: a place in the image. True: an offset between
            two labels, from -(h // 2) to h // 2 rows and likewise columns; h and w are odd.
        label_to_group: float32 [G, C]: by how much the group's map rises at a place where a label
            has all its evidence, beside a place where no label has any.
        unit_to_label: float32 [C, K]: what one unit of each activation adds to a label's logit.
    """

    kernels: NDArray[np.float32]
    groups: NDArray[np.int64]
    relative: bool
    label_to_group: NDArray[np.float32]
    unit_to_label: NDArray[np.float32]
