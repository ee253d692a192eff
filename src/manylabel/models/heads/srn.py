"""SRN, the Spatial Regularization Network, without its backbone; and its ablation `srn-att`.

    backbone ─┬─ final map ── MainNet ─────────────────────────────── y_cls ─┐
              └─ mid map X ── LabelAttention ─┬─ A, S ─ sum(A*S) ──── y_att  ├─ logits
                                              └─ U = sigmoid(S)*A             │
                                                 └─ SpatialRegularisation ─ y_sr ─┘

Source: F. Zhu, H. Li, W. Ouyang, N. Yu, X. Wang, "Learning Spatial Regularization with
Image-level Supervisions for Multi-label Image Classification", CVPR 2017, arXiv:1702.05891.
The network that the authors released differs from the one in their text. Both are here, as
`topology = "paper"` and `topology = "released"`. The published numbers most likely come from the
released one: only its size agrees with the paper's "about 6 million" additional parameters (not
confirmed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, final

import torch
from pydantic import AfterValidator, Field, ValidationInfo
from torch import Tensor, nn
from torch.nn import functional

from manylabel.evidence import RelationWeights
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.blocks import WholeMapConv2d, resample_to_grid, whole_map_weights
from manylabel.models.heads.base import (
    Channels,
    Evidence,
    GridSide,
    Head,
    HeadConfig,
    HeadOutput,
    LabelAxis,
    RelationBranch,
    attention_evidence,
    class_activation,
    label_columns,
    label_rows,
    weighted_map,
)
from manylabel.models.heads.main_net import MainNet, Pool
from manylabel.models.heads.steps import ATTENTION, MAIN, SRN_STEPS, WHOLE, StepPlan

Topology = Literal["paper", "released"]

JOINT_ATTENTION: Final = StepPlan(
    4, "joint", ("backbone", "head.main", "head.attention"), ("final", "att"), "final"
)
"""SRN's joint step for the ablation `srn-att`, which has no spatial regularisation."""


_EXTRA_BLOCKS: Final = 2


def _belongs_to_released(extra_blocks: int, others: ValidationInfo) -> int:
    """The number of extra blocks; an error if the topology is `paper`, which has none.

    The default is accepted there: bundles and resolved recipes of `paper` contain it, too.
    """
    if extra_blocks != _EXTRA_BLOCKS and others.data.get("topology") == "paper":
        raise ValueError("it belongs to the topology 'released', but the topology is 'paper'")
    return extra_blocks


ExtraBlocks = Annotated[int, Field(ge=0, le=64), AfterValidator(_belongs_to_released)]


