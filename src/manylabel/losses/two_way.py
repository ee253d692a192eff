"""Two-way loss: ranks present labels above absent ones, in each image and for each label."""

from __future__ import annotations

from typing import Final, Literal, final

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional

from manylabel.config import Config
from manylabel.labels import ABSENT, PRESENT
from manylabel.losses.counts import LabelCounts
from manylabel.losses.partial import IgnoreConfig, UnknownConfig

_LOWEST: Final = -1e30
"""Lower than every logit, but finite."""


class TwoWayConfig(Config):
    """The settings of two-way loss."""

    name: Literal["two-way"] = "two-way"
    """Which loss."""
    temperature_present: float = Field(default=4.0, gt=0)
    """How many present labels count in addition to the lowest one. Near 0, only the lowest one
    counts."""
    temperature_absent: float = Field(default=1.0, gt=0)
    """How many absent labels count in addition to the highest one."""
    unknown: UnknownConfig = IgnoreConfig()
    """How unknown targets count: `ignore` or `negative`. The other options change the loss of
    single entries, and this loss has none."""

    @field_validator("unknown")
    @classmethod
    def _check(cls, unknown: UnknownConfig) -> UnknownConfig:
        if unknown.name not in ("ignore", "negative"):
            raise ValueError(
                f"'two-way' ranks whole images and labels; use 'ignore' or 'negative' for unknown "
                f"targets, not '{unknown.name}'"
            )
        return unknown


@final
class TwoWay:
    """Two-way loss of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    There is a term for each image with a present label. P are its present labels, A its absent
    ones:

        softplus(Ta log sum_A exp(z / Ta) + Tp log sum_P exp(-z / Tp))

    The argument of softplus is about the highest absent logit minus the lowest present one. There
    is also such a term for each label that is present in the batch; P and A are then images. The
    loss is the mean over these images plus the mean over these labels.

    If nothing is absent, there is nothing to rank, and the term is 0. Images and labels without a
    present target are left out of the means. So a batch without a present target costs 0. There is
    no reduction to choose, because neither part is a sum over labels. Only differences between
    logits count, so a model needs thresholds that are tuned for it.

    Args:
        config: The settings.
        counts: Not used. All losses have the same arguments.

    Source: Kobayashi, "Two-Way Multi-Label Loss", CVPR 2023. As there, targets that are neither 1
    nor 0 are in no sum. The paper masks them with a logit of -100; here the mask is exact.
    """

    def __init__(self, config: TwoWayConfig, counts: LabelCounts | None = None) -> None:
        self._config = config

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss over the images and over the labels of a batch."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        present = targets == PRESENT
        absent = ~present if self._config.unknown.name == "negative" else targets == ABSENT
        return self._ranked(logits, present, absent, 1) + self._ranked(logits, present, absent, 0)

    def _ranked(self, logits: Tensor, present: Tensor, absent: Tensor, axis: int) -> Tensor:
        """The mean term over the images (axis 1) or labels (axis 0) with a present target."""
        highest = _soft_max(logits, absent, self._config.temperature_absent, axis)
        lowest = -_soft_max(-logits, present, self._config.temperature_present, axis)
        counted = present.any(axis)
        ranked = counted & absent.any(axis)
        costs = torch.where(ranked, functional.softplus(highest - lowest), 0)
        return costs.sum() / counted.sum().clamp(min=1)


def _soft_max(values: Tensor, chosen: Tensor, temperature: float, axis: int) -> Tensor:
    """T log sum exp(value / T) over the chosen values along `axis`; finite if none is chosen.

    torch.logsumexp over values masked by -inf would have two faults. The gradient of a row without
    a chosen value is NaN. And many exponentials of -inf take a CPU several times as long.
    """
    values = values / temperature
    highest = values.detach().masked_fill(~chosen, _LOWEST).amax(axis, keepdim=True)
    parts = (values - highest).masked_fill(~chosen, 0).exp() * chosen
    none_chosen = ~chosen.any(axis)  # adds 1 to a sum of 0, so that its logarithm is finite
    return temperature * (highest.squeeze(axis) + (parts.sum(axis) + none_chosen).log())
