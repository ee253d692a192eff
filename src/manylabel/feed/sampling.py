"""Which images an epoch shows, and how often: for labels that are rare.

An epoch's order is a value of (seed, epoch), whole, so that a run can go on from its middle. Its
length is the same in every epoch.
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
    """An epoch shows each training image once, as the paper's does."""

    name: Literal["uniform"] = "uniform"
    """Which sampler."""

    def length(self, targets: NDArray[np.int8]) -> int:
        """Images of each epoch."""
        return len(targets)

    def order(self, targets: NDArray[np.int8], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Every image once, in a random order."""
        import torch

        # torch's: the order that runs have had since before there were other samplers.
        generator = torch.Generator().manual_seed(mix(seed, epoch))
        return torch.randperm(len(targets), generator=generator).numpy()


@final
class RepeatFactorConfig(Config):
    """An epoch shows images of rare labels more than once (LVIS).

    An image is shown as often as its repeat factor says. The fraction of the factor is the chance
    of once more, drawn anew each epoch.
    """

    name: Literal["repeat-factor"] = "repeat-factor"
    """Which sampler."""
    threshold: float = Field(default=1e-3, gt=0, le=1)
    """Images of labels that fewer than this share of images have are repeated; LVIS's value."""

    def length(self, targets: NDArray[np.int8]) -> int:
        """Images of each epoch; those that come twice count twice."""
        whole, extra = _whole_and_extra(repeat_factors(targets, self.threshold))
        return int(whole.sum()) + round(extra.sum())

    def order(self, targets: NDArray[np.int8], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Every image as often as its repeat factor says, in a random order."""
        rng = np.random.default_rng(mix(seed, epoch))
        counts = _rounded(repeat_factors(targets, self.threshold), rng)
        return rng.permutation(np.repeat(np.arange(len(targets)), counts))


@final
class InverseFrequencyConfig(Config):
    """An epoch draws as many images as there are, with replacement, rare labels more likely.

    Each place of the epoch is drawn by itself, and an image may be missing from an epoch.
    """

    name: Literal["inverse-frequency"] = "inverse-frequency"
    """Which sampler."""
    power: float = Field(default=0.5, gt=0)
    """A label's weight is its share of images to the minus this."""

    def length(self, targets: NDArray[np.int8]) -> int:
        """Images of each epoch."""
        return len(targets)

    def order(self, targets: NDArray[np.int8], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """As many draws as images."""
        rng = np.random.default_rng(mix(seed, epoch))
        reach = np.cumsum(draw_weights(targets, self.power))
        places = rng.random(len(targets)) * reach[-1]
        return np.searchsorted(reach, places, side="right").astype(np.int64)


SamplerConfig = Annotated[
    UniformConfig | RepeatFactorConfig | InverseFrequencyConfig,
    Field(discriminator="name"),
    default_name("uniform"),
]
"""How often an epoch shows each training image, told apart by `name`."""


def epoch_order(
    config: SamplerConfig, targets: NDArray[np.int8], *, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The images of an epoch in order, int64 [L], positions in `targets`; L is `epoch_length`.

    Args:
        config: How.
        targets: int8 [N, C] in {1, 0, -1}; unknown counts as not present.
        seed: The run's.
        epoch: Counted over the whole run.
    """
    return config.order(targets, seed=seed, epoch=epoch)


def epoch_length(config: SamplerConfig, targets: NDArray[np.int8]) -> int:
    """How many images each epoch shows; those that come twice count twice."""
    return config.length(targets)


def repeats(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each image of an order came before in it, [L]: 0 for the first time.

    Each time an image comes, it is to be seen with another random view.
    """
    by_image = np.argsort(order, kind="stable")
    counts = np.bincount(order)
    nth = np.empty_like(order)
    nth[by_image] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return nth


def repeat_factors(targets: NDArray[np.int8], threshold: float) -> NDArray[np.float64]:
    """How often an epoch shows each image on the average, [N], 1 or more.

    A label that a share f of the images has asks for max(1, sqrt(threshold / f)); of an image's
    labels the one that asks for most decides. An image without a label is shown once.

    Source: Gupta, Dollar, Girshick, "LVIS", CVPR 2019, appendix: repeat factor sampling.
    """
    share = _shares(targets)
    factors = np.sqrt(threshold / np.where(share > 0, share, threshold))
    return np.maximum(1, _of_rarest(targets, factors))


def draw_weights(targets: NDArray[np.int8], power: float) -> NDArray[np.float64]:
    """How likely each image is to be drawn, [N] of sum 1.

    The rarest of an image's labels decides: the weight is its share of the images to the minus
    `power`. An image without a label weighs as much as the lightest of the others.
    """
    share = _shares(targets)
    weights = _of_rarest(targets, np.where(share > 0, share, 1) ** -power)
    has_any = weights > 0
    weights[~has_any] = weights[has_any].min() if has_any.any() else 1
    return weights / weights.sum()


def mix(*numbers: int) -> int:
    """A 63-bit seed that depends on every number and on their order."""
    text = ",".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def _shares(targets: NDArray[np.int8]) -> NDArray[np.float64]:
    """The share of images that each label is present in, [C]."""
    return np.count_nonzero(targets == PRESENT, axis=0) / max(1, len(targets))


def _of_rarest(targets: NDArray[np.int8], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest of `values` [C] among each image's labels, [N]; 0 where it has none."""
    largest = np.zeros(len(targets))
    for column, value in zip(targets.T, values, strict=True):
        np.maximum(largest, value, out=largest, where=column == PRESENT)
    return largest


def _rounded(factors: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Whole counts [N] that are `factors` on the average, and always of the same sum.

    The fractions are laid end to end in a random order, and a point is set at every whole number
    from a random start: each image gets the points that fall on its fraction.
    """
    whole, extra = _whole_and_extra(factors)
    points = round(extra.sum())
    if not points:
        return whole
    order = rng.permutation(len(factors))
    reach = np.cumsum(extra[order])
    # That the points are whole, each fraction gives up or gains its part of less than one half.
    reach *= points / reach[-1]
    passed = np.floor(reach + rng.random())
    passed[-1] = points
    counts = whole.copy()
    counts[order] += np.diff(passed, prepend=0).astype(np.int64)
    return counts


def _whole_and_extra(
    factors: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    whole = np.floor(factors)
    return whole.astype(np.int64), factors - whole
