"""Random views of an image for training: a deterministic resize, then a random part.

No resize keeps the aspect ratio of an image.

The image after the resize to a fixed size is called the stage. It can be kept between epochs. Only
`vary` draws random numbers. It draws them from a generator that its caller seeds by image and
epoch, so a view does not depend on the workers. Pixels stay uint8 throughout.
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
"""A crop: left, top, width and height in pixels of the stage."""


class BaseAugmentConfig(Config):
    """The settings that all augmentations share."""

    mirrored: ClassVar[bool] = True
    """Whether half of the views are mirrored."""
    stage_scale: ClassVar[float] = 1.0
    """Height of the stage divided by the height of the model's input. The widths have this ratio
    too."""

    name: Any  # Each augmentation has a name of its own.
    """Which augmentation."""
    randaugment: int = Field(default=0, ge=0, le=30)
    """Magnitude of RandAugment. It is applied last, with two operations drawn for each view. With
    0, it is off."""

    def draw_crop(self, width: int, height: int, random: Random) -> Box | None:
        """A random crop of a stage of `width` x `height` pixels; None to keep the whole stage."""
        return None


@final
class NoAugmentConfig(BaseAugmentConfig):
    """No random views: the whole image, stretched to the input size, as in evaluation."""

    mirrored: ClassVar[bool] = False

    name: Literal["none"] = "none"
    """Which augmentation."""


@final
class FlipConfig(BaseAugmentConfig):
    """The whole image, stretched to the input size, and mirrored with probability 0.5."""

    name: Literal["flip"] = "flip"
    """Which augmentation."""


@final
class CropConfig(BaseAugmentConfig):
    """A crop at a random place, stretched to the input size, and mirrored with probability 0.5."""

    name: Literal["crop"] = "crop"
    """Which augmentation."""
    smallest_crop: float = Field(default=0.6, gt=0, le=1)
    """The smallest share of a side that is kept. Width and height are drawn independently."""

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

    The image is resized to 8/7 of the input size, cropped, and resized to the input size. The
    aspect ratio is not kept.

    Source: SRN's augmentation as recalled from the paper's section 4 (not confirmed): resize to
    256x256, crop with sides from {256, 224, 192, 168, 128} at a corner or the centre, resize to
    224x224. It is not known whether the paper mirrors images.
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
"""How training images are augmented. `name` chooses the kind. Evaluation sees the whole image."""


@final
class Augment:
    """Random views of images for training.

    Source: the settings of each augmentation name its source. RandAugment: Cubuk et al. 2020, as
    in torchvision, with magnitudes in 31 bins. Empty areas after a rotation or shift are black.
    """

    def __init__(self, config: AugmentConfig, spec: InputSpec) -> None:
        self.config, self.spec = config, spec
        scale = config.stage_scale
        size = {"height": round(spec.height * scale), "width": round(spec.width * scale)}
        self.stage_spec: InputSpec = spec.model_copy(update=size)
        """The size of the stage, and the interpolation of the resize to it."""
        magnitude = config.randaugment
        self._rand_augment = _build_rand_augment(magnitude) if magnitude else None

    def vary(self, staged: Tensor, random: Random) -> Tensor:
        """A random view of the model's input size, uint8 [3, height, width].

        Args:
            staged: The image at the size of `stage_spec`, uint8 [3, H, W]. It may itself be
                returned.
            random: All random numbers of the view are drawn from this generator.
        """
        view = self._crop(staged, random)
        if self.config.mirrored and random.random() < 0.5:
            view = view.flip(2)
        return view if self._rand_augment is None else self._apply_rand_augment(view, random)

    def _crop(self, staged: Tensor, random: Random) -> Tensor:
        box = self.config.draw_crop(self.stage_spec.width, self.stage_spec.height, random)
        if box is None:
            return staged
        left, top, width, height = box
        cropped = staged[:, top : top + height, left : left + width]
        return resize_pixels(cropped, self.spec.height, self.spec.width, self.spec.resize)

    def _apply_rand_augment(self, view: Tensor, random: Random) -> Tensor:
        """`view` after RandAugment, which draws from torch's global generator.

        The state of the global generator is put back afterwards.
        """
        assert self._rand_augment is not None
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would seed the accelerators' generators too.
            torch.default_generator.manual_seed(random.getrandbits(63))
            return self._rand_augment(view)


def _build_rand_augment(magnitude: int) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    return v2.RandAugment(num_ops=2, magnitude=magnitude)
