"""Refuses what does not fit into memory before it is made.

A small file can ask for far more memory than it has bytes. Linux ends a process that takes too much
without a word, so what is needed is compared with what is free.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from manylabel.errors import DataError
from manylabel.images.memory import free_bytes


def require_room(needed: int, what: str, where: str) -> None:
    """Refuse what needs more memory than is free.

    Args:
        needed: The bytes that it takes.
        what: What it is, as the beginning of a sentence: "The table".
        where: The file or folder that it is read from.

    Raises:
        DataError: More is needed than is free.
    """
    free = free_bytes()
    if needed > free:
        raise DataError(
            f"{what} would need {needed / 1e9:,.1f} GB of memory, but {free / 1e9:,.1f} GB are "
            "free.",
            where=where,
            fix="Check the file. If it is right, divide it, or use a machine with more memory.",
        )


def require_matrix_room(images: int, labels: int, where: str, *, item_size: int = 1) -> None:
    """Refuse a number for each image and label, if it and a copy do not fit into memory.

    Args:
        images: The number N of images.
        labels: The number C of labels.
        where: The file or folder that they are read from.
        item_size: The bytes of a number.

    Raises:
        DataError: More is needed than is free.
    """
    what = f"A number for each of {images:,} images and {labels:,} labels"
    require_room(2 * images * labels * item_size, what, where)


def matrix(images: int, labels: int, fill: int, where: str, dtype: DTypeLike = np.int8) -> NDArray:
    """A number for each image and label, [N, C], all equal to `fill`.

    Raises:
        DataError: It and a copy do not fit into memory.
    """
    require_matrix_room(images, labels, where, item_size=np.dtype(dtype).itemsize)
    if fill == 0:
        return np.zeros((images, labels), dtype=dtype)  # takes memory only where it is written
    return np.full((images, labels), fill, dtype=dtype)
