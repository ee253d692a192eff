"""The main net, a part of many heads: pooling of the final map and one linear layer."""

from __future__ import annotations

from typing import Final, Literal, final

import torch
from torch import Tensor, nn

from manylabel.models.backbones import FeatureMaps
from manylabel.models.heads.base import HeadOutput

Pool = Literal["avg", "max", "gem"]

_SMALLEST: Final = 1e-6
"""The smallest feature under `gem`; smaller ones become this. At 0 a power has no gradient."""


@final
class MainNet(nn.Module):
    """Pooling of the final map, then one linear layer.

    It returns a `HeadOutput`, so a training step can run it without the rest of its head.

    Args:
        channels: The channels E of the final map.
        num_labels: The number of labels C.
        pool: The kind of pooling.
        mid_channels: The channels D of the mid map if the layer reads that map, too; 0 if not.

    Source: SRN's f_cls after conv5_x (global average pooling). Other kinds of pooling are later
    variants.
    """

    def __init__(
        self, channels: int, num_labels: int, pool: Pool, *, mid_channels: int = 0
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pooling = Pooling(pool)
        self.mid_pooling = Pooling(pool) if mid_channels else None
        self.fc = nn.Linear(channels + mid_channels, num_labels)

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images. The logits are also the only branch, `cls`."""
        pooled = self.pooling(maps.final)
        if self.mid_pooling is not None:
            pooled = torch.cat([pooled, self.mid_pooling(maps.mid)], dim=1)
        logits = self.fc(pooled)
        return HeadOutput(logits, branches={"cls": logits}, maps={})

    def label_weights(self) -> Tensor:
        """The weights [C, E] of the linear layer for the final map."""
        return self.fc.weight[:, : self.channels]


@final
class Pooling(nn.Module):
    """Pools each channel of a map to one number: its average, its maximum, or `gem`.

    Args:
        pool: The kind of pooling. `gem` is a generalised mean between the other two. It learns one
            power for all channels, which starts at 3.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.register_parameter("power", nn.Parameter(torch.tensor(3.0)) if pool == "gem" else None)

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features [N, E] of a map [N, E, h, w]."""
        if self.pool == "gem":
            return generalised_mean(features, self.get_parameter("power"))
        return features.amax((2, 3)) if self.pool == "max" else features.mean((2, 3))


def generalised_mean(features: Tensor, power: Tensor) -> Tensor:
    """The generalised mean (mean of x^p)^(1/p) over the positions of a map, [N, E].

    With p = 1 it is the average. As p goes to infinity, it becomes the maximum. Features below 1e-6
    count as 1e-6, so the negative values of a map without a ReLU are lost.

    Args:
        features: The map [N, E, h, w].
        power: p, a scalar; a value below 1 counts as 1.

    Source: F. Radenovic, G. Tolias, O. Chum, "Fine-tuning CNN Image Retrieval with No Human
    Annotation", TPAMI 2018, arXiv:1711.02512, Eq. 3. Deliberate differences: p has a lower bound.
    Each channel is divided by its maximum before the power and multiplied by it after the root, in
    fp32, so that no p overflows.
    """
    values, p = features.float().clamp(min=_SMALLEST), power.float().clamp(min=1)
    # The mean is homogeneous, so dividing by the maximum and multiplying by it needs no gradient.
    peak = values.detach().amax((2, 3), keepdim=True)
    mean = (values / peak).pow(p).mean((2, 3)).pow(1 / p) * peak[:, :, 0, 0]
    return mean.to(features.dtype)
