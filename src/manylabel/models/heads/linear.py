"""The linear head: the main net alone. It is SRN's baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.base import (
    Evidence,
    Head,
    HeadConfig,
    HeadOutput,
    LabelAxis,
    class_activation,
    label_rows,
)
from manylabel.models.heads.main_net import MainNet, Pool
from manylabel.models.heads.steps import MAIN, WHOLE


class LinearConfig(HeadConfig):
    """The linear head's settings."""

    name: Literal["linear"] = "linear"
    """Which head."""
    pool: Pool = "avg"
    """How the final map is pooled over its positions: `avg` (the paper's), `max`, or `gem`, a
    generalised mean that lies between them and whose power is learned."""
    maps: Literal["final", "both"] = "final"
    """Which maps it reads: `final`, or `both` the middle and the final one, each pooled. SRN reads
    both, so `both` is the control that tells what the middle map alone is worth."""


@final
class LinearHead(Head):
    """Global pooling of the final map and one linear layer. Its only branch is `cls`.

    Class activation maps show the final map's part alone.

    Source: the ResNet-101 baseline of arXiv:1702.05891, section 4. Reading both maps is not in the
    paper.
    """

    Config = LinearConfig
    steps = {"main": MAIN, "whole": WHOLE}

    def __init__(self, config: LinearConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        mid = shapes.mid_channels if config.maps == "both" else 0
        self.takes = ("mid", "final") if mid else ("final",)
        self.main = MainNet(shapes.final_channels, len(labels), config.pool, mid_channels=mid)

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images."""
        return self.main(maps)

    def evidence(self) -> Mapping[str, Evidence]:
        """Class activation maps."""
        return {"cam": class_activation(self.main.label_weights)}

    def label_axes(self) -> Mapping[str, LabelAxis]:
        """Those of the main net."""
        return label_rows(self, self.main.fc)
