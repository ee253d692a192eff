"""Random views of an image for training: a deterministic stage, then a random part.

The stage (the resize to a fixed size) can be kept between epochs; only `vary` draws numbers, from
a generator that its caller seeds by image and epoch, so that a view does not depend on workers.
Pixels stay uint8 throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Annotated, Any, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor

from manylabel.config import Config, default_name
from manylabel.pixels import resize_pixels
from manylabel.preprocess import InputSpec

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the stage."""


class BaseAugmentConfig(Config):
    """What the settings of all augmentations have."""

    mirrored: ClassVar[bool] = True
    """Whether half of the views are mirrored."""
    stage_scale: ClassVar[float] = 1.0
    """Height and width of the stage, in those of the model's input."""

    name: Any  # of each augmentation, its own
    """Which augmentation."""
    randaugment: int = Field(default=0, ge=0, le=30)
    """Magnitude of RandAugment, two operations drawn for each view, after all else; 0: off."""

    def draw_crop(self, width: int, height: int, random: Random) -> Box | None:
        """What is cut out of a stage of `width` x `height` pixels; None: the whole stage stays."""
        return None


@final
class NoAugmentConfig(BaseAugmentConfig):
    """No random views: the whole image, squashed, as evaluation sees it."""

    mirrored: ClassVar[bool] = False

    name: Literal["none"] = "none"
    """Which augmentation."""


@final
class FlipConfig(BaseAugmentConfig):
    """The whole image, squashed, and mirrored half the time."""

    name: Literal["flip"] = "flip"
    """Which augmentation."""


@final
class CropConfig(BaseAugmentConfig):
    """A crop anywhere in the image, squashed, and mirrored half the time."""

    name: Literal["crop"] = "crop"
    """Which augmentation."""
    smallest_crop: float = Field(default=0.6, gt=0, le=1)
    """The smallest share of each side that is kept; width and height are drawn apart."""

    def draw_crop(self, width: int, height: int, random: Random) -> Box:
        """A crop of random size at a random place."""
        crop_width = max(1, round(width * random.uniform(self.smallest_crop, 1)))
        crop_height = max(1, round(height * random.uniform(self.smallest_crop, 1)))
        left = round(random.uniform(0, width - crop_width))
        top = round(random.uniform(0, height - crop_height))
        return left, top, crop_width, crop_height


@final
class PaperAugmentConfig(BaseAugmentConfig):
    """SRN's views: a crop of one of 5 widths, 5 heights and 5 places, mirrored half the time.

    The image is squashed to 8/7 of the input size, cropped, and resized to the input size.

    Source: SRN's augmentation as recalled from the paper's section 4 (not confirmed): resize to
    256x256, crop with sides from {256, 224, 192, 168, 128} at a corner or the centre, resize to
    224x224; whether it mirrors is not known.
    """

    SIDES: ClassVar = (1.0, 224 / 256, 192 / 256, 168 / 256, 128 / 256)
    PLACES: ClassVar = ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5))

    stage_scale: ClassVar[float] = 256 / 224

    name: Literal["paper"] = "paper"
    """Which augmentation."""

    def draw_crop(self, width: int, height: int, random: Random) -> Box:
        """A crop with one of the paper's widths and heights at one of its places."""
        crop_width = round(width * random.choice(self.SIDES))
        crop_height = round(height * random.choice(self.SIDES))
        across, down = random.choice(self.PLACES)
        left, top = round(across * (width - crop_width)), round(down * (height - crop_height))
        return left, top, crop_width, crop_height


AugmentConfig = Annotated[
    NoAugmentConfig | FlipConfig | CropConfig | PaperAugmentConfig,
    Field(discriminator="name"),
    default_name("paper"),
]
"""How training images are varied, told apart by `name`; evaluation sees the whole image."""


@final
class Augment:
    """Training views of images.

    Source: each augmentation's is with its settings. RandAugment: Cubuk et al. 2020, as torchvision
    has it, magnitudes of 31 bins; what it uncovers is black.
    """

    def __init__(self, config: AugmentConfig, spec: InputSpec) -> None:
        self.config, self.spec = config, spec
        grow = config.stage_scale
        size = {"height": round(spec.height * grow), "width": round(spec.width * grow)}
        self.stage_spec: InputSpec = spec.model_copy(update=size)
        """The size and the interpolation of the deterministic part."""
        self._distort = _rand_augment(config.randaugment) if config.randaugment else None

    def vary(self, staged: Tensor, random: Random) -> Tensor:
        """A random view at the model's input size, uint8 [3, height, width]; may be `staged`."""
        view = self._cropped(staged, random)
        if self.config.mirrored and random.random() < 0.5:
            view = view.flip(2)
        return view if self._distort is None else self._distorted(view, random)

    def _cropped(self, staged: Tensor, random: Random) -> Tensor:
        box = self.config.draw_crop(self.stage_spec.width, self.stage_spec.height, random)
        if box is None:
            return staged
        left, top, width, height = box
        cropped = staged[:, top : top + height, left : left + width]
        return resize_pixels(cropped, self.spec.height, self.spec.width, self.spec.resize)

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
