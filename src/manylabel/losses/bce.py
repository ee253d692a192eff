"""Sigmoid cross-entropy, as SRN trains with it."""

from __future__ import annotations

from typing import Literal, final

from torch import Tensor
from torch.nn import functional

from manylabel.config import Config
from manylabel.losses.partial import PartialLoss, Reduction, UnknownConfig


class BCEConfig(Config):
    """The settings of sigmoid cross-entropy."""

    name: Literal["bce"] = "bce"
    """Which loss."""
    reduction: Reduction = "sum_over_labels"
    """`sum_over_labels`: summed over labels, mean over images, as the authors' Caffe does it; the
    paper's learning rates belong to it. `mean_over_labels`: also divided by the number of labels;
    the same rate is then C times too small."""
    unknown: UnknownConfig = UnknownConfig()
    """What unknown targets do."""


@final
class BCE:
    """Sigmoid cross-entropy of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    Unknown targets (-1) do what `config.unknown` says; by default they count neither in the loss
    nor in its gradient. The mean is over all images, whatever is known of them.
    """

    def __init__(self, config: BCEConfig) -> None:
        self._loss = PartialLoss(_cross_entropy, config.unknown, config.reduction)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, summed or averaged over labels and averaged over images."""
        return self._loss(logits, targets)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
