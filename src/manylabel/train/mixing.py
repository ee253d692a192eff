"""Training images that are two: MixUp and CutMix for images with several labels.

A batch is mixed with itself in another order, after it is on the device. Its loss is that of the
images' own targets and that of their partners', weighted by the share of each. For sigmoid
cross-entropy this equals mixed targets; said by losses, it also holds for every other loss and
where a target is known of one image only.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun et al., "CutMix",
ICCV 2019. One share a batch, as both authors' code draws it.
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
"""Keeps these draws apart from those of order and views, which are seeded by the same numbers."""


@final
@dataclass(frozen=True, slots=True)
class PixelBox:
    """Rows `top` to `bottom` and columns `left` to `right` of an image; the ends are outside."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """In pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


@final
@dataclass(frozen=True, slots=True)
class Mixture:
    """How one batch is mixed.

    Args:
        kept: The share, 0..1, that each image keeps of itself; 1 leaves the batch as it is.
        partners: For each image of the batch, the one that it is mixed with.
        box: What is taken from the partner (CutMix); None: everything, faintly (MixUp).
    """

    kept: float = 1.0
    partners: tuple[int, ...] = ()
    box: PixelBox | None = None

    def inputs(self, images: object) -> object:
        """The mixed images of images [N, 3, H, W]; feature maps only come unmixed."""
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
        """The loss of what a model says of the mixed images; targets [N, C] are the unmixed."""
        own = loss_of(output, targets)
        if self.kept == 1:
            return own
        others = loss_of(output, targets[self._order(targets)])
        return self.kept * own + (1 - self.kept) * others

    def _order(self, like: Tensor) -> Tensor:
        return torch.tensor(self.partners, device=like.device)


@final
class NoMixingConfig(Config):
    """Training images as they are, as in every recipe of a paper."""

    name: Literal["none"] = "none"
    """Which mixing."""

    def draw(self, random: Random, *, images: int, size: tuple[int, int]) -> Mixture:
        """No mixture."""
        return Mixture()


@final
class MixUpConfig(Config):
    """The weighted mean of two images. Needs live features."""

    name: Literal["mixup"] = "mixup"
    """Which mixing."""
    alpha: float = Field(default=0.2, gt=0)
    """The share of an image is drawn from Beta(alpha, alpha): near 0 or 1 for a small alpha, near
    a half for a large one."""

    def draw(self, random: Random, *, images: int, size: tuple[int, int]) -> Mixture:
        """A mixture of whole images."""
        kept = random.betavariate(self.alpha, self.alpha)
        return Mixture(kept, _draw_partners(random, images))


@final
class CutMixConfig(Config):
    """A box of one image is laid over the other. Needs live features."""

    name: Literal["cutmix"] = "cutmix"
    """Which mixing."""
    alpha: float = Field(default=1.0, gt=0)
    """The share of an image is drawn from Beta(alpha, alpha), as for `mixup`."""

    def draw(self, random: Random, *, images: int, size: tuple[int, int]) -> Mixture:
        """A mixture by a box."""
        kept = random.betavariate(self.alpha, self.alpha)
        partners = _draw_partners(random, images)
        box = _draw_box(random, size, share=1 - kept)
        return Mixture(1 - box.area / (size[0] * size[1]), partners, box)


@final
class EitherConfig(Config):
    """Each batch is mixed by `mixup` or by `cutmix`, at random. Needs live features."""

    name: Literal["either"] = "either"
    """Which mixing."""
    alpha: float | None = Field(default=None, gt=0)
    """The alpha of both; unset: each has its own default."""

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
"""Mixing two training images into one, told apart by `name`. It needs live features."""


def draw_mixture(
    config: MixingConfig, *, images: int, size: tuple[int, int], seed: int, epoch: int, batch: int
) -> Mixture:
    """How a batch is mixed: the same arguments, the same answer.

    Args:
        config: Whether and how.
        images: N of the batch.
        size: Height and width of an image, in pixels.
        seed: The run's.
        epoch: Counted over the whole run.
        batch: The batch's position in the epoch, from 0.
    """
    return config.draw(Random(mix(seed, epoch, batch, _STREAM)), images=images, size=size)


def _draw_partners(random: Random, images: int) -> tuple[int, ...]:
    return tuple(random.sample(range(images), images))


def _draw_box(random: Random, size: tuple[int, int], *, share: float) -> PixelBox:
    """A box of about `share` of the image around a random pixel; what lies outside is cut off."""
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
