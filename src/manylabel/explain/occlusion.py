"""Occlusion: which part of an image, when it is covered, makes a label's logit fall?

It looks at nothing inside the model, so it works with every engine and checks the other methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from manylabel.engines.engine import Engine
from manylabel.errors import ConfigError

_LEAST_STRIDE: Final = 0.01
"""10,000 patches."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Occlusion:
    """What is covered, one patch at a time.

    The image is divided into cells of equal size, and around the centre of each cell a patch is
    covered. A patch that goes beyond an edge is cut off there.

    Args:
        patch: Height and width of a patch as a fraction of the image's, up to 1; at least `stride`.
            A patch that is smaller than an object leaves a part of its evidence.
        stride: Height and width of a cell as a fraction of the image's, 0.01..1; it is rounded so
            that whole cells fill the image. The model runs 1 / stride^2 times for each image.
        fill: What covers a patch: `mean`, the mean colour of the image, or `blur`, the image
            without details smaller than a patch.

    Raises:
        ConfigError: A value is out of its range.
    """

    patch: float = 0.2
    stride: float = 0.1
    fill: Literal["mean", "blur"] = "mean"

    def __post_init__(self) -> None:
        if not _LEAST_STRIDE <= self.stride <= self.patch <= 1:
            raise ConfigError(
                f"Patches of {self.patch} of the image with a stride of {self.stride}.",
                where="occlusion",
                fix=f"Give a stride from {_LEAST_STRIDE} to 1, and a patch from the stride to 1.",
            )
        if self.fill not in ("mean", "blur"):
            raise ConfigError(
                f"Patches cannot be covered by '{self.fill}'.",
                where="occlusion",
                fix="Give 'mean' or 'blur'.",
            )

    @property
    def cells(self) -> int:
        """The number of cells in a row and in a column."""
        return round(1 / self.stride)


DEFAULT_OCCLUSION: Final = Occlusion()
"""Patches of a fifth of the image, each a tenth further than the one before."""


def occlusion_maps(
    engine: Engine,
    image: NDArray[np.uint8],
    logits: NDArray[np.float32],
    columns: Sequence[int],
    settings: Occlusion,
    *,
    batch_size: int,
) -> NDArray[np.float32]:
    """How far each label's logit falls when a patch is covered: [C', rows, columns], in logits.

    It is below 0 where covering the patch makes the label more likely. Batches of covered copies
    are computed one after the other, so memory does not grow with the number of patches.

    Args:
        engine: Computes the logits.
        image: uint8 [height, width, 3], as `Engine.prepare` returns it.
        logits: The logits [C] of the image.
        columns: The columns of the C' labels.
        settings: What is covered.
        batch_size: The number of copies that are computed at once.

    Source: M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
    section 4.2. Deliberate differences: the fall of the logit, not the probability of the true
    class; and the mean colour of the image, not grey.
    """
    chosen = list(columns)
    falls = [
        logits[chosen] - engine.run(copies).logits[:, chosen]
        for copies in _covered(image, settings, batch_size)
    ]
    cells = settings.cells
    return np.concatenate(falls).T.reshape(len(chosen), cells, cells)


def _covered(
    image: NDArray[np.uint8], settings: Occlusion, batch_size: int
) -> Iterator[NDArray[np.uint8]]:
    """Batches of copies of the image, each with one patch covered, row by row."""
    cover = _cover(image, settings)
    rows, columns = (_spans(side, settings) for side in image.shape[:2])
    windows = [(row, column) for row in rows for column in columns]
    for start in range(0, len(windows), batch_size):
        batch = windows[start : start + batch_size]
        copies = np.repeat(image[None], len(batch), axis=0)
        for copy, window in zip(copies, batch, strict=True):
            copy[window] = cover[window]
        yield copies


def _spans(side: int, settings: Occlusion) -> list[slice]:
    """The pixels of a side that each patch covers; at least one."""
    centres = (np.arange(settings.cells) + 0.5) / settings.cells
    starts, stops = (
        np.floor((centres + sign * settings.patch / 2) * side + 0.5).astype(int).clip(0, side)
        for sign in (-1, 1)
    )
    starts = np.minimum(starts, side - 1)
    return [slice(a, max(a + 1, b)) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]


def _cover(image: NDArray[np.uint8], settings: Occlusion) -> NDArray[np.uint8]:
    """What a covered copy shows in its patch, as a whole image."""
    if settings.fill == "blur":
        radius = settings.patch * max(image.shape[:2]) / 2
        return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))
    mean = np.floor(image.mean(axis=(0, 1)) + 0.5).astype(np.uint8)
    return np.broadcast_to(mean, image.shape)
