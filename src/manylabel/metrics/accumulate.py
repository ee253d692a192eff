"""Scores collected by image key, so that figures do not depend on who scored what, or when.

Batches may come in any order and from any number of processes; what comes out is in the order of
the data set, each image once. A table holds each number once: it is not copied at the end, and
what is larger than memory should hold lies in a file meanwhile.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Sequence
from typing import IO, Any, Final, Literal, final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from manylabel.errors import DataError, RunError
from manylabel.metrics.ranking import Scores, Targets, check_same_shape, check_scores, check_targets

IN_MEMORY: Final = 2 << 30
"""Bytes of scores, and of targets, that are held in memory; more are held in a file."""

_FIRST_ROWS: Final = 1024
_ZEROS: Final = bytes(1 << 24)


@final
class ScoreTable:
    """Scores and targets of images, by key.

    Args:
        size: How many images will come, where it is known: the table is then made once.
        repeats: What a key that comes again means. "keep-first": the image was scored twice, as
            samplers do that fill up the last batch of each process; later rows are passed over.
            "refuse": a mistake.
        in_memory: Bytes that scores, and targets, may take each; beyond them they lie in a file
            without a name in the folder for temporary files (`TMPDIR`), which is gone with the
            table and its arrays, even if the process is killed.

    Example:
        >>> table = ScoreTable()
        >>> table.add(["b.jpg"], [[0.2]], [[0]])
        >>> table.add(["a.jpg", "b.jpg"], [[0.9], [0.2]], [[1], [0]])
        >>> scores, targets = table.finish(["a.jpg", "b.jpg"])
        >>> scores.tolist(), targets.tolist()
        ([[0.9], [0.2]], [[1], [0]])
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        repeats: Literal["keep-first", "refuse"] = "keep-first",
        in_memory: int = IN_MEMORY,
    ) -> None:
        self._size = size
        self._refuse_repeats = repeats == "refuse"
        self._in_memory = in_memory
        self._row_of: dict[str, int] = {}
        self._scores: Scores = np.empty((0, 0))
        self._targets: Targets = np.empty((0, 0), np.int8)
        self._finished = False

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
            DataError: Scores or targets cannot be used, have other labels than those before, or a
                key comes again and is refused.
            RunError: There is no room for a table that is not held in memory.
        """
        assert not self._finished, "The table was finished."
        assert len(keys) == len(np.asarray(scores)) == len(np.asarray(targets))
        scores, targets = check_scores(scores, keys), check_targets(targets, keys)
        check_same_shape("scores", scores.shape, targets)
        self._fit(scores)
        first = len(self)
        new = self._take_new(keys)
        self._reserve(len(self))
        self._scores[first : len(self)] = scores[new]
        self._targets[first : len(self)] = targets[new]

    def finish(self, keys: Sequence[str]) -> tuple[Scores, Targets]:
        """Scores and targets [N, C] in the order of `keys`, which are all that have been seen.

        They are the table's own arrays, put in order where they lie, so this ends the table.

        Args:
            keys: The data set's keys, in its order, at least one.
        """
        assert not self._finished, "The table was finished."
        expected = set(keys)
        assert len(expected) == len(keys), "The data set's keys are not unique."
        missing = [key for key in keys if key not in self._row_of]
        assert not missing, f"{len(missing)} of {len(keys)} images were not scored: {missing[:3]}"
        foreign = [key for key in self._row_of if key not in expected]
        assert not foreign, f"{len(foreign)} images are not of the data set: {foreign[:3]}"
        self._finished = True
        order = [self._row_of[key] for key in keys]
        for table in (self._scores, self._targets):
            _arrange(table, order)
        return self._scores[: len(order)], self._targets[: len(order)]

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

    def _fit(self, scores: Scores) -> None:
        """Make the empty table as wide as its first batch, and hold later ones against it."""
        if not self._row_of:
            self._scores = np.empty((0, scores.shape[1]), scores.dtype)
            self._targets = np.empty((0, scores.shape[1]), np.int8)
        if scores.shape[1] != self._scores.shape[1]:
            raise DataError(
                f"A batch has {scores.shape[1]:,} labels, those before it "
                f"{self._scores.shape[1]:,}.",
                where="scores and targets, [images, labels]",
                fix="Give every batch the same labels.",
            )
        assert scores.dtype == self._scores.dtype, "Batches differ in the type of their scores."

    def _reserve(self, rows: int) -> None:
        """Make room for so many rows: for all that will come, or for twice as many as there are."""
        if rows <= len(self._scores):
            return
        room = max(rows, self._size or max(_FIRST_ROWS, 2 * len(self._scores)))
        self._scores = self._longer(self._scores, room)
        self._targets = self._longer(self._targets, room)

    def _longer(self, table: NDArray[Any], rows: int) -> NDArray[Any]:
        shape = (rows, table.shape[1])
        in_memory = rows * table.shape[1] * table.itemsize <= self._in_memory
        longer = np.empty(shape, table.dtype) if in_memory else _on_disk(shape, table.dtype)
        longer[: len(table)] = table
        return longer


def _arrange(table: NDArray[Any], order: Sequence[int]) -> None:
    """Let row i be what row `order[i]` was, with room for one row more.

    Each cycle of the permutation is walked once: a copy of the whole would double the memory.
    """
    source = np.array(order)
    for start in range(len(source)):
        if source[start] == start:
            continue
        first, place = table[start].copy(), start
        while source[place] != start:
            origin = source[place]
            table[place], source[place] = table[origin], place
            place = origin
        table[place], source[place] = first, place


def _on_disk(shape: tuple[int, int], dtype: DTypeLike) -> NDArray[Any]:
    """An array in a file without a name, which is gone when nothing refers to the array."""
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    try:
        with tempfile.TemporaryFile(prefix="manylabel-") as file:
            _claim(file, size)
            return np.asarray(np.memmap(file, dtype=dtype, mode="r+", shape=shape))
    except OSError as error:
        raise RunError(
            f"There is no room for {size / 1e9:,.2f} GB of scores or targets: "
            f"{error.strerror or error}.",
            where=tempfile.gettempdir(),
            fix="Make room there, or set TMPDIR to a folder of a larger disk.",
        ) from None


def _claim(file: IO[bytes], size: int) -> None:
    """Have the disk set so many bytes aside: a map of a full disk would kill the process later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for left in range(size, 0, -len(_ZEROS)):  # macOS and Windows cannot set aside
        file.write(_ZEROS[:left])
    file.flush()
