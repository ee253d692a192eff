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

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Literal, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from manylabel.config import Config, default_name
from manylabel.labels import PRESENT, UNKNOWN

Reduction = Literal["sum_over_labels", "mean_over_labels"]
"""The reduction over labels. Over images it is always the mean."""

EntryLoss = Callable[[Tensor, Tensor], Tensor]
"""From logits and targets in {1, 0}, [N, C] in 32 bits or more, to the loss of each entry."""


class BaseUnknownConfig(Config):
    """What the settings of all treatments of unknown targets have."""

    name: Any  # of each treatment, its own
    """Which treatment; see docs/unknown-labels.md."""

    @abstractmethod
    def entries(self, entry: EntryLoss, logits: Tensor, targets: Tensor) -> Tensor:
        """Each entry's loss [N, C].

        Args:
            entry: The loss of entries whose targets are known.
            logits: [N, C], in 32 bits or more.
            targets: [N, C] in {1, 0, -1}.
        """

    def penalty(self, logits: Tensor) -> Tensor | None:
        """What a batch costs beside its entries; None: nothing."""
        return None


@final
class IgnoreConfig(BaseUnknownConfig):
    """Unknown targets have neither loss nor gradient."""

    name: Literal["ignore"] = "ignore"
    """Which treatment; see docs/unknown-labels.md."""

    def entries(self, entry: EntryLoss, logits: Tensor, targets: Tensor) -> Tensor:
        """0 for unknown targets."""
        losses = _as_absent(entry, logits, targets)
        return torch.where(targets == UNKNOWN, torch.zeros_like(losses), losses)


@final
class NegativeConfig(BaseUnknownConfig):
    """Unknown targets count as absent."""

    name: Literal["negative"] = "negative"
    """Which treatment; see docs/unknown-labels.md."""

    def entries(self, entry: EntryLoss, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of absent targets for unknown ones."""
        return _as_absent(entry, logits, targets)


@final
class WeakNegativeConfig(BaseUnknownConfig):
    """Unknown targets count as absent, with a small weight."""

    name: Literal["weak-negative"] = "weak-negative"
    """Which treatment; see docs/unknown-labels.md."""
    weight: float | None = Field(default=None, gt=0)
    """How much unknown targets count; unset: 1 / (C - 1) of C labels."""

    def entries(self, entry: EntryLoss, logits: Tensor, targets: Tensor) -> Tensor:
        """A share of the loss of absent targets for unknown ones."""
        losses = _as_absent(entry, logits, targets)
        weight = 1 / max(1, logits.shape[1] - 1) if self.weight is None else self.weight
        return torch.where(targets == UNKNOWN, weight * losses, losses)


@final
class SmoothedNegativeConfig(BaseUnknownConfig):
    """Unknown targets count as absent, and all targets are smoothed."""

    name: Literal["smoothed-negative"] = "smoothed-negative"
    """Which treatment; see docs/unknown-labels.md."""
    smoothing: float = Field(default=0.1, gt=0, lt=0.5)
    """Targets are 1 - this and this rather than 1 and 0."""

    def entries(self, entry: EntryLoss, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of smoothed targets."""
        present = (targets == PRESENT).to(logits.dtype)
        losses, opposite = entry(logits, present), entry(logits, 1 - present)
        return (1 - self.smoothing) * losses + self.smoothing * opposite


@final
class ExpectedPositivesConfig(BaseUnknownConfig):
    """A batch's mean number of positives is held near `positives`."""

    name: Literal["expected-positives"] = "expected-positives"
    """Which treatment; see docs/unknown-labels.md."""
    positives: float = Field(gt=0)
    """The labels that an image has on average."""
    weight: float = Field(default=1.0, gt=0)
    """How much the number of positives counts."""

    def entries(self, entry: EntryLoss, logits: Tensor, targets: Tensor) -> Tensor:
        """0 for unknown targets."""
        return IgnoreConfig().entries(entry, logits, targets)

    def penalty(self, logits: Tensor) -> Tensor:
        """How far the expected number of positives is from what it should be, squared, over C."""
        found = torch.sigmoid(logits).sum(1).mean()
        return self.weight * (found - self.positives).square() / logits.shape[1]


@final
class EntropyConfig(BaseUnknownConfig):
    """Scores of unknown targets are kept from becoming sure."""

    name: Literal["entropy"] = "entropy"
    """Which treatment; see docs/unknown-labels.md."""
    weight: float = Field(default=0.1, gt=0)
    """How much unknown targets count; 0.1 is the authors' for MS-COCO and NUS-WIDE (VOC: 0.2)."""

    def entries(self, entry: EntryLoss, logits: Tensor, targets: Tensor) -> Tensor:
        """The negative entropy of the score for unknown targets."""
        losses = _as_absent(entry, logits, targets)
        return torch.where(targets == UNKNOWN, -self.weight * entropy(logits), losses)


UnknownConfig = Annotated[
    IgnoreConfig
    | NegativeConfig
    | WeakNegativeConfig
    | SmoothedNegativeConfig
    | ExpectedPositivesConfig
    | EntropyConfig,
    Field(discriminator="name"),
    default_name("ignore"),
]
"""What unknown targets (-1) do in training, told apart by `name`."""


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
        loss = self._unknown.entries(self._entry, logits, targets).sum(1).mean()
        penalty = self._unknown.penalty(logits)
        if penalty is not None:
            loss = loss + penalty
        return loss / logits.shape[1] if self._reduction == "mean_over_labels" else loss


def _as_absent(entry: EntryLoss, logits: Tensor, targets: Tensor) -> Tensor:
    """Each entry's loss [N, C], where unknown targets are taken as absent ones."""
    return entry(logits, (targets == PRESENT).to(logits.dtype))


def entropy(logits: Tensor) -> Tensor:
    """The entropy in nats, 0..log 2, of the yes-or-no prediction of each logit; same shape."""
    size = logits.abs()  # entropy is even; with |z|, no two large numbers are subtracted
    return functional.softplus(-size) + size * torch.sigmoid(-size)
