"""Images from whatever a caller of Python has: arrays and tensors beside files.

Nothing is guessed from values. An array is what its type and its axes say, or it is refused with
what to change.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manylabel.errors import ImageError, RunError
from manylabel.images.places import Crop, ImageSource, Stored
from manylabel.text import counted


class Tensor(Protocol):
    """What is used of a tensor of torch, which this module does not import."""

    shape: Any
    dtype: Any

    def is_floating_point(self) -> bool:
        """Whether the values are floats."""
        ...

    def detach(self) -> Any:
        """The values without their gradients."""
        ...


Picture = ImageSource | os.PathLike[str] | NDArray[Any] | Tensor
"""An image for `Predictor`: what `images` opens, an array or a tensor."""

_ARRAY: Final = (
    "Give uint8 [H, W, 3] with red, green and blue in 0..255, or uint8 [H, W] for greys."
)
_TENSOR: Final = (
    "Give a tensor [3, H, W] or [1, H, W]: uint8 with 0..255, or float with 0..1, before it is "
    "normalised."
)


def as_source(picture: object, name: str = "an image") -> ImageSource:
    """An image that `images.prepared` takes.

    Args:
        picture: A path, the bytes of a file, a place, an image of Pillow; an array, uint8 [H, W, 3]
            (RGB) or [H, W] (greys), 0..255; a tensor [3, H, W] (RGB) or [1, H, W] (greys), uint8
            with 0..255 or float with 0..1.
        name: What an array or a tensor is called in errors.

    Raises:
        ImageError: It is something else.
    """
    if isinstance(picture, str | bytes | Path | Stored | Crop | Image.Image):
        return picture
    if isinstance(picture, os.PathLike):
        return Path(cast("os.PathLike[str]", picture))
    if isinstance(picture, np.ndarray):
        return Image.fromarray(_from_array(picture, name))
    if _is_tensor(picture):
        return Image.fromarray(_from_tensor(cast("Tensor", picture), name))
    raise ImageError(
        f"An image cannot be a value of the type {type(picture).__name__}.",
        where=name,
        fix="Give a path, the bytes of a file, an image of Pillow, a NumPy array or a tensor.",
    )


def name_of(picture: object, otherwise: str = "image") -> str:
    """The name of an image: its path, or `otherwise` if it has none."""
    if isinstance(picture, str | os.PathLike | Stored | Crop):
        return str(picture)
    return str(getattr(picture, "filename", "") or otherwise)


def _is_tensor(picture: object) -> bool:
    # If nobody has imported torch, it is no tensor of it.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(picture, torch.Tensor)


def _from_array(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        fix = _ARRAY
        if array.dtype.kind == "f":
            fix = (
                "Values in 0..1: give numpy.rint(array * 255).astype(numpy.uint8). Values in "
                "0..255: give numpy.rint(array).astype(numpy.uint8)."
            )
        raise _refused("array", array.dtype, array.shape, name, fix)
    if array.size and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        return np.ascontiguousarray(array)
    fix = _ARRAY
    if array.ndim == 3 and array.shape[0] == 3:
        fix = "The colours are the first axis: give array.transpose(1, 2, 0)."
    elif array.ndim == 3 and array.shape[2] == 4:
        fix = "Give array[..., :3], or PIL.Image.fromarray(array) to blend it with white."
    elif array.ndim == 4:
        fix = "These are several images: give list(array)."
    raise _refused("array", array.dtype, array.shape, name, fix)


def _from_tensor(tensor: Tensor, name: str) -> NDArray[np.uint8]:
    shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    if len(shape) != 3 or shape[0] not in (1, 3) or 0 in shape:
        fix = _TENSOR
        if len(shape) == 4:
            fix = "These are several images: give list(tensor)."
        elif len(shape) == 3 and shape[2] == 3:
            fix = "The colours are the last axis: give tensor.permute(2, 0, 1)."
        raise _refused("tensor", dtype, shape, name, fix)
    values = tensor.detach().cpu()
    if tensor.is_floating_point():
        pixels = _from_fractions(values.double().numpy(), dtype, name)
    elif dtype == "uint8":
        pixels = values.numpy()
    else:
        raise _refused("tensor", dtype, shape, name, _TENSOR)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0) if shape[0] == 3 else pixels[0])


def _from_fractions(values: NDArray[np.float64], dtype: str, name: str) -> NDArray[np.uint8]:
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    if not (low >= 0 and high <= 1):  # also what is no number
        what = f"The tensor is {dtype} with values from {low:.4g} to {high:.4g}."
        raise ImageError(what, where=name, fix=_TENSOR)
    return np.rint(values * 255).astype(np.uint8)


def _refused(kind: str, dtype: object, shape: tuple[int, ...], name: str, fix: str) -> ImageError:
    return ImageError(f"The {kind} is {dtype} {list(shape)}.", where=name, fix=fix)


def stacked(pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Images [H, W, 3] of one size as one array [N, H, W, 3].

    Raises:
        RunError: There is not enough memory.
    """
    try:
        return np.stack(pixels)
    except MemoryError:
        raise RunError(
            f"There is not enough memory for a batch of {counted(len(pixels), 'image')}.",
            where="the batch size",
            fix="Give a smaller --batch-size.",
        ) from None
