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
    """The smallest weight of an entry; the largest is 1 more (alpha)."""
    slope: float = Field(default=10.0, gt=0)
    """How sharply weights pass from the smallest to the largest (beta)."""
    middle: float = Field(default=0.2, ge=0)
    """The share of an image's rarity that has the weight half-way up (mu); VOC: 0.3."""
    tolerance: float = Field(default=2.0, ge=1)
    """How much steeper, and so less pressing once low, an absent label's cost is (lambda);
    VOC: 5."""
    prior: float = Field(default=0.05, ge=0)
    """How much of a label's training log-odds are added to its logit in training (kappa)."""
    gamma: float = Field(default=2.0, ge=0)
    """Focusing as in `focal`, with which the authors' results are best; 0: none."""
    reduction: Reduction = "sum_over_labels"
    """Over labels, as for `bce`; over images it is the mean."""
    unknown: UnknownConfig = IgnoreConfig()
    """What unknown targets do: anything but `smoothed-negative`."""

    @field_validator("unknown")
    @classmethod
    def _check(cls, unknown: UnknownConfig) -> UnknownConfig:
        if unknown.name == "smoothed-negative":
            raise ValueError(
                "'distribution-balanced' weighs an entry by what else its image shows, which "
                "'smoothed-negative' turns around; take 'weak-negative'"
            )
        return unknown


@final
class DistributionBalanced:
    """Distribution-balanced loss of logits [N, C] and targets [N, C] in {1, 0, -1}: fp32 scalar.

    With n a label's present and m its absent training images, the entry of label l in an image
    that shows the labels P has

        rarity    r = (1 / n_l) / sum_P (1 / n)
        weight    w = floor + sigmoid(slope (r - middle))
        logit     y = z + prior log(n_l / m_l) / tolerance
        present   w (1 - p)^gamma softplus(-y),               p = sigmoid(y)
        absent    w q^gamma softplus(tolerance y) / tolerance, q = sigmoid(tolerance y)

    so a label counts as much as it is the reason for showing the image, and absent labels stop
    pressing early. In an image without a present label every weight is the largest. The logits
    that are scored afterwards are z.

    Args:
        config: The settings.
        counts: Of the training targets, needed.

    Raises:
        ConfigError: The counts were not given.

    Source: Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
    Datasets", ECCV 2020, arXiv:2007.09654, with the focusing of its code. That code is followed
    where it divides the log-odds by lambda; its factor 2 on the whole loss is left out.
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
