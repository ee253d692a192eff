"""Prepares an image for a model, in the same deterministic way for every command.

An `InputSpec` is data that is saved in a bundle. So training, evaluation, prediction and exported
models prepare an image alike.
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
"""The interpolation of a resize, always antialiased."""

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class InputSpec(Config):
    """The format of a model's input."""

    height: int = Field(default=224, ge=16)
    """Height in pixels. The whole image is resized to height x width; its aspect ratio is not
    kept."""
    width: int = Field(default=224, ge=16)
    """Width in pixels."""
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.485, 0.456, 0.406)
    """The mean of each channel, in `colour_order`. It is subtracted after scaling by
    `value_scale`."""
    std: tuple[_Positive, _Positive, _Positive] = (0.229, 0.224, 0.225)
    """The standard deviation by which each channel is divided, in `colour_order`."""
    colour_order: Literal["rgb", "bgr"] = "rgb"
    """The order of the three channels. The authors' Caffe models use bgr."""
    value_scale: _Positive = 1 / 255
    """The factor by which pixels 0..255 are first multiplied: 1/255 gives 0..1; 1 keeps 0..255
    (Caffe)."""
    resize: Resize = "bilinear"
    """The interpolation of the resize, antialiased."""


def to_pixels(image: Tensor | Image.Image, spec: InputSpec) -> Tensor:
    """Resizes the whole image to the model's size: uint8 [3, height, width], RGB, 0..255.

    The aspect ratio is not kept.

    Args:
        image: The result of `images.load_rgb`, uint8 [3, H, W], or an RGB image of Pillow; both
            give the same pixels.
        spec: The format of the model's input.
    """
    pixels = image if isinstance(image, Tensor) else rgb_pixels(image)
    return resize_pixels(pixels, spec.height, spec.width, spec.resize)


def resize_pixels(pixels: Tensor, height: int, width: int, resize: Resize) -> Tensor:
    """Resizes `pixels`, uint8 [3, H, W], to uint8 [3, height, width], without keeping their ratio.

    It is antialiased, and the result is in channels-last memory. A reduced image differs from
    Pillow's `resize` by at most 1/255. In an enlarged image, a few pixels in ten thousand differ by
    2/255. If bicubic interpolation goes below 0 or above 255, the difference may be larger: both
    clip values between their two passes, and Pillow does not always start with the same axis.
    """
    # By way of [H, W, 3]: with an axis added in front, torch recognises channels-last memory.
    batch = pixels.permute(1, 2, 0).unsqueeze(0).permute(0, 3, 1, 2)
    batch = batch.contiguous(memory_format=torch.channels_last)
    return interpolate(batch, size=(height, width), mode=resize, antialias=True)[0]


def normalise(pixels: Tensor, spec: InputSpec) -> Tensor:
    """Normalises pixels for the model.

    Args:
        pixels: [N, 3, H, W], RGB, 0..255, uint8 or float. Keep them uint8 until they are on the
            device, because that is a quarter of the bytes to transfer.
        spec: The format of the model's input.

    Returns:
        Float [N, 3, H, W] in the spec's colour order, scaled and standardised.
    """
    if spec.colour_order == "bgr":
        pixels = pixels.flip(1)
    scaled = pixels.float() * spec.value_scale
    mean = torch.tensor(spec.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(spec.std, device=pixels.device).view(3, 1, 1)
    return (scaled - mean) / std
