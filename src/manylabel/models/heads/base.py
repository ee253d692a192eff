"""What every head is: feature maps in, one kind of output out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from manylabel.models.backbones import FeatureMaps

Pool = Literal["avg", "max", "gem"]

_SMALLEST: Final = 1e-6
"""What `gem` raises smaller features to: a power of zero has no finite gradient."""


@final
class HeadOutput(NamedTuple):
    """What a head says of N images, in training and evaluation alike.

    The named parts share storage with what was computed on the way: naming them costs nothing.
    """

    logits: Tensor
    """The head's answer [N, C], before the sigmoid."""
    branches: Mapping[str, Tensor]
    """Further logits [N, C] by name; SRN's are `cls`, `att` and `sr`."""
    maps: Mapping[str, Tensor]
    """Per-label maps [N, C, H, W] by name; SRN's are `attention` (A), `confidence` (S, logits)
    and `weighted` (U)."""
    units: Tensor | None = None
    """Activations of the last hidden units [N, K]; SRN's are conv4's."""

    def select(self, name: str) -> Tensor:
        """The logits [N, C] called `name`; `final` is the head's answer."""
        return self.logits if name == "final" else self.branches[name]


class Head(nn.Module):
    """A classifier over feature maps: one `forward`, one kind of output."""

    @abstractmethod
    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images."""

    def label_weights(self) -> Tensor | None:
        """The weights [C, E] that the head applies to the pooled final map.

        The main net's, or None of a head that does not score the final map label by label.
        """
        return main_of(self).fc.weight if has_main(self) else None


def has_main(head: Head) -> bool:
    """Whether a head has a main net; one that has it names its logits `cls`."""
    return isinstance(dict(head.named_children()).get("main"), MainNet)


def main_of(head: Head) -> MainNet:
    """The main net of a head that has one: pooling and a linear layer over the final map."""
    main = head.get_submodule("main")
    assert isinstance(main, MainNet), type(head)
    return main


@final
class MainNet(nn.Module):
    """The main net's classifier: pooling over the final map, then one linear layer.

    Source: SRN's f_cls after conv5_x (global average pooling); the others are later variants.
    """

    def __init__(self, channels: int, num_labels: int, pool: Pool) -> None:
        super().__init__()
        self.pooling = Pooling(pool)
        self.fc = nn.Linear(channels, num_labels)

    def forward(self, final_map: Tensor) -> Tensor:
        """Logits [N, C] of the final map [N, E, h, w]."""
        return self.fc(self.pooling(final_map))


@final
class Pooling(nn.Module):
    """One number a channel for the whole map: its average, its maximum, or `gem` between them.

    Args:
        pool: Which; `gem` learns one power for all channels and starts at 3.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.register_parameter("power", nn.Parameter(torch.tensor(3.0)) if pool == "gem" else None)

    def forward(self, features: Tensor) -> Tensor:
        """Features [N, E] of a map [N, E, h, w]."""
        if self.pool == "gem":
            return generalised_mean(features, self.get_parameter("power"))
        return features.amax((2, 3)) if self.pool == "max" else features.mean((2, 3))


def generalised_mean(features: Tensor, power: Tensor) -> Tensor:
    """The mean (mean of x^p)^(1/p) over the positions of a map: [N, E] of [N, E, h, w].

    p = 1 is the average, p to infinity the maximum. Features below 1e-6 count as that, so the
    negative part of a map that no ReLU made is lost.

    Args:
        features: The map.
        power: p, a scalar; below 1 it counts as 1.

    Source: F. Radenovic, G. Tolias, O. Chum, "Fine-tuning CNN Image Retrieval with No Human
    Annotation", TPAMI 2018, arXiv:1711.02512, Eq. 3. Deliberate differences: the bound on p, and
    powers of each channel's share of its maximum, in fp32, which no p overflows.
    """
    values, p = features.float().clamp(min=_SMALLEST), power.float().clamp(min=1)
    # The mean is homogeneous: a factor taken out and put back has no part in the gradient.
    peak = values.detach().amax((2, 3), keepdim=True)
    mean = (values / peak).pow(p).mean((2, 3)).pow(1 / p) * peak[:, :, 0, 0]
    return mean.to(features.dtype)
