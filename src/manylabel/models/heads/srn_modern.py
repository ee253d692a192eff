"""SRN modernised: cheaper than SRN, and trained in one step.

    backbone ─┬─ final map ── MainNet ───────────────────────────────────── y_cls ─┐
              └─ mid map ── 1x1 ── + context = F ─┬─ A, S ─ sum(A * S) ──── y_att  ├─ mean
                                                  └─ U = sigmoid(S) * A            │
                                                     └─ F, U: a second look ─ y_sr ┘

The ideas of SRN stay: attention that is learned from image-level labels alone, U = sigmoid(S) * A
(Eq. 8), and a network over the U of all labels, which learns the labels that occur together and
their layout. These are the deliberate differences from arXiv:1702.05891; their effect is measured
in docs/heads.md and docs/relations.md:

- The mid map is reduced to 256 channels once, for both A and S. The 3x3 convolution, which is three
  fifths of SRN's cost, has a quarter as many weights. Its output is added to its input.
- There is batch normalisation after every hidden convolution, as in the released network.
- The relations are about relative layout. conv4's kernels lie at absolute places, so that "a boat
  below it" needs other kernels for each place in the image. Here every position reads how much of
  each label's U lies above, below, left and right of it (`relative_sums`). A second attention per
  label is computed from that and from the features, so that it can look where the layout decides.
- The second look gives no gradient to U. With it, the attention of rare labels was not learned.
- The final logits are the mean of all three branches. In the paper y_att only trains the attention.
- There is one training step, with a loss on the final logits and on each branch
  (`whole-branches`), not four steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from manylabel.evidence import RELATED_ATTENTION, RelationWeights
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.blocks import (
    WholeMapConv2d,
    conv_norm,
    relative_sums,
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
    LabelAxis,
    RelationBranch,
    attention_evidence,
    class_activation,
    label_columns,
    label_rows,
    output_map,
    weighted_map,
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
    relations: Literal["relative", "absolute"] = "relative"
    """How y_sr reads the layout of labels: `relative` to each position, or by conv4's kernels at
    `absolute` places, as in the paper."""
    relation_channels: Channels = 64
    """Channels of the hidden layer of the relations. With `absolute`, those of conv2 and conv3, and
    the number of conv4's groups."""
    units_per_channel: Channels = 4
    """`absolute` only: the kernels of each group of conv4."""
    grid: tuple[GridSide, GridSide] | None = None
    """`absolute` only: height and width of conv4's kernels; by default those of the mid map at the
    model's input size."""


