"""CSRA, class-specific residual attention: each label also pools the final map in its own way.

    final map ── 1x1 conv: S, a logit for each head, label and position ─┬─ average ─────── avg ─┐
                                                                         └─ softmax(T S) ── att ─┴─
                                                                               logits = avg + λ att

Source: K. Zhu, J. Wu, "Residual Attention: A Simple but Effective Method for Multi-Label
Recognition", ICCV 2021, arXiv:2108.02456. The equation numbers are the paper's.

m_i is the classifier of label i, and x_j are the features at position j. A softmax of T x_j·m_i
over the positions (Eq. 2) gives the weights of the features (Eq. 3). λ times the weighted sum is
added to the average of the features (Eq. 5), and m_i is applied to the result (Eq. 6). m_i is
linear, so all of this is pooling of the logits S = x_j·m_i, and only S is computed here. There are
several heads, each with its own classifiers and temperature; their logits are summed (Figure 3).

Differences from the paper:
- The classifiers of all heads are one convolution, and their softmaxes are one softmax.
- The temperature that stands for infinity takes the maximum itself, not a steep softmax.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Final, Literal, final

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from manylabel.evidence import SPATIAL_SCORES
from manylabel.labels import LabelSpace
from manylabel.models.backbones import FeatureMaps, MapShapes
from manylabel.models.heads.base import (
    Evidence,
    Head,
    HeadConfig,
    HeadOutput,
    LabelAxis,
    class_activation,
)

MAX_TEMPERATURE: Final = 99.0
"""The temperature that stands for infinity: the weighted average becomes the maximum."""

Temperature = Annotated[float, Field(gt=0, le=MAX_TEMPERATURE)]


class CSRAConfig(HeadConfig):
    """CSRA's settings. The defaults are the paper's for MS-COCO, from memory (not confirmed)."""

    name: Literal["csra"] = "csra"
    """Which head."""
    temperatures: tuple[Temperature, ...] = Field(
        default=(1, 2, 3, 4, 5, 99), min_length=1, max_length=64
    )
    """The temperature of each attention head, in increasing order; 99 takes the maximum over the
    positions. The paper uses 1; 1, 99; 1, 2, 4, 99; 1 to 5, 99; and 1 to 7, 99."""
    attention_weight: float = Field(default=0.4, ge=0, le=1000)
    """λ: the weight of the attention logits, which are added to the average logits. It is the same
    for all heads."""
    normalised: bool = True
    """Divide each label's classifier by its length. Then the length of a classifier does not make
    its attention steeper than that of other labels."""

    @field_validator("temperatures")
    @classmethod
    def _check_temperatures(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if any(one >= other for one, other in pairwise(temperatures)):
            raise ValueError("temperatures must increase: each is higher than the one before")
        if temperatures[0] == MAX_TEMPERATURE:
            raise ValueError(
                "the first temperature must be below 99: its attention is the map `attention`"
            )
        return temperatures


@final
class CSRAHead(Head):
    """Average logits and attention logits over the final map.

    The branches are `avg` and `att`, summed over the heads. The map `confidence` holds the logit of
    each position, summed over the heads; its mean over the positions is `avg`. The map `attention`
    is the attention of the head with the lowest temperature; it sums to 1. Both maps have the final
    map's size. There is no bias.
    """

    Config = CSRAConfig

    temperatures: Tensor

    def __init__(self, config: CSRAConfig, shapes: MapShapes, labels: LabelSpace) -> None:
        super().__init__(config, shapes, labels)
        heads = len(config.temperatures)
        self.attention_weight = config.attention_weight
        self.normalised = config.normalised
        self.num_labels = len(labels)
        soft = [each for each in config.temperatures if each < MAX_TEMPERATURE]
        self.takes_max = len(soft) < heads  # the last head takes the maximum
        self.register_buffer("temperatures", torch.tensor(soft)[:, None, None], persistent=False)
        self.classifier = nn.Conv2d(shapes.final_channels, heads * len(labels), 1, bias=False)

    def forward(self, maps: FeatureMaps) -> HeadOutput:
        """The output for N images: logits = avg + λ att (Eq. 5 and 6, summed over the heads)."""
        size = maps.final.shape[-2:]
        confidence = self._confidence(maps.final)  # [N, heads, C, positions]
        soft = confidence[:, :-1] if self.takes_max else confidence
        attention = (soft * self.temperatures).softmax(3)  # Eq. 2
        summed = confidence.sum(1)
        avg = summed.mean(2)
        att = (attention * soft).sum((1, 3))
        if self.takes_max:
            att = att + confidence[:, -1].amax(2)
        return HeadOutput(
            logits=avg + self.attention_weight * att,
            branches={"avg": avg, "att": att},
            maps={
                "attention": attention[:, 0].unflatten(2, size),
                "confidence": summed.unflatten(2, size),
            },
        )

    def evidence(self) -> Mapping[str, Evidence]:
        """The spatial scores, which sum to the logits, and class activation maps of `avg`."""
        return {
            "spatial-scores": Evidence(
                SPATIAL_SCORES, lambda maps, output: self.spatial_scores(maps.final)
            ),
            "cam": class_activation(self.label_weights),
        }

    def label_axes(self) -> Mapping[str, LabelAxis]:
        """That of the classifiers: all labels of one head, then those of the next one."""
        heads = self.classifier.out_channels // self.num_labels
        return {"classifier.weight": LabelAxis(times=heads)}

    def spatial_scores(self, final_map: Tensor) -> Tensor:
        """What each position adds to each label's logit, [N, C, h, w]; they sum to the logit.

        It is the logit S of the position times its weights: 1 / positions in the average, and λ
        times the attention (Eq. 2) in the attended sum; summed over the heads. With the temperature
        that stands for infinity, the first of the highest positions has all of the attention.
        """
        confidence = self._confidence(final_map)
        weights = self.attention_weight * self._attention(confidence) + 1 / confidence.shape[3]
        return (weights * confidence).sum(1).unflatten(2, final_map.shape[-2:])

    def _attention(self, confidence: Tensor) -> Tensor:
        """The attention of each head [N, heads, C, positions] for S of that shape."""
        if not self.takes_max:
            return (confidence * self.temperatures).softmax(3)
        hard = confidence[:, -1:]
        highest = torch.zeros_like(hard).scatter(3, hard.argmax(3, keepdim=True), 1.0)
        soft = (confidence[:, :-1] * self.temperatures).softmax(3)
        return torch.cat([soft, highest], dim=1)

    def label_weights(self) -> Tensor:
        """The classifiers [C, E], summed over the heads; they give `avg`."""
        weights = self.classifier.weight.flatten(1)
        if self.normalised:
            weights = weights / weights.norm(dim=1, keepdim=True)
        return weights.unflatten(0, (-1, self.num_labels)).sum(0)

    def _confidence(self, final_map: Tensor) -> Tensor:
        """S [N, heads, C, positions]; in fp32 in every run, since exponentials follow."""
        confidence = self.classifier(final_map).float().flatten(2)
        if self.normalised:  # the product is divided, since it is smaller than the weights
            lengths = self.classifier.weight.float().flatten(1).norm(dim=1)
            confidence = confidence / lengths[:, None]
        return confidence.unflatten(1, (-1, self.num_labels))
