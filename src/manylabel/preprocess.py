"""From an image file to the pixels that a model takes: one deterministic path for every command.

An `InputSpec` is data: it travels with a bundle, so training, evaluation, prediction and whatever
a bundle is exported to prepare an image alike.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field, FiniteFloat
from torch import Tensor

from manylabel.config import Config

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class InputSpec(Config):
    """What a model's input looks like."""

    height: int = Field(default=224, ge=16)
    """Pixels. The whole image is squashed to height x width; its aspect ratio is not kept."""
    width: int = Field(default=224, ge=16)
    """Pixels."""
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.485, 0.456, 0.406)
    """Subtracted from each channel after scaling by `value_scale`, in `colour_order`."""
    std: tuple[_Positive, _Positive, _Positive] = (0.229, 0.224, 0.225)
    """Each channel is divided by it, in `colour_order`."""
    colour_order: Literal["rgb", "bgr"] = "rgb"
    """The order of the three channels; the authors' Caffe models take bgr."""
    value_scale: _Positive = 1 / 255
    """Pixels 0..255 are multiplied by it first: 1/255 gives 0..1, 1 leaves 0..255 (Caffe)."""
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    """Interpolation of the squash, antialiased."""


def to_pixels(image: Image.Image, spec: InputSpec) -> Tensor:
    """The whole image squashed to the model's size: uint8 [3, height, width], RGB, 0..255."""
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    squashed = image.resize((spec.width, spec.height), resample[spec.resize])
    return torch.from_numpy(np.array(squashed, dtype=np.uint8)).permute(2, 0, 1)


def normalise(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Pixels as the model takes them.

    Args:
        pixels: [N, 3, H, W], RGB, 0..255, uint8 or float. Keep them uint8 until they are on the
            device: a quarter of the bytes to move.
        spec: The model's input.

    Returns:
        Float [N, 3, H, W] in the spec's colour order, scaled and standardised.
    """
    if spec.colour_order == "bgr":
        pixels = pixels.flip(1)
    scaled = pixels.float() * spec.value_scale
    mean = torch.tensor(spec.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(spec.std, device=pixels.device).view(3, 1, 1)
    return (scaled - mean) / std
