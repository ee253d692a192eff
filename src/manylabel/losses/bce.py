"""Sigmoid cross-entropy, as SRN trains with it."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional

from manylabel.config import Config
from manylabel.labels import UNKNOWN


class BCEConfig(Config):
    """The settings of sigmoid cross-entropy."""

    name: Literal["bce"] = "bce"
    """Which loss."""
    reduction: Literal["sum_over_labels", "mean_over_labels"] = "sum_over_labels"
    """`sum_over_labels`: summed over labels, mean over images, as the authors' Caffe does it; the
    paper's learning rates belong to it. `mean_over_labels`: also divided by the number of labels;
    the same rate is then C times too small."""


@final
class BCE:
    """Sigmoid cross-entropy of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    Unknown targets (-1) count neither in the loss nor in its gradient.
    """

    def __init__(self, config: BCEConfig) -> None:
        self.reduction = config.reduction

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, summed or averaged over labels and averaged over images."""
        known = targets != UNKNOWN
        losses = functional.binary_cross_entropy_with_logits(
            logits.float(), targets.clamp(min=0).float(), reduction="none"
        )
        by_image = torch.where(known, losses, 0.0).sum(1)
        if self.reduction == "mean_over_labels":
            by_image = by_image / logits.shape[1]
        return by_image.mean()
