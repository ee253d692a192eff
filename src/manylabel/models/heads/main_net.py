"""The main net: pooling over the final map and one linear layer, a part of many heads."""

from __future__ import annotations

from typing import Final, Literal, final

import torch
from torch import Tensor, nn

from manylabel.models.backbones import FeatureMaps
from manylabel.models.heads.base import HeadOutput

Pool = Literal["avg", "max", "gem"]

_SMALLEST: Final = 1e-6
"""What `gem` raises smaller features to: a power of zero has no finite gradient."""


@final
class MainNet(nn.Module):
    """Pooling over the final map, then one linear layer.

    It answers as a head does, so that a training step can run it without the rest of its head.

    Source: SRN's f_cls after conv5_x (global average pooling); the others are later variants.
    """

    def __init__(self, channels: int, num_labels: int, pool: Pool) -> None:
        super().__init__()
        self.pooling = Pooling(pool)
        self.fc = nn.Linear(channels, num_labels)

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images: its logits are also its only branch, `cls`."""
        logits = self.fc(self.pooling(maps.final))
        return HeadOutput(logits, branches={"cls": logits}, maps={})

    def label_weights(self) -> Tensor:
        """The weights [C, E] that make logits of the pooled final map."""
        return self.fc.weight


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
