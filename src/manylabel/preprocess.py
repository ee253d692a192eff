"""The format of a model's input, as data.

An `InputSpec` is saved in a bundle. So training, evaluation, prediction and exported models prepare
an image alike. `manylabel.pixels` prepares images by it with torch.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, FiniteFloat

from manylabel.config import Config

MAX_SIDE: Final = 4096
"""The largest height and width in pixels."""

Resize = Literal["bilinear", "bicubic"]
"""The interpolation of a resize, always antialiased."""

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class InputSpec(Config):
    """The format of a model's input."""

    height: int = Field(default=224, ge=16, le=MAX_SIDE)
    """Height in pixels. The whole image is resized to height x width; its aspect ratio is not
    kept."""
    width: int = Field(default=224, ge=16, le=MAX_SIDE)
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
