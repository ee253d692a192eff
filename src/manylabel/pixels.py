"""Prepares an RGB image for a model with torch, in the same way for every command."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from manylabel.images import rgb_pixels
from manylabel.preprocess import InputSpec, Resize


def to_pixels(image: NDArray[np.uint8] | Image.Image, spec: InputSpec) -> Tensor:
    """Resizes the whole image to the model's size: uint8 [3, height, width], RGB, 0..255.

    The aspect ratio is not kept.

    Args:
        image: The result of `images.load_rgb`, uint8 [H, W, 3], or an RGB image of Pillow; both
            give the same pixels.
        spec: The format of the model's input.
    """
    values = rgb_pixels(image) if isinstance(image, Image.Image) else image
    pixels = torch.from_numpy(values).permute(2, 0, 1)
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