@final
class SRNModernHead(Head):
    """Main net, label attention and relations over a backbone's maps.

    The branches are `cls`, `att` and `sr`. The maps are `attention` (A), `confidence` (S) and
    `weighted` (U). With relative relations there is also `related`, the U of the second look. The
    units are those of the relations: the largest value of each hidden channel, or conv4's units.
    Any map size works.
    """

    Config = SRNModernConfig
    steps = SRN_STEPS
    takes = ("mid", "final")

    def __init__(self, config: SRNModernConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        self.main = MainNet(shapes.final_channels, len(labels), config.pool)
        self.attention = LightAttention(config.channels, shapes.mid_channels, len(labels))
        grid = config.grid or shapes.grid
        self.grid = grid if config.relations == "absolute" else None
        self.regularisation = (
            RelativeRelations(config, len(labels))
            if config.relations == "relative"
            else AbsoluteRelations(config, grid, len(labels))
        )

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images: logits = (y_cls + y_att + y_sr) / 3."""
        attention, confidence, features = self.attention(maps.mid)
        weighted = torch.sigmoid(confidence) * attention
        y_cls = self.main(maps).logits
        y_att = (attention * confidence).sum((2, 3))
        found = self.regularisation(weighted, features)
        return HeadOutput(
            logits=(y_cls + y_att + found.logits) / 3,
            branches={"cls": y_cls, "att": y_att, "sr": found.logits},
            maps={
                "attention": attention,
                "confidence": confidence,
                "weighted": weighted,
                **found.maps,
            },
            units=found.units,
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """The weighted attention U, its factors, that of the second look, and class activation."""
        second = (
            {"related-attention": output_map("related", RELATED_ATTENTION)}
            if self.grid is None
            else {}
        )
        return attention_evidence() | second | {"cam": class_activation(self.main.label_weights)}

    def relations(self) -> RelationBranch:
        """The relations, which read U; the second look reads the features, too."""
        return self.regularisation.branch(self.attention)

    def label_axes(self) -> Mapping[str, LabelAxis]:
        """Those of the layers that give a map or a logit for each label, and of the relations."""
        first = label_rows(self, self.main.fc, self.attention.z, self.attention.s)
        return first | self.regularisation.label_axes(self)

    def settled(self) -> HeadConfig:
        """The settings with the grid that conv4 was built for, if there is conv4."""
        return self.config.model_copy(update={"grid": self.grid})


@final
class LightAttention(nn.Module):
    """f_att and conv1 over shared features: where each label is, and how confident that is."""

    def __init__(self, channels: int, mid_channels: int, num_labels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(conv_norm(mid_channels, channels), nn.ReLU(inplace=True))
        self.context = nn.Sequential(conv_norm(channels, channels, 3), nn.ReLU(inplace=True))
        self.z = nn.Conv2d(channels, num_labels, 1, bias=False)  # a bias would not change a softmax
        self.s = nn.Conv2d(channels, num_labels, 1)

    def forward(self, mid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A and S, each [N, C, H, W] in fp32, and the features of the mid map [N, D, H, W]."""
        features = self.features(mid)
        return _softmax_map(self.z(features)), self.s(features).float(), features

    def features(self, mid: Tensor) -> Tensor:
        """The features F [N, channels, H, W] of the mid map."""
        reduced = self.reduce(mid)
        return reduced + self.context(reduced)


class Related(NamedTuple):
    """What the relations give for N images: y_sr [N, C], hidden units [N, K], further maps."""

    logits: Tensor
    units: Tensor
    maps: Mapping[str, Tensor]


@final
class RelativeRelations(nn.Module):
    """A second look for each label, at places that lie right in relation to the other labels.

    Every position knows how much of each label's U lies in each of nine directions. A hidden layer
    joins this with the position's features, so that it can tell "such a shape, and a boat below".
    y_sr is pooled from it by attention, as y_att is from the features alone.

    With 80 labels and 256 channels it computes as much as conv2 to conv4 of `AbsoluteRelations`
    with their 256 channels.
    """

    def __init__(self, config: SRNModernConfig, num_labels: int) -> None:
        super().__init__()
        hidden = config.relation_channels
        self.norm = nn.BatchNorm2d(9 * num_labels, affine=False)  # the next layer scales and shifts
        self.join = nn.Sequential(
            conv_norm(9 * num_labels + config.channels, hidden), nn.ReLU(inplace=True)
        )
        self.z = nn.Conv2d(hidden, num_labels, 1, bias=False)
        self.s = nn.Conv2d(hidden, num_labels, 1)

    def forward(self, weighted: Tensor, features: Tensor) -> Related:
        """What U [N, C, H, W] and features [N, D, H, W] give."""
        # Without a gradient: y_att alone shapes U. If y_sr does, too, it pulls U to places that
        # serve the frequent relations, and the attention of rare labels is not learned.
        directions = relative_sums(weighted.detach()).flatten(1, 2)
        joined = self.join(torch.cat([self.norm(directions), features], dim=1))
        attention, confidence = _softmax_map(self.z(joined)), self.s(joined).float()
        return Related(
            logits=(attention * confidence).sum((2, 3)),
            units=joined.amax((2, 3)),
            maps={"related": torch.sigmoid(confidence) * attention},
        )

    def label_axes(self, head: Head) -> dict[str, LabelAxis]:
        """The axes of the tensors with entries of labels, by their names in the head."""
        join = self.join.get_submodule("0.0")
        directions = label_rows(head, self.norm)
        return {
            **label_rows(head, self.z, self.s),
            **{name: LabelAxis(each=9) for name in directions if "running" in name},
            **label_columns(head, join, each=9),
        }

    def branch(self, attention: LightAttention) -> RelationBranch:
        """The branch, which reads U and, after the label maps, the features of the attention."""
        labels = self.s.out_channels

        def reads(maps: FeatureMaps, output: HeadOutput) -> Tensor:
            return torch.cat([output.maps["weighted"], attention.features(maps.mid)], dim=1)

        def compute(maps: Tensor) -> tuple[Tensor, Tensor]:
            found = self(maps[:, :labels], maps[:, labels:])
            return found.logits, found.units

        return RelationBranch(reads, 1 / 3, compute, self.weights)

    @torch.no_grad()
    def weights(self) -> RelationWeights:
        """What can be shown of the weights, in evaluation mode.

        A unit has a number for each label and direction, after both normalisations. They are shown
        as one kernel of 3x3 directions times one number for each label: the nearest such product
        (the first term of the singular value decomposition), with the kernel's largest value
        positive.
        """
        join, norm = self.join[0], self.norm
        assert isinstance(join, nn.Sequential)
        conv, after = join[0], join[1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        assert norm.running_var is not None
        assert after.running_var is not None
        scale = (after.weight / (after.running_var + after.eps).sqrt())[:, None]
        by_direction = conv.weight[:, : len(norm.running_var), 0, 0] * scale
        by_direction = by_direction / (norm.running_var + norm.eps).sqrt()
        first, size, second = torch.linalg.svd(by_direction.unflatten(1, (-1, 9)))
        kernels = second[:, 0]  # [K, 9]
        sign = kernels.gather(1, kernels.abs().argmax(1, keepdim=True)).sign()
        labels = first[:, :, 0] * size[:, :1] * sign
        return RelationWeights(
            kernels=(kernels * sign).unflatten(1, (3, 3)).float().cpu().numpy(),
            groups=np.arange(len(kernels)),
            relative=True,
            label_to_group=labels.float().cpu().numpy(),
            unit_to_label=self.s.weight[:, :, 0, 0].float().cpu().numpy(),
        )


@final
class AbsoluteRelations(nn.Module):
    """f_sr over U: semantic relations (conv2, conv3), spatial ones (conv4), and a classifier.

    U is multiplied by its number of positions before conv2, so that its values are about 1. On a
    map of another size than the grid of conv4's kernels, U is resampled to that grid.
    """

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

    def forward(self, weighted: Tensor, features: Tensor) -> Related:
        """What U [N, C, H, W] gives; the features are not read."""
        on_grid = resample_to_grid(self.grid, weighted) * (self.grid[0] * self.grid[1])
        units = functional.relu(self.norm4(self.conv4(self.semantic(on_grid))))
        return Related(self.fc(units), units, {})

    def label_axes(self, head: Head) -> dict[str, LabelAxis]:
        """The axes of the tensors with entries of labels, by their names in the head."""
        conv2 = self.semantic.get_submodule("0.0")
        return label_rows(head, self.fc) | label_columns(head, conv2)

    def branch(self, attention: LightAttention) -> RelationBranch:
        """The branch, which reads U alone."""

        def compute(maps: Tensor) -> tuple[Tensor, Tensor]:
            found = self(maps, maps)
            return found.logits, found.units

        return RelationBranch(weighted_map, 1 / 3, compute, self.weights)

    def weights(self) -> RelationWeights:
        """What can be shown of the weights."""
        scale = self.grid[0] * self.grid[1]
        return whole_map_weights(self.semantic, self.conv4, self.fc, scale)


def _softmax_map(z: Tensor) -> Tensor:
    """A [N, C, H, W] in fp32: for each label a distribution over the positions."""
    return z.float().flatten(2).softmax(2).unflatten(2, z.shape[-2:])
