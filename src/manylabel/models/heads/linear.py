"""The linear head: the main net alone, and SRN's baseline."""

from __future__ import annotations

from typing import Literal, final

from manylabel.config import Config
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.base import Head, HeadOutput, MainNet, Pool


class LinearConfig(Config):
    """The linear head's settings."""

    name: Literal["linear"] = "linear"
    """Which head."""
    pool: Pool = "avg"
    """How the final map is pooled over its positions: `avg` (the paper's), `max`, or `gem`, a mean
    between them whose power is learned."""


@final
class LinearHead(Head):
    """Global pooling of the final map and one linear layer: `cls` is its only branch.

    Source: the ResNet-101 baseline of arXiv:1702.05891, section 4.
    """

    def __init__(self, main: MainNet) -> None:
        super().__init__()
        self.main = main

    @classmethod
    def build(cls, config: LinearConfig, shapes: MapShapes, num_labels: int) -> LinearHead:
        """A new head with random weights."""
        return cls(MainNet(shapes.final_channels, num_labels, config.pool))

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images."""
        logits = self.main(maps.final)
        return HeadOutput(logits, branches={"cls": logits}, maps={})
