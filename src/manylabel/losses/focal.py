"""Focal loss: cross-entropy that counts less where the model is sure and right."""

from __future__ import annotations

from functools import partial
from typing import Literal, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from manylabel.config import Config
from manylabel.losses.counts import LabelCounts
from manylabel.losses.focusing import focusing
from manylabel.losses.partial import IgnoreConfig, PartialLoss, Reduction, UnknownConfig


class FocalConfig(Config):
    """The settings of focal loss."""

    name: Literal["focal"] = "focal"
    """Which loss."""
    alpha: float = Field(default=0.25, gt=0, lt=1)
    """The weight of present targets; that of absent ones is 1 - this. The paper's 0.25 is for
    boxes and goes with its gamma; 0.5 weighs both alike."""
    gamma: float = Field(default=2.0, ge=0)
    """How fast an entry's weight falls as the model gets surer; 0 is weighted cross-entropy."""
    reduction: Reduction = "sum_over_labels"
    """Over labels, as for `bce`; over images it is the mean."""
    unknown: UnknownConfig = IgnoreConfig()
    """What unknown targets do."""


@final
class Focal:
    """Focal loss of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    With p the score that an entry gives to its true answer and a its `alpha` or 1 - `alpha`, the
    entry costs -a (1 - p)^gamma log p.

    Args:
        config: The settings.
        counts: Not looked at; every loss is built alike.

    Source: Lin et al., arXiv:1708.02002, Eq. 5. There the sum is divided by the number of boxes
    that were assigned to an object; here it is reduced as every loss is.
    """

    def __init__(self, config: FocalConfig, counts: LabelCounts | None = None) -> None:
        entry = partial(_focal, alpha=config.alpha, gamma=config.gamma)
        self._loss = PartialLoss(entry, config.unknown, config.reduction)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, summed or averaged over labels and averaged over images."""
        return self._loss(logits, targets)


def _focal(logits: Tensor, targets: Tensor, *, alpha: float, gamma: float) -> Tensor:
    wrong = (1 - 2 * targets) * logits
    balance = alpha * targets + (1 - alpha) * (1 - targets)
    return balance * focusing(torch.sigmoid(wrong), gamma) * functional.softplus(wrong)
