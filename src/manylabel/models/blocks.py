"""Building blocks that SRN and SRN modernised share."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from manylabel.evidence import RelationWeights


@final
class WholeMapConv2d(nn.Module):
    """A grouped convolution whose kernels cover the whole map, with one input channel per group.

    It is equal to `nn.Conv2d(channels, channels * per_channel, grid, groups=channels)` without
    padding, and its weights have the same shape. It is computed as one batched matrix product. That
    is several times faster, and it avoids that convolution's slow paths in channels_last and bf16.
    """

    def __init__(
        self, channels: int, per_channel: int, grid: tuple[int, int], *, bias: bool
    ) -> None:
        super().__init__()
        like = nn.Conv2d(channels, channels * per_channel, grid, groups=channels, bias=bias)
        self.weight, self.bias = like.weight, like.bias
        self.channels = channels

    def forward(self, features: Tensor) -> Tensor:
        """Units [N, channels * per_channel] of features [N, channels, *grid]."""
        # The channel comes first in memory: strided rows would halve the product's speed.
        by_channel = features.contiguous().flatten(2).transpose(0, 1)  # [channels, N, positions]
        kernels = self.weight.view(self.channels, -1, by_channel.shape[2]).transpose(1, 2)
        units = torch.bmm(by_channel, kernels).transpose(0, 1).flatten(1)
        return units if self.bias is None else units + self.bias


def relative_sums(maps: Tensor) -> Tensor:
    """How much of each map lies in each direction of each position: [N, C, 9, H, W].

    The nine directions are above left, above, above right, left, the position itself, right, below
    left, below and below right. Above means any row above, left any column to the left, so every
    position of the map is in exactly one direction, and the nine sums add up to the map's sum. They
    move with the map: a layout gives the same numbers anywhere in the image, and on any grid.

    Args:
        maps: [N, C, H, W].
    """
    rows, columns = (_sides(length, maps) for length in maps.shape[-2:])
    by_row = torch.einsum("jpq,ncqw->ncjpw", rows, maps)
    return torch.einsum("ivw,ncjpw->ncjipv", columns, by_row).flatten(2, 3)


def _sides(length: int, like: Tensor) -> Tensor:
    """For each place of a line, which places come before it, are it, and come after it.

    [3, length, length], of 0 and 1: the place, then the others.
    """
    ones = torch.ones(length, length, dtype=like.dtype, device=like.device)
    return torch.stack(
        [ones.tril(-1), torch.eye(length, dtype=like.dtype, device=like.device), ones.triu(1)]
    )


def conv_norm(channels: int, outputs: int, kernel: int = 1) -> nn.Sequential:
    """A convolution that keeps the map's size, then batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


@torch.no_grad()
def whole_map_weights(
    semantic: nn.Module, conv4: WholeMapConv2d, fc: nn.Linear, scale: float
) -> RelationWeights:
    """What can be shown of conv2 to conv4 and the classifier over them, in evaluation mode.

    Args:
        semantic: conv2 and conv3: from the label maps [N, C, H, W] to the groups' [N, G, H, W].
        conv4: The units over the groups.
        fc: From the units to the labels.
        scale: The value that `semantic` gets where a label has all its evidence.
    """
    kernels = conv4.weight[:, 0]
    labels = fc.out_features
    ones = torch.eye(labels, device=kernels.device, dtype=kernels.dtype)[..., None, None]
    rises = semantic(scale * ones) - semantic(torch.zeros_like(ones[:1]))  # [C, G, 1, 1]
    return RelationWeights(
        kernels=kernels.float().cpu().numpy(),
        groups=np.arange(len(kernels)) // (len(kernels) // conv4.channels),
        relative=False,
        label_to_group=rises[..., 0, 0].T.float().cpu().numpy(),
        unit_to_label=fc.weight.detach().float().cpu().numpy(),
    )


def resample_to_grid(grid: tuple[int, int], weighted: Tensor) -> Tensor:
    """U [N, C, H, W] resampled by area to a grid (height, width).

    Its sum is kept, since its values are parts of a label's attention.
    """
    height, width = weighted.shape[-2:]
    if (height, width) == grid:
        return weighted
    rows, columns = _overlaps(height, grid[0], weighted), _overlaps(width, grid[1], weighted)
    return rows @ weighted @ columns.T


def _overlaps(old: int, new: int, like: Tensor) -> Tensor:
    """The fraction of each of `old` cells of a line that lies in each of `new` cells: [new, old].

    Adaptive pooling would count a cell in two bins if the sizes do not divide evenly.
    """
    # The line has the length old * new, so all numbers are integers: an old cell has the length
    # `new`, and a new cell has the length `old`.
    starts_old = torch.arange(old, device=like.device) * new
    starts_new = torch.arange(new, device=like.device)[:, None] * old
    ends = torch.minimum(starts_new + old, starts_old + new)
    shared = (ends - torch.maximum(starts_new, starts_old)).clamp(min=0)
    return shared.to(like.dtype) / new
