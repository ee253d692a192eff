"""Sigmoid cross-entropy, as SRN trains with it."""

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


def _in_one_sentence(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """A recipe's error names the three forms once, not one fault of each."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError("give a number above 0, a list of such numbers, or 'balanced'") from None


_Weight = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]

PositiveWeight = Annotated[
    _Weight | Annotated[tuple[_Weight, ...], Field(min_length=1)] | Literal["balanced"],
    WrapValidator(_in_one_sentence),
]
"""One number for all labels, one for each, or the ratio of a label's training targets."""


class BCEConfig(Config):
    """The settings of sigmoid cross-entropy."""

    name: Literal["bce"] = "bce"
    """Which loss."""
    pos_weight: PositiveWeight = 1.0
    """How much a present target counts beside an absent one: a number; a list of one number a
    label, in the label space's order; or `balanced`: absent / present training targets of each
    label. A rare label's balanced weight is large: lower the learning rate."""
    smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Targets are 1 - this and this rather than 1 and 0; torch and timm name twice this number."""
    reduction: Reduction = "sum_over_labels"
    """`sum_over_labels`: summed over labels, mean over images, as the authors' Caffe does it; the
    paper's learning rates belong to it. `mean_over_labels`: also divided by the number of labels;
    the same rate is then C times too small."""
    unknown: UnknownConfig = IgnoreConfig()
    """What unknown targets do."""


@final
class BCE:
    """Sigmoid cross-entropy of logits [N, C] and targets [N, C] in {1, 0, -1}: a scalar, fp32.

    Unknown targets (-1) do what `config.unknown` says; by default they count neither in the loss
    nor in its gradient. The mean is over all images, whatever is known of them.

    Args:
        config: The settings.
        counts: Of the training targets; `pos_weight = "balanced"` needs them.

    Raises:
        ConfigError: Counts are needed and not given, or `pos_weight` has another number of labels.
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
    """The weight of present targets, [C] or [1]; None: 1, which costs nothing."""
    if isinstance(setting, str):
        ratio = need_counts(counts, "pos_weight = 'balanced'").absent_per_present
        return torch.from_numpy(ratio)
    if not isinstance(setting, tuple):
        return None if setting == 1 else torch.tensor([setting], dtype=torch.float64)
    if counts is not None and len(setting) != len(counts.present):
        raise ConfigError(
            f"'pos_weight' has {len(setting)} numbers, and there are {len(counts.present)} labels.",
            where="loss.pos_weight",
            fix="Give one number a label, in the label space's order.",
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
