"""What a model leaves of the memory that a process may take."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from manylabel.engines.engine import Engine
from manylabel.errors import ConfigError
from manylabel.images import Memory, own_bytes


def memory_below(engine: Engine, batch_size: int, most: int) -> Memory:
    """What is left for images, so that the whole process takes at most so many bytes.

    Args:
        engine: Computes the model.
        batch_size: The number of images that it computes at once.
        most: The bytes that the process may take.

    Raises:
        ConfigError: Nothing is left.
    """
    taken = _taken(engine, batch_size, most)
    if taken >= most:
        raise ConfigError(
            f"With the model and batches of {batch_size}, the process takes at least "
            f"{taken / 1e6:,.0f} MB of memory, and {most / 1e6:,.0f} MB are allowed.",
            where="--max-memory",
            fix="Allow more, or give a smaller --batch-size.",
        )
    fix = "Make it smaller first, or allow more with --max-memory."
    return Memory(most - taken, fix=fix)


def _taken(engine: Engine, batch_size: int, most: int) -> int:
    """The memory of the process with full batches, or less than that, but `most` or more.

    It is measured with batches that grow. The next one is not run if it would go beyond `most`.
    """
    height, width = engine.info.input.height, engine.info.input.width
    waiting = 2 * batch_size * height * width * 3  # so many prepared images wait for the model
    size, peaks, expected = 1, list[int](), own_bytes() + waiting
    while expected < most:
        engine.run(np.zeros((size, height, width, 3), dtype=np.uint8))
        peaks.append(own_bytes() + waiting)
        if size == batch_size or peaks[-1] >= most:
            return peaks[-1]
        grown = [after - before for before, after in pairwise(peaks[-3:])]
        steady = len(grown) == 2 and min(grown) > 0  # an earlier peak hides small batches
        larger = batch_size if steady else min(2 * size, batch_size)
        each = grown[-1] // (size // 2) if grown else 0
        expected = peaks[-1] + each * (larger - size)
        size = larger
    return expected
