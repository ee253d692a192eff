"""SRN, the Spatial Regularization Network: all of it but the backbone, and its ablation `srn-att`.

    backbone ─┬─ final map ── MainNet ─────────────────────────────── y_cls ─┐
              └─ mid map X ── LabelAttention ─┬─ A, S ─ sum(A*S) ──── y_att  ├─ logits
                                              └─ U = sigmoid(S)*A             │
                                                 └─ SpatialRegularisation ─ y_sr ─┘

Source: F. Zhu, H. Li, W. Ouyang, N. Yu, X. Wang, "Learning Spatial Regularization with
Image-level Supervisions for Multi-label Image Classification", CVPR 2017, arXiv:1702.05891.
The network that the authors released differs from the one in their text; both are here, as
`topology = "paper"` and `topology = "released"`. The published numbers most likely come from the
released one: only its size fits the paper's "about 6 million" further parameters (not confirmed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, final

import torch
from pydantic import AfterValidator, Field, ValidationInfo
from torch import Tensor, nn
from torch.nn import functional

from manylabel.evidence import WEIGHTED_ATTENTION
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.blocks import WholeMapConv2d, pooled_onto
from manylabel.models.heads.base import (
    Evidence,
    Head,
    HeadConfig,
    HeadOutput,
    class_activation,
    output_map,
)
from manylabel.models.heads.main_net import MainNet, Pool
from manylabel.models.heads.steps import ATTENTION, MAIN, SRN_STEPS, WHOLE, StepPlan

Topology = Literal["paper", "released"]

JOINT_ATTENTION: Final = StepPlan(
    4, "joint", ("backbone", "head.main", "head.attention"), ("final", "att"), "final"
)
"""SRN's joint step for its ablation, which has no spatial regularisation."""


_EXTRA_BLOCKS: Final = 2


def _belongs_to_released(extra_blocks: int, others: ValidationInfo) -> int:
    """The number of extra blocks, which the topology `paper` has none of.

    The default passes: it is spelled out in the bundles and resolved recipes of `paper`, too.
    """
    if extra_blocks != _EXTRA_BLOCKS and others.data.get("topology") == "paper":
        raise ValueError("it belongs to the topology 'released', and this topology is 'paper'")
    return extra_blocks


ExtraBlocks = Annotated[int, Field(ge=0), AfterValidator(_belongs_to_released)]


class SRNConfig(HeadConfig):
    """SRN's settings; the defaults are the paper's."""

    name: Literal["srn"] = "srn"
    """Which head."""
    topology: Topology = "paper"
    """`paper`: as the text says. `released`: batch normalisation after every convolution, two
    further pre-activation bottlenecks before the attention, a two-layer conv1."""
    pool: Pool = "avg"
    """How the main net pools the final map: `avg` (the paper's), `max` or `gem`."""
    extra_blocks: ExtraBlocks = _EXTRA_BLOCKS
    """`released` only: pre-activation bottlenecks before the attention; the authors' have 2."""
    attention_channels: int = Field(default=512, ge=1)
    """Channels of the attention estimator's hidden layers."""
    relation_channels: int = Field(default=512, ge=1)
    """Channels of conv2 and conv3, and so the number of conv4's groups."""
    units_per_channel: int = Field(default=4, ge=1)
    """conv4's kernels a group: 4 gives the paper's 2048 units."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of y_cls in the answer; y_sr has the rest."""
    scale_weighted: bool = False
    """Multiply U by its number of positions before conv2. A sums to 1, so U's entries are about
    1/196 and conv2 sees almost nothing at first; scaled, they are of order 1 and training from
    few images converges. The reported map U is never scaled. The paper does not scale."""
    grid: tuple[int, int] | None = None
    """Height and width of conv4's kernels; by default the mid map's at the model's input size
    (14x14 at 224x224)."""


class SRNAttConfig(HeadConfig):
    """The settings of SRN with attention only; the defaults are the paper's."""

    name: Literal["srn-att"] = "srn-att"
    """Which head."""
    topology: Topology = "paper"
    """`paper`: as the text says. `released`: batch normalisation after every convolution, two
    further pre-activation bottlenecks before the attention, a two-layer conv1."""
    pool: Pool = "avg"
    """How the main net pools the final map: `avg` (the paper's), `max` or `gem`."""
    extra_blocks: ExtraBlocks = _EXTRA_BLOCKS
    """`released` only: pre-activation bottlenecks before the attention; the authors' have 2."""
    attention_channels: int = Field(default=512, ge=1)
    """Channels of the attention estimator's hidden layers."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of y_cls in the answer; y_att has the rest."""


