"""Focal loss: cross-entropy in which confident and right entries count less."""

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
    """The weight of present targets; absent targets have the weight 1 - this. The paper's 0.25 is
    for detection with its gamma; 0.5 gives both the same weight."""
    gamma: float = Field(default=2.0, ge=0)
    """How fast the weight of an entry falls as the score of its true answer rises; 0 is weighted
    cross-entropy."""
    reduction: Reduction = "sum_over_labels"
    """The reduction over labels, as for `bce`. Over images it is the mean."""
    unknown: UnknownConfig = IgnoreConfig()
    """How unknown targets count."""


@final
class Focal:
    """Focal loss of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    An entry costs -a (1 - p)^gamma log p. Here p is the score of its true answer (present or
    absent), and a is `alpha` for a present target and 1 - `alpha` for an absent one.

    Args:
        config: The settings.
        counts: Not used. All losses have the same arguments.

    Source: Lin et al., arXiv:1708.02002, Eq. 5. There the sum is divided by the number of boxes
    that are assigned to an object. Here it is reduced like every other loss.
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
