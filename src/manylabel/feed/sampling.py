"""Which images an epoch shows, and how often. Some samplers show images of rare labels more often.

Seed and epoch decide the whole order of an epoch, so a run can resume in the middle of one. Every
epoch has the same length.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from manylabel.config import Config, default_name
from manylabel.labels import PRESENT


@final
class UniformConfig(Config):
    """An epoch shows each training image once, as in the paper."""

    name: Literal["uniform"] = "uniform"
    """Which sampler."""

    def length(self, targets: NDArray[np.int8]) -> int:
        """The number of images in each epoch."""
        return len(targets)

    def order(self, targets: NDArray[np.int8], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Every image once, in a random order."""
        import torch

        # torch and not NumPy: so the order stays the same as in runs of older versions.
        generator = torch.Generator().manual_seed(mix(seed, epoch))
        return torch.randperm(len(targets), generator=generator).numpy()


@final
class RepeatFactorConfig(Config):
    """An epoch shows images of rare labels more than once, as for LVIS.

    An image is shown as often as its repeat factor says. The fractional part of the factor is the
    probability of one more time. It is drawn again for each epoch.
    """

    name: Literal["repeat-factor"] = "repeat-factor"
    """Which sampler."""
    threshold: float = Field(default=1e-3, gt=0, le=1)
    """A label is rare if fewer than this share of the images have it. Images of rare labels are
    repeated. The default is the value of LVIS."""

    def length(self, targets: NDArray[np.int8]) -> int:
        """The number of images in each epoch. An image that is shown twice counts twice."""
        whole, extra = _whole_and_fraction(repeat_factors(targets, self.threshold))
        return int(whole.sum()) + round(extra.sum())

    def order(self, targets: NDArray[np.int8], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Every image as often as its repeat factor says, in a random order."""
        rng = np.random.default_rng(mix(seed, epoch))
        counts = _round_randomly(repeat_factors(targets, self.threshold), rng)
        return rng.permutation(np.repeat(np.arange(len(targets)), counts))


@final
class InverseFrequencyConfig(Config):
    """An epoch draws N of the N images with replacement. Images of rare labels are more likely.

    All draws are independent, so an image may be missing from an epoch.
    """

    name: Literal["inverse-frequency"] = "inverse-frequency"
    """Which sampler."""
    power: float = Field(default=0.5, gt=0)
    """The weight of a label is f ** -power, where f is the share of images that have the label."""

    def length(self, targets: NDArray[np.int8]) -> int:
        """The number of images in each epoch."""
        return len(targets)

    def order(self, targets: NDArray[np.int8], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """One draw for each image of the data set."""
        rng = np.random.default_rng(mix(seed, epoch))
        cumulative = np.cumsum(draw_weights(targets, self.power))
        points = rng.random(len(targets)) * cumulative[-1]
        return np.searchsorted(cumulative, points, side="right").astype(np.int64)


SamplerConfig = Annotated[
    UniformConfig | RepeatFactorConfig | InverseFrequencyConfig,
    Field(discriminator="name"),
    default_name("uniform"),
]
"""How often an epoch shows each training image. `name` chooses the sampler."""


def epoch_order(
    config: SamplerConfig, targets: NDArray[np.int8], *, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The images of an epoch in order, int64 [L], positions in `targets`; L is `epoch_length`.

    Args:
        config: The sampler.
        targets: int8 [N, C] in {1, 0, -1}. An unknown target counts as not present.
        seed: The seed of the run.
        epoch: Counted over the whole run.
    """
    return config.order(targets, seed=seed, epoch=epoch)


def epoch_length(config: SamplerConfig, targets: NDArray[np.int8]) -> int:
    """The number of images that each epoch shows. An image that is shown twice counts twice."""
    return config.length(targets)


def repeats(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each entry of an order, how often its image came before in the order, int64 [L].

    The first time is 0. Training uses this number to give each repeat another random view.
    """
    by_image = np.argsort(order, kind="stable")
    counts = np.bincount(order)
    nth = np.empty_like(order)
    nth[by_image] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return nth


def repeat_factors(targets: NDArray[np.int8], threshold: float) -> NDArray[np.float64]:
    """How often an epoch shows each image on average, [N], 1 or more.

    The factor of a label is max(1, sqrt(threshold / f)), where f is the share of images that have
    the label. The factor of an image is the largest factor of its labels. An image without a label
    is shown once.

    Source: Gupta, Dollar, Girshick, "LVIS", CVPR 2019, appendix: repeat factor sampling.
    """
    share = _shares(targets)
    factors = np.sqrt(threshold / np.where(share > 0, share, threshold))
    return np.maximum(1, _largest_of_labels(targets, factors))


def draw_weights(targets: NDArray[np.int8], power: float) -> NDArray[np.float64]:
    """The probability of each image in a draw, [N]; the sum is 1.

    The rarest label of an image decides. The weight is f ** -power, where f is the share of images
    that have that label. An image without a label gets the smallest weight of the other images.
    """
    share = _shares(targets)
    weights = _largest_of_labels(targets, np.where(share > 0, share, 1) ** -power)
    has_any = weights > 0
    weights[~has_any] = weights[has_any].min() if has_any.any() else 1
    return weights / weights.sum()


def mix(*numbers: int) -> int:
    """A 63-bit seed that depends on every number and on their order."""
    text = ",".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def _shares(targets: NDArray[np.int8]) -> NDArray[np.float64]:
    """For each label, the share of images that have it, [C]."""
    return np.count_nonzero(targets == PRESENT, axis=0) / max(1, len(targets))


def _largest_of_labels(
    targets: NDArray[np.int8], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each image, the largest of `values` [C] among its labels, [N]; 0 without labels."""
    largest = np.zeros(len(targets))
    for column, value in zip(targets.T, values, strict=True):
        np.maximum(largest, value, out=largest, where=column == PRESENT)
    return largest


def _round_randomly(factors: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Whole counts [N] whose mean over many draws is `factors`. Their sum is always the same.

    The method is systematic sampling. The fractional parts are placed on a line one after another,
    in a random order. Points with a distance of 1 are set on this line from a random start. An
    image gets one more for each point that lies on its part of the line.
    """
    whole, extra = _whole_and_fraction(factors)
    points = round(extra.sum())
    if not points:
        return whole
    order = rng.permutation(len(factors))
    ends = np.cumsum(extra[order])
    # The line is scaled to a whole length. This changes the length by at most one half.
    ends *= points / ends[-1]
    passed = np.floor(ends + rng.random())
    passed[-1] = points
    counts = whole.copy()
    counts[order] += np.diff(passed, prepend=0).astype(np.int64)
    return counts


def _whole_and_fraction(
    factors: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    whole = np.floor(factors)
    return whole.astype(np.int64), factors - whole
