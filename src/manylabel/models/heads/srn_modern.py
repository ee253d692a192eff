"""SRN modernised: cheaper than SRN, and trained in one step.

    backbone ─┬─ final map ── MainNet ──────────────────────────────── y_cls ─┐
              └─ mid map ── 1x1 ── + context ─┬─ A, S ─ sum(A * S) ── y_att  ├─ mean
                                              └─ U = sigmoid(S) * A          │
                                                 └─ relations ─────── y_sr ──┘

The ideas of SRN stay: attention that is learned from image-level labels alone, U = sigmoid(S) * A
(Eq. 8), and convolutions over the U of all labels (conv2 to conv4), which learn the labels that
occur together and their layout. These are the deliberate differences from arXiv:1702.05891; their
effect is measured in docs/heads.md:

- The mid map is reduced to 256 channels once, for both A and S. The 3x3 convolution, which is three
  fifths of SRN's cost, has a quarter as many weights. Its output is added to its input.
- There is batch normalisation after every hidden convolution, as in the released network.
- U is multiplied by its number of positions before conv2, so that its values are about 1.
- The final logits are the mean of all three branches. In the paper y_att only trains the attention.
- There is one training step, with a loss on the final logits and on each branch
  (`whole-branches`), not four steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from manylabel.evidence import WEIGHTED_ATTENTION, RelationWeights
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.blocks import (
    WholeMapConv2d,
    conv_norm,
    resample_to_grid,
    whole_map_weights,
)
from manylabel.models.heads.base import (
    Channels,
    Evidence,
    GridSide,
    Head,
    HeadConfig,
    HeadOutput,
    RelationBranch,
    class_activation,
    output_map,
)
from manylabel.models.heads.main_net import MainNet, Pool
from manylabel.models.heads.steps import SRN_STEPS


class SRNModernConfig(HeadConfig):
    """The settings of SRN modernised."""

    name: Literal["srn-modern"] = "srn-modern"
    """Which head."""
    pool: Pool = "avg"
    """How the main net pools the final map: `avg`, `max` or `gem`."""
    channels: Channels = 256
    """Channels of the features that the attention is computed from."""
    relation_channels: Channels = 256
    """Channels of conv2 and conv3. It is also the number of conv4's groups."""
    units_per_channel: Channels = 4
    """The kernels of each group of conv4."""
    grid: tuple[GridSide, GridSide] | None = None
    """Height and width of conv4's kernels; by default those of the mid map at the model's input
    size."""


@final
class SRNModernHead(Head):
    """Main net, label attention and spatial regularisation over a backbone's maps.

    The branches are `cls`, `att` and `sr`. The maps are `attention` (A), `confidence` (S) and
    `weighted` (U). The units are those of conv4. Any map size works, as in SRN: U is resampled to
    the grid of conv4's kernels.
    """

    Config = SRNModernConfig
    steps = SRN_STEPS

    def __init__(self, config: SRNModernConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        self.main = MainNet(shapes.final_channels, len(labels), config.pool)
        self.attention = LightAttention(config.channels, shapes.mid_channels, len(labels))
        self.regularisation = Relations(config, config.grid or shapes.grid, len(labels))

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images: logits = (y_cls + y_att + y_sr) / 3."""
        attention, confidence = self.attention(maps.mid)
        weighted = torch.sigmoid(confidence) * attention
        y_cls = self.main(maps).logits
        y_att = (attention * confidence).sum((2, 3))
        y_sr, units = self.regularisation(weighted)
        return HeadOutput(
            logits=(y_cls + y_att + y_sr) / 3,
            branches={"cls": y_cls, "att": y_att, "sr": y_sr},
            maps={"attention": attention, "confidence": confidence, "weighted": weighted},
            units=units,
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """The weighted attention U, and class activation maps of the main net."""
        return {
            "attention": output_map("weighted", WEIGHTED_ATTENTION),
            "cam": class_activation(self.main.label_weights),
        }

    def relations(self) -> RelationBranch:
        """The relations, which read U."""
        branch = self.regularisation
        return RelationBranch("weighted", 1 / 3, branch, branch.weights)

    def settled(self) -> HeadConfig:
        """The settings with the grid that conv4 was built for."""
        return self.config.model_copy(update={"grid": self.regularisation.grid})


@final
class LightAttention(nn.Module):
    """f_att and conv1 over shared features: where each label is, and how confident that is."""

    def __init__(self, channels: int, mid_channels: int, num_labels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(conv_norm(mid_channels, channels), nn.ReLU(inplace=True))
        self.context = nn.Sequential(conv_norm(channels, channels, 3), nn.ReLU(inplace=True))
        self.z = nn.Conv2d(channels, num_labels, 1, bias=False)  # a bias would not change a softmax
        self.s = nn.Conv2d(channels, num_labels, 1)

    def forward(self, mid: Tensor) -> tuple[Tensor, Tensor]:
        """A and S, each [N, C, H, W] in fp32, of the mid map [N, D, H, W]."""
        features = self.reduce(mid)
        features = features + self.context(features)
        z = self.z(features).float()
        attention = z.flatten(2).softmax(2).unflatten(2, z.shape[-2:])
        return attention, self.s(features).float()


@final
class Relations(nn.Module):
    """f_sr over U: semantic relations (conv2, conv3), spatial ones (conv4), and a classifier."""

    def __init__(self, config: SRNModernConfig, grid: tuple[int, int], num_labels: int) -> None:
        super().__init__()
        channels = config.relation_channels
        units = channels * config.units_per_channel
        self.grid = grid
        self.semantic = nn.Sequential(
            conv_norm(num_labels, channels),
            nn.ReLU(inplace=True),
            conv_norm(channels, channels),
            nn.ReLU(inplace=True),
        )
        self.conv4 = WholeMapConv2d(channels, config.units_per_channel, grid, bias=False)
        self.norm4 = nn.BatchNorm1d(units)
        self.fc = nn.Linear(units, num_labels)

    def forward(self, weighted: Tensor) -> tuple[Tensor, Tensor]:
        """Logits y_sr [N, C] and conv4's units [N, K] of U [N, C, H, W]."""
        on_grid = resample_to_grid(self.grid, weighted) * (self.grid[0] * self.grid[1])
        units = functional.relu(self.norm4(self.conv4(self.semantic(on_grid))))
        return self.fc(units), units

    def weights(self) -> RelationWeights:
        """What can be shown of the weights."""
        scale = self.grid[0] * self.grid[1]
        return whole_map_weights(self.semantic, self.conv4, self.fc, scale)
