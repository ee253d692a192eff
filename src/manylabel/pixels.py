"""From an RGB image to the pixels that a model takes, with torch: one path for every command."""

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
    """The whole image at the model's size: uint8 [3, height, width], RGB, 0..255.

    Args:
        image: Pixels as `images.load_rgb` gives them, uint8 [H, W, 3]; or an RGB image of Pillow,
            which gives the same result.
        spec: The model's input.
    """
    values = rgb_pixels(image) if isinstance(image, Image.Image) else image
    pixels = torch.from_numpy(values).permute(2, 0, 1)
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