class SRNConfig(HeadConfig):
    """SRN's settings; the defaults are the paper's."""

    name: Literal["srn"] = "srn"
    """Which head."""
    topology: Topology = "paper"
    """`paper`: the network of the paper's text. `released`: the authors' network, with batch
    normalisation after every convolution, two additional pre-activation bottlenecks before the
    attention, and a two-layer conv1."""
    pool: Pool = "avg"
    """How the main net pools the final map: `avg` (the paper's), `max` or `gem`."""
    extra_blocks: ExtraBlocks = _EXTRA_BLOCKS
    """`released` only: pre-activation bottlenecks before the attention; the authors' have 2."""
    attention_channels: Channels = 512
    """Channels of the attention estimator's hidden layers."""
    relation_channels: Channels = 512
    """Channels of conv2 and conv3. It is also the number of conv4's groups."""
    units_per_channel: Channels = 4
    """The kernels of each group of conv4: 4 gives the paper's 2048 units."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """The weight of y_cls in the final logits; y_sr has 1 - alpha."""
    scale_weighted: bool = False
    """Multiply U by its number of positions before conv2. A sums to 1, so the values of U are about
    1/196, and the input of conv2 is almost zero at first. Multiplied, they are about 1, and
    training with few images converges. The map U in the output is never multiplied. The paper does
    not do this."""
    grid: tuple[GridSide, GridSide] | None = None
    """Height and width of conv4's kernels; by default those of the mid map at the model's input
    size (14x14 at 224x224)."""


class SRNAttConfig(HeadConfig):
    """The settings of SRN with attention only; the defaults are the paper's."""

    name: Literal["srn-att"] = "srn-att"
    """Which head."""
    topology: Topology = "paper"
    """`paper`: the network of the paper's text. `released`: the authors' network, with batch
    normalisation after every convolution, two additional pre-activation bottlenecks before the
    attention, and a two-layer conv1."""
    pool: Pool = "avg"
    """How the main net pools the final map: `avg` (the paper's), `max` or `gem`."""
    extra_blocks: ExtraBlocks = _EXTRA_BLOCKS
    """`released` only: pre-activation bottlenecks before the attention; the authors' have 2."""
    attention_channels: Channels = 512
    """Channels of the attention estimator's hidden layers."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """The weight of y_cls in the final logits; y_att has 1 - alpha."""


class Attention(NamedTuple):
    """The attention and confidence maps of N images, each [N, C, H, W]."""

    attention: Tensor
    """A: a distribution over the positions for each label; it sums to 1."""
    confidence: Tensor
    """S: a logit for each label and position."""


@final
class SRNHead(Head):
    """Main net, label attention and spatial regularisation over a backbone's maps.

    The branches are `cls`, `att` and `sr`. The maps are `attention` (A), `confidence` (S) and
    `weighted` (U). The units are those of conv4, [N, 2048].

    Any map size works. conv4's kernel covers the whole `grid` that the head was built for. On a map
    of another size, U is resampled to that grid by area, and its sum is kept; everything before
    conv4 is convolutional. On a map of the grid's size (14x14 at 224x224) nothing is resampled.
    """

    Config = SRNConfig
    steps = SRN_STEPS
    takes = ("mid", "final")

    def __init__(self, config: SRNConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        self.alpha = config.alpha
        grid = config.grid or shapes.grid
        self.main = MainNet(shapes.final_channels, len(labels), config.pool)
        self.attention = LabelAttention(config, shapes.mid_channels, len(labels))
        self.regularisation = SpatialRegularisation(config, grid, len(labels))

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images: logits = alpha * y_cls + (1 - alpha) * y_sr (section 3.3)."""
        attention, confidence = self.attention(maps.mid)
        weighted = torch.sigmoid(confidence) * attention  # Eq. 8; not sigmoid(S * A)
        y_cls = self.main(maps).logits
        y_att = (attention * confidence).sum((2, 3))
        y_sr, units = self.regularisation(weighted)
        return HeadOutput(
            logits=self.alpha * y_cls + (1 - self.alpha) * y_sr,
            branches={"cls": y_cls, "att": y_att, "sr": y_sr},
            maps={"attention": attention, "confidence": confidence, "weighted": weighted},
            units=units,
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """The weighted attention U, its factors, and class activation maps of the main net."""
        return attention_evidence() | {"cam": class_activation(self.main.label_weights)}

    def relations(self) -> RelationBranch:
        """The spatial regularisation, which reads U."""
        branch = self.regularisation
        return RelationBranch(weighted_map, 1 - self.alpha, branch, branch.weights)

    def label_axes(self) -> Mapping[str, LabelAxis]:
        """Those of the layers that give a map or a logit for each label, and of conv2's inputs."""
        branch = self.regularisation
        return {
            **label_rows(self, self.main.fc, *self.attention.label_layers(), branch.fc),
            **label_columns(self, branch.semantic[0]),
        }

    def settled(self) -> HeadConfig:
        """The settings with the grid that conv4 was built for."""
        return self.config.model_copy(update={"grid": self.regularisation.grid})


@final
class SRNAttHead(Head):
    """SRN's ablation with attention only: main net and label attention. Any map size works.

    The branches are `cls` and `att`. The maps are `attention` (A), `confidence` (S) and `weighted`
    (U).

    Source: the row "SRN-att" of section 4: the attention of section 3.2 without section 3.3. It
    combines y_cls and y_att as SRN combines y_cls and y_sr; this is not confirmed.
    """

    Config = SRNAttConfig
    steps = {
        "main": MAIN,
        "attention": ATTENTION,
        "joint-attention": JOINT_ATTENTION,
        "whole": WHOLE,
    }
    takes = ("mid", "final")

    def __init__(self, config: SRNAttConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        self.alpha = config.alpha
        self.main = MainNet(shapes.final_channels, len(labels), config.pool)
        self.attention = LabelAttention(config, shapes.mid_channels, len(labels))

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images: logits = alpha * y_cls + (1 - alpha) * y_att."""
        attention, confidence = self.attention(maps.mid)
        y_cls = self.main(maps).logits
        y_att = (attention * confidence).sum((2, 3))
        # U (Eq. 8) is not used for the logits: it is the evidence map, as in SRN.
        weighted = torch.sigmoid(confidence) * attention
        return HeadOutput(
            logits=self.alpha * y_cls + (1 - self.alpha) * y_att,
            branches={"cls": y_cls, "att": y_att},
            maps={"attention": attention, "confidence": confidence, "weighted": weighted},
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """The weighted attention U, its factors, and class activation maps of the main net."""
        return attention_evidence() | {"cam": class_activation(self.main.label_weights)}

    def label_axes(self) -> Mapping[str, LabelAxis]:
        """Those of the layers that give a map or a logit for each label."""
        return label_rows(self, self.main.fc, *self.attention.label_layers())


@final
class LabelAttention(nn.Module):
    """f_att and conv1: they learn where each label is from image-level labels alone.

    The attention of a label always sums to 1, so it is high somewhere even if the label is absent.
    That is why SRN multiplies it by the confidence.
    """

    def __init__(self, config: SRNConfig | SRNAttConfig, channels: int, num_labels: int) -> None:
        super().__init__()
        hidden, released = config.attention_channels, config.topology == "released"
        self.shared = (
            nn.Sequential(
                *(PreActivationBottleneck(channels) for _ in range(config.extra_blocks)),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            if released
            else nn.Identity()
        )
        self.estimator = nn.Sequential(
            *_layer(channels, hidden, 1, norm=released),
            *_layer(hidden, hidden, 3, norm=released),
            nn.Conv2d(hidden, num_labels, 1),
        )
        self.conv1 = (
            nn.Sequential(*_layer(channels, hidden, 1, norm=True), nn.Conv2d(hidden, num_labels, 1))
            if released
            else nn.Conv2d(channels, num_labels, 1)
        )

    def forward(self, mid: Tensor) -> Attention:
        """A and S of the mid map [N, D, H, W]."""
        features = self.shared(mid)
        # The softmax is always in fp32, since it computes exponentials of logits.
        z = self.estimator(features).float()
        attention = z.flatten(2).softmax(2).unflatten(2, z.shape[-2:])
        return Attention(attention, self.conv1(features).float())

    def label_layers(self) -> tuple[nn.Module, nn.Module]:
        """The layers that give Z and S."""
        conv1 = self.conv1[-1] if isinstance(self.conv1, nn.Sequential) else self.conv1
        return self.estimator[-1], conv1


@final
class SpatialRegularisation(nn.Module):
    """f_sr: semantic relations (conv2, conv3), spatial relations (conv4), and a classifier.

    conv4 is grouped, with one channel per group. Without groups it would have 205 million weights.
    """

    def __init__(self, config: SRNConfig, grid: tuple[int, int], num_labels: int) -> None:
        super().__init__()
        channels, norm = config.relation_channels, config.topology == "released"
        units = channels * config.units_per_channel
        self.grid = grid
        self.scale_weighted = config.scale_weighted
        self.semantic = nn.Sequential(
            *_layer(num_labels, channels, 1, norm=norm), *_layer(channels, channels, 1, norm=norm)
        )
        self.conv4 = WholeMapConv2d(channels, config.units_per_channel, grid, bias=not norm)
        self.norm4 = nn.BatchNorm1d(units) if norm else nn.Identity()
        self.fc = nn.Linear(units, num_labels)

    def forward(self, weighted: Tensor) -> tuple[Tensor, Tensor]:
        """Logits y_sr [N, C] and conv4's units [N, K] of U [N, C, H, W]."""
        on_grid = resample_to_grid(self.grid, weighted)
        if self.scale_weighted:
            on_grid = on_grid * (self.grid[0] * self.grid[1])
        units = functional.relu(self.norm4(self.conv4(self.semantic(on_grid))))
        return self.fc(units), units

    def weights(self) -> RelationWeights:
        """What can be shown of the weights."""
        scale = self.grid[0] * self.grid[1] if self.scale_weighted else 1
        return whole_map_weights(self.semantic, self.conv4, self.fc, scale)


@final
class PreActivationBottleneck(nn.Module):
    """A residual block with normalisation before each convolution: D, D/4, D/4, D channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.residual = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            *_layer(channels, inner, 1, norm=True),
            *_layer(inner, inner, 3, norm=True),
            nn.Conv2d(inner, channels, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """New features [N, D, H, W] of features [N, D, H, W]."""
        return features + self.residual(features)


def _layer(channels: int, outputs: int, kernel: int, *, norm: bool) -> list[nn.Module]:
    """A convolution that keeps the map's size, batch normalisation if `norm`, and ReLU."""
    conv = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=not norm)
    normalisation = [nn.BatchNorm2d(outputs)] if norm else []
    return [conv, *normalisation, nn.ReLU(inplace=True)]
