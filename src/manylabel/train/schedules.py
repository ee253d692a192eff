"""Learning-rate schedules and their settings: how the rates change during a step.

Each schedule is one class: its settings, after what it moves (`moves_after`), and `build`, which
makes torch's scheduler over an optimiser that has its initial rates. `lr` is the initial rate of
the head, `iterations` are those of the whole step.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, final

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
)

from manylabel.config import Config, default_name

Moment = Literal["iteration", "epoch", "validation"]
"""After what a schedule moves: each iteration, each epoch, or each loss on the val split."""


@final
class ConstantConfig(Config):
    """The learning rate stays as it is."""

    moves_after: ClassVar[Moment | None] = None

    name: Literal["constant"] = "constant"
    """Which schedule."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> None:
        """Nothing moves the rates."""
        return


@final
class PlateauConfig(Config):
    """The learning rate falls when the validation loss saturates."""

    moves_after: ClassVar[Moment] = "validation"

    name: Literal["plateau"] = "plateau"
    """Which schedule."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """The rate is multiplied by this."""
    patience: int = Field(default=2, ge=0)
    """Epochs without a lower validation loss before the rate falls."""
    smallest: float = Field(default=1e-5, gt=0)
    """The rate falls no further than this."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> ReduceLROnPlateau:
        """Moves the rates by the validation loss; all reach their smallest value together."""
        smallest = [self.smallest * float(group["lr"]) / lr for group in optimizer.param_groups]
        return ReduceLROnPlateau(
            optimizer, factor=self.factor, patience=self.patience, min_lr=smallest
        )


@final
class MilestonesConfig(Config):
    """The learning rate falls after the epochs that are listed."""

    moves_after: ClassVar[Moment] = "epoch"

    name: Literal["milestones"] = "milestones"
    """Which schedule."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """The rate is multiplied by this."""
    epochs: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    """Epochs of the step, counted from 1, after which the rate falls."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> LRScheduler:
        """Moves the rates after the epochs listed."""
        return MultiStepLR(optimizer, list(self.epochs), self.factor)


@final
class CosineConfig(Config):
    """The learning rate falls to zero over the step, along half a cosine."""

    moves_after: ClassVar[Moment] = "iteration"

    name: Literal["cosine"] = "cosine"
    """Which schedule."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> LRScheduler:
        """Moves the rates to zero."""
        return CosineAnnealingLR(optimizer, iterations)


@final
class OneCycleConfig(Config):
    """The learning rate rises over 30 % of the step to `lr`, then falls to zero."""

    moves_after: ClassVar[Moment] = "iteration"

    name: Literal["one-cycle"] = "one-cycle"
    """Which schedule."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> LRScheduler:
        """Moves the rates up to those that they have now, then down."""
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        return OneCycleLR(optimizer, rates, total_steps=iterations + 1)


ScheduleConfig = Annotated[
    ConstantConfig | PlateauConfig | MilestonesConfig | CosineConfig | OneCycleConfig,
    Field(discriminator="name"),
    default_name("constant"),
]
"""The settings of any schedule, told apart by `name`."""
