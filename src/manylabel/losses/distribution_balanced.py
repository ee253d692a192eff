"""Distribution-balanced loss: for label sets with a long tail of rare labels."""

from __future__ import annotations

from functools import partial
from typing import Literal, final

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional

from manylabel.config import Config
from manylabel.losses.counts import LabelCounts, as_tensor_like, need_counts
from manylabel.losses.focusing import focusing
from manylabel.losses.partial import IgnoreConfig, PartialLoss, Reduction, UnknownConfig


class DistributionBalancedConfig(Config):
    """The settings of distribution-balanced loss; the defaults are the authors' for MS-COCO."""

    name: Literal["distribution-balanced"] = "distribution-balanced"
    """Which loss."""
    floor: float = Field(default=0.1, ge=0)
    """The smallest weight of an entry; the largest weight is 1 more (alpha)."""
    slope: float = Field(default=10.0, gt=0)
    """How sharply weights rise from the smallest to the largest (beta)."""
    middle: float = Field(default=0.2, ge=0)
    """The rarity of a label in its image, 0..1, at which the weight is halfway between the smallest
    and the largest (mu). The authors' value for VOC is 0.3."""
    tolerance: float = Field(default=2.0, ge=1)
    """How much steeper the cost of an absent label is. A steeper cost falls to 0 sooner as the
    logit falls (lambda). The authors' value for VOC is 5."""
    prior: float = Field(default=0.05, ge=0)
    """The part of a label's training log-odds that is added to its logit in training (kappa)."""
    gamma: float = Field(default=2.0, ge=0)
    """Focusing, as in `focal`; the authors' results are best with it. 0: none."""
    reduction: Reduction = "sum_over_labels"
    """The reduction over labels, as for `bce`. Over images it is the mean."""
    unknown: UnknownConfig = IgnoreConfig()
    """How unknown targets count: any option except `smoothed-negative`."""

    @field_validator("unknown")
    @classmethod
    def _check(cls, unknown: UnknownConfig) -> UnknownConfig:
        if unknown.name == "smoothed-negative":
            raise ValueError(
                "'distribution-balanced' weights an entry by the other labels of its image, and "
                "'smoothed-negative' would invert them; use 'weak-negative'"
            )
        return unknown


@final
class DistributionBalanced:
    """Distribution-balanced loss of logits [N, C] and targets [N, C] in {1, 0, -1}: fp32 scalar.

    A label has n present and m absent training images. In an image with the present labels P, the
    entry of label l has

        rarity    r = (1 / n_l) / sum_P (1 / n)
        weight    w = floor + sigmoid(slope (r - middle))
        logit     y = z + prior log(n_l / m_l) / tolerance
        present   w (1 - p)^gamma softplus(-y),               p = sigmoid(y)
        absent    w q^gamma softplus(tolerance y) / tolerance, q = sigmoid(tolerance y)

    So a label counts more if it is the rarest one in its image. And the cost of an absent label
    falls to 0 early. In an image without a present label, every weight is the largest. Scores in
    prediction are computed from z, not from y.

    Args:
        config: The settings.
        counts: Counts of the training targets, required.

    Raises:
        ConfigError: The counts were not given.

    Source: Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
    Datasets", ECCV 2020, arXiv:2007.09654, with the focusing of its code. As in that code, the
    log-odds are divided by lambda. Its factor 2 on the whole loss is left out.
    """

    def __init__(
        self, config: DistributionBalancedConfig, counts: LabelCounts | None = None
    ) -> None:
        counts = need_counts(counts, "The loss 'distribution-balanced'")
        ratio = torch.from_numpy(counts.absent_per_present)
        entry = partial(
            _balanced,
            config=config,
            rarity=1 / torch.from_numpy(counts.present).double().clamp(min=1),
            shift=-config.prior * torch.log(ratio) / config.tolerance,
        )
        self._loss = PartialLoss(entry, config.unknown, config.reduction)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, summed or averaged over labels and averaged over images."""
        return self._loss(logits, targets)


def _balanced(
    logits: Tensor,
    targets: Tensor,
    *,
    config: DistributionBalancedConfig,
    rarity: Tensor,
    shift: Tensor,
) -> Tensor:
    rarity, shift = as_tensor_like(rarity, logits), as_tensor_like(shift, logits)
    share = rarity / (targets * rarity).sum(1, keepdim=True)  # infinite without a present label
    weights = config.floor + torch.sigmoid(config.slope * (share - config.middle))
    steepness = targets + config.tolerance * (1 - targets)
    wrong = (1 - 2 * targets) * steepness * (logits + shift)
    focused = focusing(torch.sigmoid(wrong), config.gamma) * functional.softplus(wrong)
    return weights / steepness * focused
