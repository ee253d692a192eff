"""Evidence maps: what their numbers mean, and what reads those of all labels together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.errors import ConfigError


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
        costly: Whether a map takes more than the model's forward pass: a backward pass for each
            label, or forward passes of changed images.
    """

    title: str
    low: float | None
    high: float | None
    costly: bool = False


WEIGHTED_ATTENTION: Final = MapKind("SRN's weighted attention U", low=0, high=1)
"""A label's attention times its confidence; sums to at most 1 over the positions."""
UNWEIGHTED_ATTENTION: Final = MapKind("SRN's attention A, present or not", low=0, high=1)
"""Where the model looks for a label; sums to 1 over the positions, for absent labels, too."""
CONFIDENCE: Final = MapKind("SRN's confidence, the sigmoid of S", low=0, high=1)
"""How sure the model is at each position that the label is there, wherever it looks."""
RELATED_ATTENTION: Final = MapKind(
    "weighted attention of the second look, which knows where other labels are", low=0, high=1
)
"""As `WEIGHTED_ATTENTION`, from the features and the layout of all labels."""
QUERY_ATTENTION: Final = MapKind("where each label's query looked, present or not", low=0, high=1)
"""The attention of a label's query; sums to 1 over the positions, for absent labels, too."""
GROUP_ATTENTION: Final = MapKind(
    "where the query of each label's group looked, present or not", low=0, high=1
)
"""As `QUERY_ATTENTION`, but several labels share a query and therefore have the same map."""
CLASS_ACTIVATION: Final = MapKind("class activation maps", low=None, high=None)
"""What each position adds to a label's logit; in logits, with a sign."""
SPATIAL_SCORES: Final = MapKind("CSRA's spatial scores", low=None, high=None)
"""What each position adds to a label's logit; they sum to the logit."""
OCCLUSION: Final = MapKind(
    "how far each label's logit falls when a patch is covered", low=None, high=None, costly=True
)
"""In logits; below 0 where covering the patch makes the label more likely."""


def find_method(name: str | None, known: Collection[str]) -> str:
    """The method of evidence maps called `name`, or the first one if `name` is None.

    Args:
        name: The method that is asked for.
        known: The methods that there are, the best one first.

    Raises:
        ConfigError: There is no such method. The error lists all of them and suggests the closest.
    """
    methods = list(known)
    if not methods:
        raise ConfigError(
            "The model has no evidence maps.", where="method", fix="Use a model with another head."
        )
    if name is None:
        return methods[0]
    if name not in methods:
        close = get_close_matches(name, methods, n=1)
        suggested = f"Did you mean '{close[0]}'? " if close else ""
        raise ConfigError(
            f"The model has no method of evidence maps '{name}'.",
            where="method",
            fix=f"{suggested}It has: {', '.join(methods)}.",
        )
    return name


@final
@dataclass(frozen=True, eq=False)
class RelationWeights:
    """What can be shown of the weights of a branch that reads the maps of all labels.

    K units look at G groups of labels. A group is a mixture of label maps; SRN's are the channels
    between conv3 and conv4.

    Args:
        kernels: float32 [K, h, w]: what each unit looks for.
        groups: int64 [K]: the group whose map each unit looks at.
        relative: What a place in a kernel is. False: a place in the image. True: a direction from
            the place where the unit is; above left, above, ..., below right, with h = w = 3.
        label_to_group: float32 [G, C]: by how much the group's map rises at a place where a label
            has all its evidence, beside a place where no label has any.
        unit_to_label: float32 [C, K]: what one unit of each activation adds to a label's logit.
    """

    kernels: NDArray[np.float32]
    groups: NDArray[np.int64]
    relative: bool
    label_to_group: NDArray[np.float32]
    unit_to_label: NDArray[np.float32]
