"""What a model's input looks like, as data.

An `InputSpec` travels with a bundle, so training, evaluation, prediction and whatever a bundle is
exported to prepare an image alike. `manylabel.pixels` carries it out with torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from manylabel.config import Config

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
