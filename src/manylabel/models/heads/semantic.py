"""SRN's ablation without positions: it learns which labels occur together, but not where.

    backbone ── final map ── MainNet ── y_cls ─┬─────────────────────────────────────── ─┬─ logits
                                               └─ sigmoid ── SemanticRelations ── y_sr ──┘

Source: the row "ResNet-101-semantic" of arXiv:1702.05891, section 4. The paper says that it learns
relations from the main net's predictions, without positions. Two things are not confirmed: the
widths of its layers, and that its input is scores, not logits. Both are taken from SRN, whose conv2
and conv3 have 512 channels and whose input is the weighted sigmoid(S).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.base import (
    Channels,
    Evidence,
    Head,
    HeadConfig,
    HeadOutput,
    LabelAxis,
    class_activation,
    label_columns,
    label_rows,
)
from manylabel.models.heads.main_net import MainNet, Pool
from manylabel.models.heads.steps import MAIN, REGULARISATION, WHOLE


class SemanticConfig(HeadConfig):
    """The settings of SRN's ablation without positions."""

    name: Literal["semantic"] = "semantic"
    """Which head."""
    pool: Pool = "avg"
    """How the main net pools the final map: `avg` (the paper's), `max` or `gem`."""
    relation_channels: Channels = 512
    """Units of each of the two hidden layers."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """The weight of y_cls in the final logits; y_sr has 1 - alpha."""


@final
class SemanticHead(Head):
    """The main net, and a small network that takes the main net's scores.

    Its branches are `cls` and `sr`. It has no maps. Any map size works.
    """

    Config = SemanticConfig
    steps = {"main": MAIN, "regularisation": REGULARISATION, "whole": WHOLE}

    def __init__(self, config: SemanticConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        self.alpha = config.alpha
        self.main = MainNet(shapes.final_channels, len(labels), config.pool)
        self.regularisation = SemanticRelations(config.relation_channels, len(labels))

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images: logits = alpha * y_cls + (1 - alpha) * y_sr."""
        y_cls = self.main(maps).logits
        y_sr, units = self.regularisation(torch.sigmoid(y_cls))
        return HeadOutput(
            logits=self.alpha * y_cls + (1 - self.alpha) * y_sr,
            branches={"cls": y_cls, "sr": y_sr},
            maps={},
            units=units,
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """Class activation maps of the main net."""
        return {"cam": class_activation(self.main.label_weights)}

    def label_axes(self) -> Mapping[str, LabelAxis]:
        """Those of both classifiers, and of the layer that takes the scores."""
        relations = self.regularisation
        return {
            **label_rows(self, self.main.fc, relations.fc),
            **label_columns(self, relations.semantic[0]),
        }


@final
class SemanticRelations(nn.Module):
    """Two hidden layers and a classifier over the scores of all labels: SRN's conv2, conv3, fc."""

    def __init__(self, channels: int, num_labels: int) -> None:
        super().__init__()
        self.semantic = nn.Sequential(
            nn.Linear(num_labels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(channels, num_labels)

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Logits y_sr [N, C] and the hidden units [N, K] of scores [N, C]."""
        units = self.semantic(scores)
        return self.fc(units), units
