"""Asymmetric loss: absent labels that are easy, or probably annotation errors, count less."""

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
    """How fast the weight of a present target falls as its score rises (gamma+)."""
    gamma_absent: float = Field(default=4.0, ge=0)
    """How fast the weight of an absent target falls as its score falls (gamma-)."""
    margin: float = Field(default=0.05, ge=0, lt=1)
    """Scores of absent labels are lowered by this, so scores below it cost nothing (m)."""
    focusing_gradient: bool = True
    """Whether the gradient also passes through the weights, as in the paper's analysis. The
    authors' training script uses false: the weights are then constants, and the loss is the
    same."""
    reduction: Reduction = "sum_over_labels"
    """The reduction over labels, as for `bce`. Over images it is the mean."""
    unknown: UnknownConfig = IgnoreConfig()
    """How unknown targets count."""


@final
class Asymmetric:
    """Asymmetric loss of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    With p an entry's score and q = max(p - m, 0):

        present   -(1 - p)^gamma+ log p
        absent    -q^gamma-       log(1 - q)

    An absent label with a very high score also gets almost no gradient: it may be an annotation
    error. No score is clamped at an epsilon before its logarithm. So a present label with a score
    of 1e-30 costs 69 and is still learned.

    Args:
        config: The settings.
        counts: Not used. All losses have the same arguments.

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
        # 1 - q is computed as min(1 - p + m, 1). It is never 0, even if p is 1.
        complement = (torch.sigmoid(-wrong) + config.margin).clamp(max=1)
        costs = torch.where(present, costs, -torch.log(complement))
        scores = scores - config.margin * (1 - targets)
    weights = torch.where(
        present, focusing(scores, config.gamma_present), focusing(scores, config.gamma_absent)
    )
    return costs * (weights if config.focusing_gradient else weights.detach())
