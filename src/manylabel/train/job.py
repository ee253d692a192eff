"""What stays as it is during a run: the `Job`, and a split as the loop reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from manylabel.data.records import Records, Split
from manylabel.errors import ImageError
from manylabel.feed.loaders import Sample
from manylabel.feed.sampling import epoch_length
from manylabel.models.heads.steps import StepPlan
from manylabel.train.config import OptimConfig, RunConfig, StepConfig
from manylabel.train.logs import Reporter


@final
@dataclass(frozen=True)
class View:
    """A split as the loop reads it: its records, and their samples."""

    name: Split
    records: Records
    samples: Dataset[Sample | ImageError]

    @cached_property
    def targets(self) -> NDArray[np.int8]:
        """All targets, int8 [N, C]."""
        return self.records.targets


@final
@dataclass(frozen=True)
class Job:
    """What does not change during a run.

    Args:
        run: The recipe.
        folder: Where checkpoints go.
        identity: Of recipe and data; a checkpoint of another one is not resumed.
        fabric: Devices and precision.
        loss: From logits [N, C] and targets [N, C] to a scalar.
        train: The training split, with its random views.
        val: The validation split, if there is one.
        held_out: The split that steps are measured on.
        workers: Processes that read images.
        reporter: Who is told.
    """

    run: RunConfig
    folder: Path
    identity: str
    fabric: Fabric
    loss: Callable[[Tensor, Tensor], Tensor]
    train: View
    val: View | None
    held_out: View
    workers: int
    reporter: Reporter

    @cached_property
    def epoch_images(self) -> int:
        """Images of each epoch; those that the sampler repeats count each time."""
        return epoch_length(self.run.sampler, self.train.targets)

    def step(self, number: int) -> StepConfig:
        """The step at a position of the run."""
        return self.run.steps[number]

    def plan(self, number: int) -> StepPlan:
        """What that step trains, and on what."""
        return self.run.plan_of(self.step(number).kind)

    def optim(self, number: int) -> OptimConfig:
        """That step's optimiser."""
        return self.run.optim_of(self.step(number))

    def title(self, number: int) -> str:
        """That step's name for people."""
        plan = self.plan(number)
        return f"step {plan.number} {plan.title}"
