"""Learning-rate schedules: how the learning rates change during a step.

Each schedule is one class, which holds its settings. `moves_after` says when it changes the rates.
`build` makes torch's scheduler for an optimiser that has its initial rates. `lr` is the initial
rate of the head, and `iterations` is the number of iterations of the whole step.
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
"""When a schedule changes the rates: after each iteration, epoch or validation loss."""


@final
class ConstantConfig(Config):
    """The learning rate does not change."""

    moves_after: ClassVar[Moment | None] = None

    name: Literal["constant"] = "constant"
    """Which schedule."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> None:
        """No scheduler: the rates do not change."""
        return


@final
class PlateauConfig(Config):
    """The learning rate falls when the validation loss no longer falls."""

    moves_after: ClassVar[Moment] = "validation"

    name: Literal["plateau"] = "plateau"
    """Which schedule."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """The rate is multiplied by this each time."""
    patience: int = Field(default=2, ge=0)
    """The rate falls after more than this many epochs without a lower validation loss."""
    smallest: float = Field(default=1e-5, gt=0)
    """The lowest rate."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> ReduceLROnPlateau:
        """A scheduler that lowers the rates; all groups reach their lowest rate together."""
        smallest = [self.smallest * float(group["lr"]) / lr for group in optimizer.param_groups]
        return ReduceLROnPlateau(
            optimizer, factor=self.factor, patience=self.patience, min_lr=smallest
        )


@final
class MilestonesConfig(Config):
    """The learning rate falls after the given epochs."""

    moves_after: ClassVar[Moment] = "epoch"

    name: Literal["milestones"] = "milestones"
    """Which schedule."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """The rate is multiplied by this each time."""
    epochs: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    """Epochs of the step, counted from 1, after which the rate falls."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> LRScheduler:
        """A scheduler that lowers the rates after the given epochs."""
        return MultiStepLR(optimizer, list(self.epochs), self.factor)


@final
class CosineConfig(Config):
    """The learning rate falls to zero over the step, along half a cosine."""

    moves_after: ClassVar[Moment] = "iteration"

    name: Literal["cosine"] = "cosine"
    """Which schedule."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> LRScheduler:
        """A scheduler that lowers the rates to zero."""
        return CosineAnnealingLR(optimizer, iterations)


@final
class OneCycleConfig(Config):
    """The learning rate rises over 30 % of the step to `lr`, then falls to zero."""

    moves_after: ClassVar[Moment] = "iteration"

    name: Literal["one-cycle"] = "one-cycle"
    """Which schedule."""

    def build(self, optimizer: Optimizer, *, lr: float, iterations: int) -> LRScheduler:
        """A scheduler that raises the rates up to their present values, then lowers them."""
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        return OneCycleLR(optimizer, rates, total_steps=iterations + 1)


ScheduleConfig = Annotated[
    ConstantConfig | PlateauConfig | MilestonesConfig | CosineConfig | OneCycleConfig,
    Field(discriminator="name"),
    default_name("constant"),
]
"""The settings of any schedule; `name` says which one they are for."""
