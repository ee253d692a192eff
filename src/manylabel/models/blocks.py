"""Parts of SRN's heads that are about whole maps."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class WholeMapConv2d(nn.Module):
    """A grouped convolution whose kernels cover the whole map, one input channel a group.

    Equal to `nn.Conv2d(channels, channels * per_channel, grid, groups=channels)` without padding,
    with weights of the same shape, but computed as one batched matrix product: several times
    faster, and without that convolution's slow paths in channels_last and bf16.
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
        # Laid out by channel first: strided rows would halve the product's speed.
        by_channel = features.contiguous().flatten(2).transpose(0, 1)  # [channels, N, positions]
        kernels = self.weight.view(self.channels, -1, by_channel.shape[2]).transpose(1, 2)
        units = torch.bmm(by_channel, kernels).transpose(0, 1).flatten(1)
        return units if self.bias is None else units + self.bias


def conv_norm(channels: int, outputs: int, kernel: int = 1) -> nn.Sequential:
    """A convolution that keeps the map's size, and batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def pooled_onto(grid: tuple[int, int], weighted: Tensor) -> Tensor:
    """U [N, C, H, W] on another grid, its sum kept: entries are shares of a label's attention."""
    height, width = weighted.shape[-2:]
    if (height, width) == grid:
        return weighted
    rows, columns = _shares(height, grid[0], weighted), _shares(width, grid[1], weighted)
    return rows @ weighted @ columns.T


def _shares(old: int, new: int, like: Tensor) -> Tensor:
    """The part of each of `old` cells of a line that lies in each of `new` ones: [new, old]."""
    # Adaptive pooling would count a cell in two bins where sizes do not divide. In whole numbers,
    # the line being old * new long: an old cell is `new` long and a new one `old`.
    starts_old = torch.arange(old, device=like.device) * new
    starts_new = torch.arange(new, device=like.device)[:, None] * old
    ends = torch.minimum(starts_new + old, starts_old + new)
    shared = (ends - torch.maximum(starts_new, starts_old)).clamp(min=0)
    return shared.to(like.dtype) / new
