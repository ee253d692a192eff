"""Scores collected by image key, so that figures do not depend on who scored what, or when.

Batches may come in any order and from any number of processes; what comes out is in the order of
the data set, each image once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from numpy.typing import ArrayLike

from manylabel.errors import DataError
from manylabel.metrics.ranking import Scores, Targets, check_same_shape, check_scores, check_targets


@final
class ScoreTable:
    """Scores and targets of images, by key.

    Args:
        repeats: What a key that comes again means. "keep-first": the image was scored twice, as
            samplers do that fill up the last batch of each process; later rows are passed over.
            "refuse": a mistake.

    Example:
        >>> table = ScoreTable()
        >>> table.add(["b.jpg"], [[0.2]], [[0]])
        >>> table.add(["a.jpg", "b.jpg"], [[0.9], [0.2]], [[1], [0]])
        >>> scores, targets = table.finish(["a.jpg", "b.jpg"])
        >>> scores.tolist(), targets.tolist()
        ([[0.9], [0.2]], [[1], [0]])
    """

    def __init__(self, *, repeats: Literal["keep-first", "refuse"] = "keep-first") -> None:
        self._refuse_repeats = repeats == "refuse"
        self._row_of: dict[str, int] = {}
        self._scores: list[Scores] = []
        self._targets: list[Targets] = []

    def __len__(self) -> int:
        """How many images have been seen."""
        return len(self._row_of)

    def add(self, keys: Sequence[str], scores: ArrayLike, targets: ArrayLike) -> None:
        """Take in the rows of a batch.

        Args:
            keys: N image keys.
            scores: [N, C], after the sigmoid.
            targets: [N, C] of 1, 0 and -1.

        Raises:
            DataError: Scores or targets cannot be used, or a key comes again and is refused.
        """
        assert len(keys) == len(np.asarray(scores)) == len(np.asarray(targets))
        scores, targets = check_scores(scores, keys), check_targets(targets, keys)
        check_same_shape("scores", scores.shape, targets)
        new = self._take_new(keys)
        self._scores.append(scores[new])
        self._targets.append(targets[new])

    def finish(self, keys: Sequence[str]) -> tuple[Scores, Targets]:
        """Scores and targets [N, C] in the order of `keys`, which are all that have been seen.

        Args:
            keys: The data set's keys, in its order, at least one.
        """
        expected = set(keys)
        assert len(expected) == len(keys), "The data set's keys are not unique."
        missing = [key for key in keys if key not in self._row_of]
        assert not missing, f"{len(missing)} of {len(keys)} images were not scored: {missing[:3]}"
        foreign = [key for key in self._row_of if key not in expected]
        assert not foreign, f"{len(foreign)} images are not of the data set: {foreign[:3]}"
        order = [self._row_of[key] for key in keys]
        return np.concatenate(self._scores)[order], np.concatenate(self._targets)[order]

    def _take_new(self, keys: Sequence[str]) -> list[int]:
        """Positions in the batch of the keys that have not been seen, now taken as seen."""
        new: dict[str, int] = {}
        for position, key in enumerate(keys):
            if key not in self._row_of and key not in new:
                new[key] = position
            elif self._refuse_repeats:
                raise DataError("An image was scored twice.", where=key, fix="Give it once.")
        self._row_of.update(zip(new, itertools.count(len(self._row_of))))
        return list(new.values())
