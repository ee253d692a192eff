"""Sigmoid cross-entropy, the loss that SRN is trained with."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from torch import Tensor
from torch.nn import functional

from manylabel.config import Config
from manylabel.errors import ConfigError
from manylabel.losses.counts import LabelCounts, as_tensor_like, need_counts
from manylabel.losses.partial import IgnoreConfig, PartialLoss, Reduction, UnknownConfig
from manylabel.text import counted


def _with_one_error(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Replace the three errors of the three allowed forms by one sentence."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError("give a number above 0, a list of such numbers, or 'balanced'") from None


_Weight = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]

PositiveWeight = Annotated[
    _Weight | Annotated[tuple[_Weight, ...], Field(min_length=1)] | Literal["balanced"],
    WrapValidator(_with_one_error),
]
"""One number for all labels, one for each, or the ratio of each label's training targets."""


class BCEConfig(Config):
    """The settings of sigmoid cross-entropy."""

    name: Literal["bce"] = "bce"
    """Which loss."""
    pos_weight: PositiveWeight = 1.0
    """The weight of a present target; an absent one has weight 1. It is a number; a list with one
    number for each label, in the order of the label space; or `balanced`: the ratio absent /
    present of each label's training targets. The balanced weight of a rare label is large, so
    lower the learning rate."""
    smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Label smoothing: targets are 1 - this and this instead of 1 and 0. The same smoothing in
    torch and timm is twice this number."""
    reduction: Reduction = "sum_over_labels"
    """`sum_over_labels`: the sum over labels and the mean over images, as in the authors' Caffe;
    the paper's learning rates are for this. `mean_over_labels`: also divided by the number of
    labels C; the same learning rate is then C times too small."""
    unknown: UnknownConfig = IgnoreConfig()
    """How unknown targets count."""


@final
class BCE:
    """Sigmoid cross-entropy of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    `config.unknown` says how unknown targets (-1) count. By default they add nothing to the loss
    or its gradient. The mean is over all images, including those with unknown targets only.

    Args:
        config: The settings.
        counts: Counts of the training targets; `pos_weight = "balanced"` needs them.

    Raises:
        ConfigError: Counts are needed but not given, or the number of weights in `pos_weight` is
            not the number of labels.
    """

    def __init__(self, config: BCEConfig, counts: LabelCounts | None = None) -> None:
        entry = partial(
            _cross_entropy,
            weight=_positive_weight(config.pos_weight, counts),
            smoothing=config.smoothing,
        )
        self._loss = PartialLoss(entry, config.unknown, config.reduction)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, summed or averaged over labels and averaged over images."""
        return self._loss(logits, targets)


def _positive_weight(
    setting: float | tuple[float, ...] | str, counts: LabelCounts | None
) -> Tensor | None:
    """The weight of present targets, [C] or [1]; None stands for 1 and saves the multiplication."""
    if isinstance(setting, str):
        ratio = need_counts(counts, "pos_weight = 'balanced'").absent_per_present
        return torch.from_numpy(ratio)
    if not isinstance(setting, tuple):
        return None if setting == 1 else torch.tensor([setting], dtype=torch.float64)
    if counts is not None and len(setting) != len(counts.present):
        raise ConfigError(
            f"'pos_weight' has {counted(len(setting), 'number')} for "
            f"{counted(len(counts.present), 'label')}.",
            where="loss.pos_weight",
            fix="Give one number for each label, in the order of the label space.",
        )
    return torch.tensor(setting, dtype=torch.float64)


def _cross_entropy(
    logits: Tensor, targets: Tensor, *, weight: Tensor | None, smoothing: float
) -> Tensor:
    if smoothing:
        targets = targets + smoothing * (1 - 2 * targets)
    return functional.binary_cross_entropy_with_logits(
        logits,
        targets,
        pos_weight=None if weight is None else as_tensor_like(weight, logits),
        reduction="none",
    )
