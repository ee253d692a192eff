"""How losses handle unknown targets.

This module turns the loss of an entry (one image, one label) into the loss of a batch.
`UnknownConfig` says how unknown targets count. Entries are then summed over labels and averaged
over images. Nothing is kept between batches, so it works with any loss, any order of images and
exact resume.

z are logits, s their scores, l(z, t) is the loss of one entry; there are C labels and N images:

    option              an unknown target costs
    ignore              nothing
    negative            l(z, 0)
    weak-negative       w l(z, 0), w = 1 / (C - 1)
    smoothed-negative   (1 - e) l(z, 0) + e l(z, 1), e = 0.1; known targets are smoothed, too
    expected-positives  nothing; but w (sum of all s / N - k)^2 / C is added for each batch
    entropy             -w (entropy of s), w = 0.1

Source: all but the last, Cole et al., "Multi-Label Learning from Single Positive Labels", CVPR 2021
(AN, WAN, AN-LS, EPR); the last, Zhou et al., "Acknowledging the Unknown for Multi-label Learning
with Single Positive Labels", ECCV 2022 (EM, without its pseudo-labels). Both divide everything by
C, which is `mean_over_labels` here. `sum_over_labels` is C times as much, including the penalty of
`expected-positives`. Their code adds 1e-5 inside each logarithm; here the logarithm is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, final

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from manylabel.config import Config
from manylabel.labels import PRESENT, UNKNOWN

Reduction = Literal["sum_over_labels", "mean_over_labels"]
"""The reduction over labels. Over images it is always the mean."""

EntryLoss = Callable[[Tensor, Tensor], Tensor]
"""From logits and targets in {1, 0}, [N, C] in 32 bits or more, to the loss of each entry."""

_ENTROPY_WEIGHT: Final = 0.1


class UnknownConfig(Config):
    """How unknown targets (-1) count in training."""

    name: Literal[
        "ignore",
        "negative",
        "weak-negative",
        "smoothed-negative",
        "expected-positives",
        "entropy",
    ] = "ignore"
    """`ignore`: no loss and no gradient. `negative`: as absent. `weak-negative`: as absent, with a
    small weight. `smoothed-negative`: as absent, and all targets are smoothed.
    `expected-positives`: only the mean number of positives in a batch is kept near `positives`.
    `entropy`: scores near 0 and 1 are penalised. See docs/unknown-labels.md."""
    weight: float | None = Field(default=None, gt=0)
    """How much unknown targets count. If it is not set: `weak-negative` takes 1 / (C - 1) for C
    labels; `entropy` takes 0.1, the authors' value for MS-COCO and NUS-WIDE (VOC: 0.2);
    `expected-positives` takes 1."""
    smoothing: float = Field(default=0.1, gt=0, lt=0.5)
    """For `smoothed-negative` only: targets are 1 - this and this instead of 1 and 0."""
    positives: float | None = Field(default=None, gt=0)
    """For `expected-positives` only, which needs it: the mean number of labels of an image."""

    @model_validator(mode="after")
    def _check(self) -> UnknownConfig:
        if self.name == "expected-positives" and self.positives is None:
            raise ValueError(
                "'expected-positives' needs 'positives', the mean number of labels of an image"
            )
        return self


@final
class PartialLoss:
    """The loss of a batch, from the loss of its entries: a scalar in 32 bits, or 64 as the logits.

    Args:
        entry: Gives the loss of each entry with a known target.
        unknown: How entries with unknown targets count.
        reduction: The reduction over labels.
    """

    def __init__(self, entry: EntryLoss, unknown: UnknownConfig, reduction: Reduction) -> None:
        self._entry, self._unknown, self._reduction = entry, unknown, reduction

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits [N, C] and targets [N, C] in {1, 0, -1}."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = self._entries(logits, targets).sum(1).mean()
        if self._unknown.name == "expected-positives":
            loss = loss + self._positives_penalty(logits)
        return loss / logits.shape[1] if self._reduction == "mean_over_labels" else loss

    def _entries(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each entry, [N, C]."""
        present = (targets == PRESENT).to(logits.dtype)
        losses = self._entry(logits, present)
        match self._unknown.name:
            case "ignore" | "expected-positives":
                unknown = torch.zeros_like(losses)
            case "negative":
                return losses
            case "weak-negative":
                unknown = self._weight(1 / max(1, logits.shape[1] - 1)) * losses
            case "smoothed-negative":
                smoothing = self._unknown.smoothing
                return (1 - smoothing) * losses + smoothing * self._entry(logits, 1 - present)
            case "entropy":
                unknown = -self._weight(_ENTROPY_WEIGHT) * entropy(logits)
        return torch.where(targets == UNKNOWN, unknown, losses)

    def _positives_penalty(self, logits: Tensor) -> Tensor:
        """The squared error of the expected number of positives, times the weight, over C."""
        assert self._unknown.positives is not None
        found = torch.sigmoid(logits).sum(1).mean()
        return self._weight(1.0) * (found - self._unknown.positives).square() / logits.shape[1]

    def _weight(self, default: float) -> float:
        return default if self._unknown.weight is None else self._unknown.weight


def entropy(logits: Tensor) -> Tensor:
    """The entropy in nats, 0..log 2, of the yes-or-no prediction of each logit; same shape."""
    size = logits.abs()  # entropy is even; with |z|, no two large numbers are subtracted
    return functional.softplus(-size) + size * torch.sigmoid(-size)
