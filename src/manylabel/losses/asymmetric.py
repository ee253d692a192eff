"""Asymmetric loss: easy and doubtful absent labels count less, present ones do not."""

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


class AsymmetricConfig(Config):
    """The settings of asymmetric loss; the defaults are the paper's for MS-COCO."""

    name: Literal["asymmetric"] = "asymmetric"
    """Which loss."""
    gamma_present: float = Field(default=0.0, ge=0)
    """How fast the weight of a present target falls as the model gets surer of it (gamma+)."""
    gamma_absent: float = Field(default=4.0, ge=0)
    """The same for absent targets (gamma-)."""
    margin: float = Field(default=0.05, ge=0, lt=1)
    """Scores of absent labels are lowered by this: those below it cost nothing (m)."""
    focusing_gradient: bool = True
    """Whether the gradient also runs through the weights, as the paper's analysis has it. The
    authors' training script says false: weights are then constants, the loss is the same."""
    reduction: Reduction = "sum_over_labels"
    """Over labels, as for `bce`; over images it is the mean."""
    unknown: UnknownConfig = IgnoreConfig()
    """What unknown targets do."""


@final
class Asymmetric:
    """Asymmetric loss of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    With p an entry's score and q = max(p - m, 0):

        present   -(1 - p)^gamma+ log p
        absent    -q^gamma-       log(1 - q)

    Absent labels that the model is very sure to see get hardly any gradient either: they may be
    annotation errors. No score is clamped at an epsilon before its logarithm, so that a present
    label with a score of 1e-30 costs 69 and is learnt.

    Args:
        config: The settings.
        counts: Not looked at; every loss is built alike.

    Source: Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021,
    arXiv:2009.14119, Eq. 2 to 6. The authors sum over images too.
    """

    def __init__(self, config: AsymmetricConfig, counts: LabelCounts | None = None) -> None:
        self._loss = PartialLoss(
            partial(_asymmetric, config=config), config.unknown, config.reduction
        )

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, summed or averaged over labels and averaged over images."""
        return self._loss(logits, targets)


def _asymmetric(logits: Tensor, targets: Tensor, *, config: AsymmetricConfig) -> Tensor:
    present = targets == 1
    wrong = (1 - 2 * targets) * logits
    costs, scores = functional.softplus(wrong), torch.sigmoid(wrong)
    if config.margin > 0:
        # 1 - q as min(1 - p + m, 1): never 0, however sure the model is.
        rest = (torch.sigmoid(-wrong) + config.margin).clamp(max=1)
        costs = torch.where(present, costs, -torch.log(rest))
        scores = scores - config.margin * (1 - targets)
    weights = torch.where(
        present, focusing(scores, config.gamma_present), focusing(scores, config.gamma_absent)
    )
    return costs * (weights if config.focusing_gradient else weights.detach())
