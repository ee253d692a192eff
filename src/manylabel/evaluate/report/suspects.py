"""Finds targets that are probably wrong, by confident learning; needs cleanlab.

Source: Northcutt, Jiang and Chuang, "Confident Learning" (JAIR 2021), applied to each label
separately, as cleanlab implements it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.errors import MissingExtraError, to_install
from manylabel.labels import PRESENT, UNKNOWN

SHOWN: Final = 12
"""The number of suspects that a report shows."""

MOST_LABELS: Final = 500
"""The largest number of labels to check: those with most positives. It takes a few seconds."""

_LEAST_IMAGES: Final = 5
"""The smallest number of positives, and of negatives, of a label that is checked."""


@final
@dataclass(frozen=True, slots=True)
class Suspect:
    """A target that may be wrong: its row and column, its value, and the model's score."""

    image: int
    label: int
    present: bool
    score: float


@final
@dataclass(frozen=True, slots=True)
class Suspects:
    """The targets that are most probably wrong, and how many were found.

    Args:
        shown: The most probable ones; the one that the model contradicts most is the first.
        total: The number of all suspects.
        labels: The number of labels that were checked.
    """

    shown: tuple[Suspect, ...]
    total: int
    labels: int


def suspected_errors(
    scores: NDArray[np.floating[Any]], targets: NDArray[np.int8], *, shown: int = SHOWN
) -> Suspects:
    """Known targets that the scores contradict more strongly than usual for the label.

    Args:
        scores: [N, C], 0..1, of images that the model was not trained on.
        targets: [N, C] of 1, 0 and -1.
        shown: The largest number of suspects to return.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    find = _cleanlab()
    columns = _labels_to_check(targets)
    found = [
        suspect
        for label in columns
        for suspect in _find_in_label(find, scores[:, label], targets[:, label], label)
    ]
    found.sort(key=_agreement)
    return Suspects(tuple(found[:shown]), len(found), len(columns))


def _cleanlab() -> Any:
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise MissingExtraError(
            "Finding wrong targets needs cleanlab.",
            where="suspected label errors",
            fix=to_install("cleanlab"),
        ) from None
    return find_label_issues


def _labels_to_check(targets: NDArray[np.int8]) -> list[int]:
    present = (targets == PRESENT).sum(axis=0)
    absent = (targets != UNKNOWN).sum(axis=0) - present
    enough = np.flatnonzero(np.minimum(present, absent) >= _LEAST_IMAGES)
    return enough[np.argsort(-present[enough], kind="stable")][:MOST_LABELS].tolist()


def _find_in_label(
    find: Any, scores: NDArray[np.floating[Any]], targets: NDArray[np.int8], label: int
) -> list[Suspect]:
    rows = np.flatnonzero(targets != UNKNOWN)
    given, positive = targets[rows].astype(np.int64), scores[rows].astype(np.float64)
    with warnings.catch_warnings():
        # cleanlab warns if it finds few errors in a label, which is no problem here.
        warnings.simplefilter("ignore", UserWarning)
        wrong = find(
            given,
            np.stack([1 - positive, positive], axis=1),
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
    return [Suspect(int(rows[i]), label, bool(given[i]), float(positive[i])) for i in wrong]


def _agreement(suspect: Suspect) -> float:
    """The score of the model for the target's value, 0..1."""
    return suspect.score if suspect.present else 1 - suspect.score
