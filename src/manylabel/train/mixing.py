"""MixUp and CutMix: mix two training images into one.

A batch on the device is mixed with the same batch in another order. Its loss is the weighted mean
of two losses: one with the images' own targets, and one with the targets of their partners. The
weights are the fractions of the two images. For sigmoid cross-entropy this equals the loss with
mixed targets. It also works for all other losses, and if a target is known for one image only.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun et al., "CutMix",
ICCV 2019. One fraction is drawn per batch, as in the code of both authors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Annotated, Final, Literal, TypeVar, final

import torch
from pydantic import Field
from torch import Tensor

from manylabel.config import Config, default_name
from manylabel.feed.sampling import mix

Output = TypeVar("Output")

_STREAM: Final = 1
"""Makes these draws different from those of order and views, which have the same seeds."""


@final
@dataclass(frozen=True, slots=True)
class PixelBox:
    """A box in an image: rows `top` to `bottom` and columns `left` to `right`, without the ends."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """The area in pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


@final
@dataclass(frozen=True, slots=True)
class Mixture:
    """How one batch is mixed.

    Args:
        kept: The fraction, 0..1, of each image that is kept; with 1 the batch does not change.
        partners: For each image of the batch, the position of the image that it is mixed with.
        box: The box that is taken from the partner (CutMix). None: the mixed image is a weighted
            mean of the two images (MixUp).
    """

    kept: float = 1.0
    partners: tuple[int, ...] = ()
    box: PixelBox | None = None

    def inputs(self, images: object) -> object:
        """The mixed images of images [N, 3, H, W]. Feature maps are allowed only if `kept` is 1."""
        if self.kept == 1:
            return images
        assert isinstance(images, Tensor), "feature maps are not mixed"
        others = images[self._order(images)]
        if self.box is None:
            return self.kept * images + (1 - self.kept) * others
        mixed, box = images.clone(), self.box
        inside = (..., slice(box.top, box.bottom), slice(box.left, box.right))
        mixed[inside] = others[inside]
        return mixed

    def loss(
        self, loss_of: Callable[[Output, Tensor], Tensor], output: Output, targets: Tensor
    ) -> Tensor:
        """The loss of the mixed images.

        Args:
            loss_of: The loss, of an output and targets.
            output: The model's output for the mixed images.
            targets: The targets [N, C] of the images before mixing.
        """
        own = loss_of(output, targets)
        if self.kept == 1:
            return own
        others = loss_of(output, targets[self._order(targets)])
        return self.kept * own + (1 - self.kept) * others

    def _order(self, like: Tensor) -> Tensor:
        return torch.tensor(self.partners, device=like.device)


@final
class NoMixingConfig(Config):
    """Training images are not mixed, as in every recipe that follows a paper."""

    name: Literal["none"] = "none"
    """Which mixing."""

    def draw(self, random: Random, *, images: int, size: tuple[int, int]) -> Mixture:
        """A mixture that changes nothing."""
        return Mixture()


@final
class MixUpConfig(Config):
    """Each image becomes a weighted mean of two images. Needs features = "live"."""

    name: Literal["mixup"] = "mixup"
    """Which mixing."""
    alpha: float = Field(default=0.2, gt=0)
    """The fraction of an image that is kept is drawn from Beta(alpha, alpha). A small alpha gives
    values near 0 or 1; a large alpha gives values near 0.5."""

    def draw(self, random: Random, *, images: int, size: tuple[int, int]) -> Mixture:
        """A mixture of whole images."""
        kept = random.betavariate(self.alpha, self.alpha)
        return Mixture(kept, _draw_partners(random, images))


@final
class CutMixConfig(Config):
    """A box of one image replaces the same box of the other one. Needs features = "live"."""

    name: Literal["cutmix"] = "cutmix"
    """Which mixing."""
    alpha: float = Field(default=1.0, gt=0)
    """The fraction of an image that is kept is drawn from Beta(alpha, alpha), as for `mixup`."""

    def draw(self, random: Random, *, images: int, size: tuple[int, int]) -> Mixture:
        """A mixture by a box."""
        kept = random.betavariate(self.alpha, self.alpha)
        partners = _draw_partners(random, images)
        box = _draw_box(random, size, share=1 - kept)
        return Mixture(1 - box.area / (size[0] * size[1]), partners, box)


@final
class EitherConfig(Config):
    """Each batch is mixed by `mixup` or by `cutmix`, at random. Needs features = "live"."""

    name: Literal["either"] = "either"
    """Which mixing."""
    alpha: float | None = Field(default=None, gt=0)
    """The alpha of both. If it is not set, each has its own default."""

    def draw(self, random: Random, *, images: int, size: tuple[int, int]) -> Mixture:
        """A mixture by one of the two."""
        kind = random.choice((MixUpConfig, CutMixConfig))
        config = kind() if self.alpha is None else kind(alpha=self.alpha)
        return config.draw(random, images=images, size=size)


MixingConfig = Annotated[
    NoMixingConfig | MixUpConfig | CutMixConfig | EitherConfig,
    Field(discriminator="name"),
    default_name("none"),
]
"""How two training images are mixed into one; `name` says which way. Needs features = "live"."""


def draw_mixture(
    config: MixingConfig, *, images: int, size: tuple[int, int], seed: int, epoch: int, batch: int
) -> Mixture:
    """How a batch is mixed. The same arguments give the same result.

    Args:
        config: The settings.
        images: The number of images of the batch.
        size: Height and width of an image, in pixels.
        seed: The run's seed.
        epoch: The number of the epoch, counted over the whole run.
        batch: The batch's position in the epoch, from 0.
    """
    return config.draw(Random(mix(seed, epoch, batch, _STREAM)), images=images, size=size)


def _draw_partners(random: Random, images: int) -> tuple[int, ...]:
    return tuple(random.sample(range(images), images))


def _draw_box(random: Random, size: tuple[int, int], *, share: float) -> PixelBox:
    """A box of about `share` of the image's area around a random pixel, clipped to the image."""
    height, width = size
    rows, columns = int(height * share**0.5), int(width * share**0.5)
    top = random.randrange(height) - rows // 2
    left = random.randrange(width) - columns // 2
    return PixelBox(
        top=max(0, top),
        bottom=min(height, top + rows),
        left=max(0, left),
        right=min(width, left + columns),
    )
