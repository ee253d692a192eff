"""Random views of an image for training: a deterministic stage, then a random part.

The stage (the squash to a fixed size) can be kept between epochs; only `vary` draws numbers, from
a generator that its caller seeds by image and epoch, so that a view does not depend on workers.
Pixels stay uint8 throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor

from manylabel.config import Config
from manylabel.pixels import squash
from manylabel.preprocess import InputSpec


class AugmentConfig(Config):
    """How training images are varied; evaluation sees the whole image, squashed."""

    name: Literal["none", "flip", "crop", "paper"] = "paper"
    """`none`; `flip`: mirrored half the time; `crop`: flip, and a crop of `smallest_crop` to 1
    of each side; `paper`: squashed to 8/7 of the input size, a crop with width and height each
    one of 5 lengths at one of 5 places, resized, mirrored half the time."""
    smallest_crop: float = Field(default=0.6, gt=0, le=1)
    """`crop` only: the smallest share of a side that is kept."""
    randaugment: int = Field(default=0, ge=0, le=30)
    """Magnitude of RandAugment, two operations drawn for each view, after all else; 0: off."""


@final
class Augment:
    """Training views of images.

    Source: SRN's augmentation as recalled from the paper's section 4 (not confirmed): resize to
    256x256, crop with sides from {256, 224, 192, 168, 128} at a corner or the centre, resize to
    224x224; whether it mirrors is not known. RandAugment: Cubuk et al. 2020, as torchvision has
    it, magnitudes of 31 bins; what it uncovers is black.
    """

    PAPER_SIDES = (1.0, 224 / 256, 192 / 256, 168 / 256, 128 / 256)

    def __init__(self, config: AugmentConfig, spec: InputSpec) -> None:
        self.config, self.spec = config, spec
        grow = 256 / 224 if config.name == "paper" else 1.0
        size = {"height": round(spec.height * grow), "width": round(spec.width * grow)}
        self.stage_spec: InputSpec = spec.model_copy(update=size)
        """The size and the interpolation of the deterministic part."""
        self._distort = _rand_augment(config.randaugment) if config.randaugment else None

    def vary(self, staged: Tensor, random: Random) -> Tensor:
        """A random view at the model's input size, uint8 [3, height, width]; may be `staged`."""
        view = self._cropped(staged, random)
        if self.config.name != "none" and random.random() < 0.5:
            view = view.flip(2)
        return view if self._distort is None else self._distorted(view, random)

    def _cropped(self, staged: Tensor, random: Random) -> Tensor:
        if self.config.name not in ("crop", "paper"):
            return staged
        draw = self._paper_box if self.config.name == "paper" else self._crop_box
        left, top, width, height = draw(random)
        cropped = staged[:, top : top + height, left : left + width]
        return squash(cropped, self.spec.height, self.spec.width, self.spec.resize)

    def _paper_box(self, random: Random) -> tuple[int, int, int, int]:
        """Left, top, width and height in pixels of the stage."""
        width, height = self.stage_spec.width, self.stage_spec.height
        crop_width = round(width * random.choice(self.PAPER_SIDES))
        crop_height = round(height * random.choice(self.PAPER_SIDES))
        across, down = random.choice(((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)))
        left, top = round(across * (width - crop_width)), round(down * (height - crop_height))
        return left, top, crop_width, crop_height

    def _crop_box(self, random: Random) -> tuple[int, int, int, int]:
        """Left, top, width and height in pixels of the stage."""
        width, height = self.stage_spec.width, self.stage_spec.height
        crop_width = max(1, round(width * random.uniform(self.config.smallest_crop, 1)))
        crop_height = max(1, round(height * random.uniform(self.config.smallest_crop, 1)))
        left = round(random.uniform(0, width - crop_width))
        top = round(random.uniform(0, height - crop_height))
        return left, top, crop_width, crop_height

    def _distorted(self, view: Tensor, random: Random) -> Tensor:
        """`view` after RandAugment, which draws from a generator that others draw from too."""
        assert self._distort is not None
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would seed the accelerators' generators too.
            torch.default_generator.manual_seed(random.getrandbits(63))
            return self._distort(view)


def _rand_augment(magnitude: int) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    return v2.RandAugment(num_ops=2, magnitude=magnitude)
