"""What a loss does with unknown targets.

A loss of single entries (one image, one label) becomes the loss of a batch here: unknown targets
are treated as `UnknownConfig` says, then entries are summed over labels and averaged over images.
Nothing is kept between batches, so it goes with any loss, any order and exact resume.

With z the logits, s their scores, l(z, t) the loss of one entry, C labels and N images:

    option              an unknown target costs
    ignore              nothing
    negative            l(z, 0)
    weak-negative       w l(z, 0), w = 1 / (C - 1)
    smoothed-negative   (1 - e) l(z, 0) + e l(z, 1), e = 0.1; known ones are smoothed likewise
    expected-positives  nothing itself; a batch costs w (sum of all s / N - k)^2 / C more
    entropy             -w (entropy of s), w = 0.1

Source: all but the last, Cole et al., "Multi-Label Learning from Single Positive Labels", CVPR 2021
(AN, WAN, AN-LS, EPR); the last, Zhou et al., "Acknowledging the Unknown for Multi-label Learning
with Single Positive Labels", ECCV 2022 (EM, without its pseudo-labels). Both divide everything by
C; that is `mean_over_labels`, and `sum_over_labels` is C times it, the penalty of
`expected-positives` included. Their code adds 1e-5 inside each logarithm; here it is exact.
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
"""Over labels; over images it is always the mean."""

EntryLoss = Callable[[Tensor, Tensor], Tensor]
"""From logits and targets in {1, 0}, both [N, C] in 32 bits or more, to each entry's loss."""

_ENTROPY_WEIGHT: Final = 0.1


class UnknownConfig(Config):
    """What unknown targets (-1) do in training."""

    name: Literal[
        "ignore",
        "negative",
        "weak-negative",
        "smoothed-negative",
        "expected-positives",
        "entropy",
    ] = "ignore"
    """`ignore`: neither loss nor gradient. `negative`: as absent. `weak-negative`: as absent, with
    a small weight. `smoothed-negative`: as absent, and all targets smoothed. `expected-positives`:
    only a batch's mean number of positives is held near `positives`. `entropy`: scores are
    kept from becoming sure. See docs/unknown-labels.md."""
    weight: float | None = Field(default=None, gt=0)
    """How much unknown targets count. `weak-negative`: unset is 1 / (C - 1) of C labels.
    `entropy`: unset is 0.1, the authors' for MS-COCO and NUS-WIDE (VOC: 0.2).
    `expected-positives`: unset is 1."""
    smoothing: float = Field(default=0.1, gt=0, lt=0.5)
    """`smoothed-negative` only: targets are 1 - this and this rather than 1 and 0."""
    positives: float | None = Field(default=None, gt=0)
    """`expected-positives` only, which needs it: the labels that an image has on average."""

    @model_validator(mode="after")
    def _check(self) -> UnknownConfig:
        if self.name == "expected-positives" and self.positives is None:
            raise ValueError(
                "'expected-positives' needs 'positives', the labels that an image has on average"
            )
        return self


@final
class PartialLoss:
    """The loss of a batch from that of its entries: a scalar in 32 bits, or 64 for such logits.

    Args:
        entry: The loss of each entry with a known target.
        unknown: What the others do.
        reduction: Over labels.
    """

    def __init__(self, entry: EntryLoss, unknown: UnknownConfig, reduction: Reduction) -> None:
        self._entry, self._unknown, self._reduction = entry, unknown, reduction

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits [N, C] and targets [N, C] in {1, 0, -1}."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = self._entries(logits, targets).sum(1).mean()
        if self._unknown.name == "expected-positives":
            loss = loss + self._misfit(logits)
        return loss / logits.shape[1] if self._reduction == "mean_over_labels" else loss

    def _entries(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Each entry's loss [N, C]."""
        present = (targets == PRESENT).to(logits.dtype)
        losses = self._entry(logits, present)
        match self._unknown.name:
            case "ignore" | "expected-positives":
                of_unknown = torch.zeros_like(losses)
            case "negative":
                return losses
            case "weak-negative":
                of_unknown = self._weight(1 / max(1, logits.shape[1] - 1)) * losses
            case "smoothed-negative":
                smoothing = self._unknown.smoothing
                return (1 - smoothing) * losses + smoothing * self._entry(logits, 1 - present)
            case "entropy":
                of_unknown = -self._weight(_ENTROPY_WEIGHT) * entropy(logits)
        return torch.where(targets == UNKNOWN, of_unknown, losses)

    def _misfit(self, logits: Tensor) -> Tensor:
        """How far the expected number of positives is from what it should be, squared, over C."""
        assert self._unknown.positives is not None
        found = torch.sigmoid(logits).sum(1).mean()
        return self._weight(1.0) * (found - self._unknown.positives).square() / logits.shape[1]

    def _weight(self, default: float) -> float:
        return default if self._unknown.weight is None else self._unknown.weight


def entropy(logits: Tensor) -> Tensor:
    """The entropy in nats, 0..log 2, of the yes or no that each logit stands for; same shape."""
    size = logits.abs()  # it is even; written so, nothing large is subtracted from its like
    return functional.softplus(-size) + size * torch.sigmoid(-size)
