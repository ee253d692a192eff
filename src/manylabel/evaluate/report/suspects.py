"""Targets that are suspected to be wrong, by confident learning; needs cleanlab.

Source: Northcutt, Jiang and Chuang, "Confident Learning" (JAIR 2021), of each label by itself,
as cleanlab carries it out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.errors import MissingExtraError
from manylabel.labels import PRESENT, UNKNOWN

SHOWN: Final = 12
"""Suspects that a page has room for."""

MOST_LABELS: Final = 500
"""Labels that are looked at, those with the most positives: keeps the work within seconds."""

_LEAST_IMAGES: Final = 5
"""Positives and negatives that it takes to say how sure a model usually is."""


@final
@dataclass(frozen=True, slots=True)
class Suspect:
    """A target that may be wrong: its row and column, what it says, and the model's score."""

    image: int
    label: int
    present: bool
    score: float


@final
@dataclass(frozen=True, slots=True)
class Suspects:
    """The targets most likely to be wrong, and how far was looked.

    Args:
        shown: The likeliest, those first that the model contradicts most.
        total: All that were found.
        labels: How many labels were looked at.
    """

    shown: tuple[Suspect, ...]
    total: int
    labels: int


def suspected_errors(
    scores: NDArray[np.floating[Any]], targets: NDArray[np.int8], *, shown: int = SHOWN
) -> Suspects:
    """Known targets that the scores contradict more than they usually err.

    Args:
        scores: [N, C], 0..1, of images that the model was not trained on.
        targets: [N, C] of 1, 0 and -1.
        shown: At most so many.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    find = _cleanlab()
    columns = _worth_a_look(targets)
    found = [
        suspect
        for label in columns
        for suspect in _of_label(find, scores[:, label], targets[:, label], label)
    ]
    found.sort(key=_agreement)
    return Suspects(tuple(found[:shown]), len(found), len(columns))


def _cleanlab() -> Any:
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise MissingExtraError(
            "Looking for wrong targets needs cleanlab.",
            where="suspected label errors",
            fix="Install it: pip install 'manylabel[cleanlab]'.",
        ) from None
    return find_label_issues


def _worth_a_look(targets: NDArray[np.int8]) -> list[int]:
    present = (targets == PRESENT).sum(axis=0)
    absent = (targets != UNKNOWN).sum(axis=0) - present
    enough = np.flatnonzero(np.minimum(present, absent) >= _LEAST_IMAGES)
    return enough[np.argsort(-present[enough], kind="stable")][:MOST_LABELS].tolist()


def _of_label(
    find: Any, scores: NDArray[np.floating[Any]], targets: NDArray[np.int8], label: int
) -> list[Suspect]:
    rows = np.flatnonzero(targets != UNKNOWN)
    given, sure = targets[rows].astype(np.int64), scores[rows].astype(np.float64)
    with warnings.catch_warnings():
        # It warns where a label has few errors to flag, which is no fault of anyone's.
        warnings.simplefilter("ignore", UserWarning)
        wrong = find(
            given,
            np.stack([1 - sure, sure], axis=1),
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
    return [Suspect(int(rows[i]), label, bool(given[i]), float(sure[i])) for i in wrong]


def _agreement(suspect: Suspect) -> float:
    """What the model gives to the target as it is, 0..1."""
    return suspect.score if suspect.present else 1 - suspect.score
