"""Two-way loss: present labels rank above absent ones, in each image and in each label."""

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
"""Below all logits, and finite."""


class TwoWayConfig(Config):
    """The settings of two-way loss."""

    name: Literal["two-way"] = "two-way"
    """Which loss."""
    temperature_present: float = Field(default=4.0, gt=0)
    """How many present labels count beside the lowest one: near 0 only that one."""
    temperature_absent: float = Field(default=1.0, gt=0)
    """How many absent labels count beside the highest one."""
    unknown: UnknownConfig = IgnoreConfig()
    """What unknown targets do: `ignore` or `negative`. The others weigh the loss of one entry, and
    here no entry has a loss of its own."""

    @field_validator("unknown")
    @classmethod
    def _check(cls, unknown: UnknownConfig) -> UnknownConfig:
        if unknown.name not in ("ignore", "negative"):
            raise ValueError(
                f"'two-way' ranks whole images and labels; unknown targets go with 'ignore' or "
                f"'negative', not with '{unknown.name}'"
            )
        return unknown


@final
class TwoWay:
    """Two-way loss of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    For each image with a present label, P being its present and A its absent labels, and likewise
    down the batch for each label that is present in it:

        softplus(Ta log sum_A exp(z / Ta) + Tp log sum_P exp(-z / Tp))

    about the highest absent logit less the lowest present one. The loss is the mean over those
    images and the mean over those labels, added. Where nothing is absent there is nothing to rank
    and the term is 0; images and labels without a present target are left out of the means, so a
    batch without any costs 0. There is no reduction to choose: neither part is a sum over labels.
    Only differences between logits count, so scores need thresholds of their own.

    Args:
        config: The settings.
        counts: Not looked at; every loss is built alike.

    Source: Kobayashi, "Two-Way Multi-Label Loss", CVPR 2023. There, too, targets that are neither
    1 nor 0 enter no sum. Its mask is a logit of -100; here it is exact.
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
        """The mean, over lines along `axis` with a present label, of what their order costs."""
        highest = _soft_max(logits, absent, self._config.temperature_absent, axis)
        lowest = -_soft_max(-logits, present, self._config.temperature_present, axis)
        counted = present.any(axis)
        ranked = counted & absent.any(axis)
        costs = torch.where(ranked, functional.softplus(highest - lowest), 0)
        return costs.sum() / counted.sum().clamp(min=1)


def _soft_max(values: Tensor, chosen: Tensor, temperature: float, axis: int) -> Tensor:
    """T log sum exp(value / T) over the chosen values of each line; of lines with none, finite.

    Rather than torch.logsumexp over values masked by -inf: there a line with nothing chosen has
    NaN for its gradient, and the exponentials of so many -inf take a CPU several times as long.
    """
    values = values / temperature
    highest = values.detach().masked_fill(~chosen, _LOWEST).amax(axis, keepdim=True)
    parts = (values - highest).masked_fill(~chosen, 0).exp() * chosen
    nothing = ~chosen.any(axis)  # adds 1 to a sum of 0, whose logarithm is then finite
    return temperature * (highest.squeeze(axis) + (parts.sum(axis) + nothing).log())
