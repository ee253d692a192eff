"""What every head is: feature maps in, one kind of output out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal, NamedTuple, final

from torch import Tensor, nn

from manylabel.models.backbones import FeatureMaps

Pool = Literal["avg", "max"]


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


def main_of(head: Head) -> MainNet:
    """The pooling and linear layer over the final map: the part that every head has."""
    main = head.get_submodule("main")
    assert isinstance(main, MainNet), type(head)
    return main


@final
class MainNet(nn.Module):
    """The main net's classifier: pooling over the final map, then one linear layer.

    Source: SRN's f_cls after conv5_x (global average pooling); max pooling is a later variant.
    """

    def __init__(self, channels: int, num_labels: int, pool: Pool) -> None:
        super().__init__()
        self.pool = pool
        self.fc = nn.Linear(channels, num_labels)

    def forward(self, final_map: Tensor) -> Tensor:
        """Logits [N, C] of the final map [N, E, h, w]."""
        pooled = final_map.amax((2, 3)) if self.pool == "max" else final_map.mean((2, 3))
        return self.fc(pooled)
