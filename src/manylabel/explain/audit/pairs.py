"""The usual companions of each label: the labels that are present with it more often than not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from manylabel.labels import PRESENT, UNKNOWN

_LABELS_AT_ONCE: Final = 256
_IMAGES_AT_ONCE: Final = 8192

Counts = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """A label and one of its companions, with the images in which the targets of both are known.

    Args:
        label: The column of the label.
        companion: The column of the companion.
        both: The number of images with both.
        label_only: The number of images with the label and without the companion.
        companion_only: The number of images with the companion and without the label.
        neither: The number of images without both.
    """

    label: int
    companion: int
    both: int
    label_only: int
    companion_only: int
    neither: int

    @property
    def images(self) -> int:
        """The number of images."""
        return self.both + self.label_only + self.companion_only + self.neither

    @property
    def share(self) -> float:
        """The share of the label's images that have the companion, 0..1."""
        return self.both / (self.both + self.label_only)

    @property
    def usual(self) -> float:
        """The share of all images that have the companion, 0..1."""
        return (self.both + self.companion_only) / self.images

    @property
    def lift(self) -> float:
        """How many times as often as by chance the two are together; 1 is by chance."""
        return self.share / self.usual


def usual_companions(
    targets: NDArray[np.int8], *, at_most: int, labels: Iterable[int] | None = None
) -> list[Pair]:
    """The usual companions of each label, those that come with it most often first.

    A label's companions are the labels with a lift above 1. They are ordered by how much more often
    they are present in the label's images than in all images. An image counts for a pair if the
    targets of both are known.

    Args:
        targets: [N, C] of 1 present, 0 absent, -1 unknown.
        at_most: The largest number of companions of a label.
        labels: The columns of the labels; all of them if not given.
    """
    wanted = list(range(targets.shape[1]) if labels is None else labels)
    return [
        pair
        for start in range(0, len(wanted), _LABELS_AT_ONCE)
        for pair in _of_some(targets, wanted[start : start + _LABELS_AT_ONCE], at_most)
    ]


def _of_some(targets: NDArray[np.int8], labels: list[int], at_most: int) -> Iterator[Pair]:
    both, first, second, known = _counted(targets, labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        more = both / first - second / known
        more[~(both * known > first * second)] = -np.inf  # no lift above 1, or no image
    more[np.arange(len(labels)), labels] = -np.inf  # a label is not its own companion
    for row, label in enumerate(labels):
        for column in np.argsort(-more[row], kind="stable")[:at_most].tolist():
            if more[row, column] > -np.inf:
                cell = (int(part[row, column]) for part in (both, first, second, known))
                yield _pair(label, column, *cell)


def _pair(label: int, companion: int, both: int, first: int, second: int, known: int) -> Pair:
    return Pair(
        label=label,
        companion=companion,
        both=both,
        label_only=first - both,
        companion_only=second - both,
        neither=known - first - second + both,
    )


def _counted(targets: NDArray[np.int8], labels: list[int]) -> tuple[Counts, Counts, Counts, Counts]:
    """Images with both, with the first, with the second, and all: [K, C] each, both known."""
    counts = np.zeros((4, len(labels), targets.shape[1]))
    for start in range(0, len(targets), _IMAGES_AT_ONCE):
        part = targets[start : start + _IMAGES_AT_ONCE]
        present, known = (part == PRESENT).astype(np.float32), (part != UNKNOWN).astype(np.float32)
        own, own_known = present[:, labels].T, known[:, labels].T
        counts += [own @ present, own @ known, own_known @ present, own_known @ known]
    return counts[0], counts[1], counts[2], counts[3]