class Attention(NamedTuple):
    """What the attention estimator says of N images, each [N, C, H, W]."""

    attention: Tensor
    """A: for each label a distribution over the positions; sums to 1."""
    confidence: Tensor
    """S: for each label and position a logit."""


@final
class SRNHead(Head):
    """Main net, label attention and spatial regularisation over a backbone's maps.

    Branches `cls`, `att` and `sr`; maps `attention` (A), `confidence` (S) and `weighted` (U);
    units are conv4's [N, 2048].

    Any map size works. conv4's kernel covers the whole `grid` that the head was built for; on
    another map U is resampled to that grid by area, keeping its sum, and everything before it is
    convolutional. On the grid itself (14x14 at 224x224) nothing is resampled.
    """

    Config = SRNConfig
    steps = SRN_STEPS

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
        """The weighted attention U, and class activation maps of the main net."""
        return {
            "attention": output_map("weighted", WEIGHTED_ATTENTION),
            "cam": class_activation(self.main.label_weights),
        }

    def settled(self) -> HeadConfig:
        """The settings with the grid that conv4 was built for."""
        return self.config.model_copy(update={"grid": self.regularisation.grid})


@final
class SRNAttHead(Head):
    """SRN with attention only, its ablation: main net and label attention; any map size works.

    Branches `cls` and `att`; maps `attention` (A), `confidence` (S) and `weighted` (U).

    Source: the row "SRN-att" of section 4: section 3.2's attention without section 3.3. That its
    answer weighs y_cls and y_att as SRN weighs y_cls and y_sr is not confirmed.
    """

    Config = SRNAttConfig
    steps = {
        "main": MAIN,
        "attention": ATTENTION,
        "joint-attention": JOINT_ATTENTION,
        "whole": WHOLE,
    }

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
        # U (Eq. 8) has no part in the answer: it is what SRN's heads are explained by.
        weighted = torch.sigmoid(confidence) * attention
        return HeadOutput(
            logits=self.alpha * y_cls + (1 - self.alpha) * y_att,
            branches={"cls": y_cls, "att": y_att},
            maps={"attention": attention, "confidence": confidence, "weighted": weighted},
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """The weighted attention U, and class activation maps of the main net."""
        return {
            "attention": output_map("weighted", WEIGHTED_ATTENTION),
            "cam": class_activation(self.main.label_weights),
        }


@final
class LabelAttention(nn.Module):
    """f_att and conv1: where each label is, learned from image-level labels alone.

    The attention of a label always sums to 1, so it points somewhere even when the label is
    absent; that is why SRN weights it with the confidence.
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
        # In fp32 whatever the precision of the run: exponentials of logits.
        z = self.estimator(features).float()
        attention = z.flatten(2).softmax(2).unflatten(2, z.shape[-2:])
        return Attention(attention, self.conv1(features).float())


@final
class SpatialRegularisation(nn.Module):
    """f_sr: semantic relations (conv2, conv3), spatial relations (conv4), and a classifier.

    conv4 is grouped, one channel a group: ungrouped it would have 205 million weights.
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
        on_grid = pooled_onto(self.grid, weighted)
        if self.scale_weighted:
            on_grid = on_grid * (self.grid[0] * self.grid[1])
        units = functional.relu(self.norm4(self.conv4(self.semantic(on_grid))))
        return self.fc(units), units


@final
class PreActivationBottleneck(nn.Module):
    """A residual block whose convolutions follow their normalisation: D, D/4, D/4, D channels."""

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
        """Features [N, D, H, W] of features [N, D, H, W]."""
        return features + self.residual(features)


def _layer(channels: int, outputs: int, kernel: int, *, norm: bool) -> list[nn.Module]:
    """A convolution that keeps the map's size, normalisation if asked for, and ReLU."""
    conv = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, bias=not norm)
    normalisation = [nn.BatchNorm2d(outputs)] if norm else []
    return [conv, *normalisation, nn.ReLU(inplace=True)]
