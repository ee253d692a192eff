"""Random views of an image for training: a deterministic stage, then a random part.

The stage (the squash to a fixed size) can be kept between epochs; only `vary` draws numbers, from
a generator that its caller seeds by image and epoch, so that a view does not depend on workers.
"""

from __future__ import annotations

from random import Random
from typing import Literal, final

from PIL import Image, ImageOps
from pydantic import Field

from manylabel.config import Config
from manylabel.preprocess import InputSpec


class AugmentConfig(Config):
    """How training images are varied; evaluation sees the whole image, squashed."""

    name: Literal["none", "flip", "crop", "paper"] = "paper"
    """`none`; `flip`: mirrored half the time; `crop`: flip, and a crop of `smallest_crop` to 1
    of each side; `paper`: squashed to 8/7 of the input size, a crop with width and height each
    one of 5 lengths at one of 5 places, resized, mirrored half the time."""
    smallest_crop: float = Field(default=0.6, gt=0, le=1)
    """`crop` only: the smallest share of a side that is kept."""


@final
class Augment:
    """Training views of images.

    Source: SRN's augmentation as recalled from the paper's section 4 (not confirmed): resize to
    256x256, crop with sides from {256, 224, 192, 168, 128} at a corner or the centre, resize to
    224x224; whether it mirrors is not known.
    """

    PAPER_SIDES = (1.0, 224 / 256, 192 / 256, 168 / 256, 128 / 256)

    def __init__(self, config: AugmentConfig, spec: InputSpec) -> None:
        self.config = config
        self.size = (spec.width, spec.height)
        grow = 256 / 224 if config.name == "paper" else 1.0
        self.stage_size = (round(spec.width * grow), round(spec.height * grow))
        self._resample = (
            Image.Resampling.BICUBIC if spec.resize == "bicubic" else Image.Resampling.BILINEAR
        )

    def stage(self, image: Image.Image) -> Image.Image:
        """The deterministic part: the whole image squashed to the stage's size."""
        return image.resize(self.stage_size, self._resample)

    def vary(self, staged: Image.Image, random: Random) -> Image.Image:
        """A random view at the model's input size."""
        if self.config.name == "none":
            return staged
        if self.config.name == "paper":
            staged = staged.resize(self.size, self._resample, box=self._paper_box(random))
        elif self.config.name == "crop":
            staged = staged.resize(self.size, self._resample, box=self._crop_box(random))
        return ImageOps.mirror(staged) if random.random() < 0.5 else staged

    def _paper_box(self, random: Random) -> tuple[float, float, float, float]:
        width, height = self.stage_size
        crop_width = round(width * random.choice(self.PAPER_SIDES))
        crop_height = round(height * random.choice(self.PAPER_SIDES))
        across, down = random.choice(((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)))
        left, top = across * (width - crop_width), down * (height - crop_height)
        return left, top, left + crop_width, top + crop_height

    def _crop_box(self, random: Random) -> tuple[float, float, float, float]:
        width, height = self.stage_size
        crop_width = width * random.uniform(self.config.smallest_crop, 1)
        crop_height = height * random.uniform(self.config.smallest_crop, 1)
        left = random.uniform(0, width - crop_width)
        top = random.uniform(0, height - crop_height)
        return left, top, left + crop_width, top + crop_height
