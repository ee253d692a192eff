"""From an image file to the pixels that a model takes: one deterministic path for every command.

An `InputSpec` is data: it travels with a bundle, so training, evaluation, prediction and whatever
a bundle is exported to prepare an image alike.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from PIL import Image
from pydantic import Field, FiniteFloat
from torch import Tensor
from torch.nn.functional import interpolate

from manylabel.config import Config
from manylabel.images import rgb_pixels

Resize = Literal["bilinear", "bicubic"]
"""Interpolation, antialiased."""

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
    resize: Resize = "bilinear"
    """Interpolation of the squash, antialiased."""


def to_pixels(image: Tensor | Image.Image, spec: InputSpec) -> Tensor:
    """The whole image squashed to the model's size: uint8 [3, height, width], RGB, 0..255.

    Args:
        image: What `images.load_rgb` gives, uint8 [3, H, W]; or an RGB image of Pillow's, which
            comes to the same.
        spec: The model's input.
    """
    pixels = image if isinstance(image, Tensor) else rgb_pixels(image)
    return squash(pixels, spec.height, spec.width, spec.resize)


def squash(pixels: Tensor, height: int, width: int, resize: Resize) -> Tensor:
    """All of `pixels`, uint8 [3, H, W], at another size: uint8 [3, height, width].

    Antialiased, and in channels-last memory. Shrunk pixels are within 1/255 of Pillow's `resize`;
    of enlarged ones some in ten thousand are 2/255 off. Where bicubic overshoots 0 or 255 the two
    may differ by more: each cuts what overshoots between its passes, and Pillow does not always
    pass along the same axis first.
    """
    # Through [H, W, 3]: with an axis added in front, torch then sees channels-last memory.
    batch = pixels.permute(1, 2, 0).unsqueeze(0).permute(0, 3, 1, 2)
    batch = batch.contiguous(memory_format=torch.channels_last)
    return interpolate(batch, size=(height, width), mode=resize, antialias=True)[0]


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
