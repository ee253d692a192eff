"""Collects scores by image key, so that metrics do not depend on the order of the batches.

Batches may come in any order and from any number of processes. The result is in the order of the
data set and has each image once. A table is not copied at the end, so each number is held once.
A table that is too large for memory is kept in a temporary file.
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
from manylabel.text import counted

IN_MEMORY: Final = 2 << 30
"""Bytes of scores, and bytes of targets, that are held in memory. A larger table is in a file."""

_FIRST_ROWS: Final = 1024
_ZEROS: Final = bytes(1 << 24)


@final
class ScoreTable:
    """Scores and targets of images, by key.

    Args:
        size: The number of images, if it is known. The table is then allocated once.
        repeats: What to do if a key comes again. "keep-first": the image was scored twice, because
            some samplers repeat images to fill the last batch of each process; later rows are
            ignored. "refuse": it is an error.
        in_memory: The limit for scores in memory, in bytes; targets have the same limit. A larger
            table is in a file without a name in the folder for temporary files
            (`TMPDIR`). The file disappears with the table and its arrays, even if the process is
            killed.

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
        """The number of images in the table."""
        return len(self._row_of)

    def add(self, keys: Sequence[str], scores: ArrayLike, targets: ArrayLike) -> None:
        """Add the rows of a batch.

        Args:
            keys: N image keys.
            scores: [N, C], after the sigmoid.
            targets: [N, C] of 1, 0 and -1.

        Raises:
            DataError: Scores or targets are not valid, their number of labels differs from earlier
                batches, or a key comes again and repeats are refused.
            RunError: There is not enough disk space for a table that is not held in memory.
        """
        assert not self._finished, "The table was finished."
        assert len(keys) == len(np.asarray(scores)) == len(np.asarray(targets))
        scores, targets = check_scores(scores, keys), check_targets(targets, keys)
        check_same_shape("scores", scores.shape, targets)
        self._check_width(scores)
        first = len(self)
        new = self._register_new(keys)
        self._reserve(len(self))
        self._scores[first : len(self)] = scores[new]
        self._targets[first : len(self)] = targets[new]

    def finish(self, keys: Sequence[str]) -> tuple[Scores, Targets]:
        """Scores and targets [N, C] in the order of `keys`.

        The result is the table's own arrays, sorted in place. So the table cannot be used after
        this call.

        Args:
            keys: The keys of the data set, in its order, at least one. They must be exactly the
                keys in the table.
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
            _reorder_in_place(table, order)
        return self._scores[: len(order)], self._targets[: len(order)]

    def _register_new(self, keys: Sequence[str]) -> list[int]:
        """Add the keys that are new to the table, and return their positions in the batch."""
        new: dict[str, int] = {}
        for position, key in enumerate(keys):
            if key not in self._row_of and key not in new:
                new[key] = position
            elif self._refuse_repeats:
                raise DataError("An image was scored twice.", where=key, fix="Give it once.")
        self._row_of.update(zip(new, itertools.count(len(self._row_of))))
        return list(new.values())

    def _check_width(self, scores: Scores) -> None:
        """Take the number of labels from the first batch, and check it in later batches."""
        if not self._row_of:
            self._scores = np.empty((0, scores.shape[1]), scores.dtype)
            self._targets = np.empty((0, scores.shape[1]), np.int8)
        if scores.shape[1] != self._scores.shape[1]:
            raise DataError(
                f"A batch has {counted(scores.shape[1], 'label')}, but earlier batches have "
                f"{self._scores.shape[1]:,}.",
                where="scores and targets, [images, labels]",
                fix="Give every batch the same labels.",
            )
        assert scores.dtype == self._scores.dtype, "Batches differ in the type of their scores."

    def _reserve(self, rows: int) -> None:
        """Grow the table to at least `rows` rows: to its known size, or to twice its length."""
        if rows <= len(self._scores):
            return
        capacity = max(rows, self._size or max(_FIRST_ROWS, 2 * len(self._scores)))
        self._scores = self._grow(self._scores, capacity)
        self._targets = self._grow(self._targets, capacity)

    def _grow(self, table: NDArray[Any], rows: int) -> NDArray[Any]:
        shape = (rows, table.shape[1])
        in_memory = rows * table.shape[1] * table.itemsize <= self._in_memory
        grown = np.empty(shape, table.dtype) if in_memory else _on_disk(shape, table.dtype)
        grown[: len(table)] = table
        return grown


def _reorder_in_place(table: NDArray[Any], order: Sequence[int]) -> None:
    """Move row `order[i]` to row i, for each i. Needs memory for one more row only.

    Each cycle of the permutation is followed once. A copy of the table would double the memory.
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
    """An array in a file without a name. The file disappears when nothing refers to the array."""
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    try:
        with tempfile.TemporaryFile(prefix="manylabel-") as file:
            _allocate(file, size)
            return np.asarray(np.memmap(file, dtype=dtype, mode="r+", shape=shape))
    except OSError as error:
        raise RunError(
            f"There is not enough disk space for {size / 1e9:,.2f} GB of scores or targets: "
            f"{error.strerror or error}.",
            where=tempfile.gettempdir(),
            fix="Free some space there, or set TMPDIR to a folder on a larger disk.",
        ) from None


def _allocate(file: IO[bytes], size: int) -> None:
    """Allocate `size` bytes on the disk.

    If they were not allocated now, writing to the memory map of a full disk would kill the process.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for remaining in range(size, 0, -len(_ZEROS)):  # macOS and Windows have no such function
        file.write(_ZEROS[:remaining])
    file.flush()
