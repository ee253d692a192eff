"""The `Job`: what does not change during a run."""

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

from manylabel.bundle.seen import SeenImages
from manylabel.data.records import Records, Split
from manylabel.errors import ImageError
from manylabel.evaluate.overlap import Overlap
from manylabel.feed.loaders import Sample
from manylabel.feed.sampling import epoch_length
from manylabel.models.heads.steps import StepPlan
from manylabel.train.config import OptimConfig, RunConfig, StepConfig
from manylabel.train.logs import Reporter


@final
@dataclass(frozen=True)
class View:
    """A split as the training loop reads it: its records and their samples."""

    name: Split
    records: Records
    samples: Dataset[Sample | ImageError]

    @cached_property
    def targets(self) -> NDArray[np.int8]:
        """The targets of the split, int8 [N, C]."""
        return self.records.targets


@final
@dataclass(frozen=True)
class Job:
    """What does not change during a run.

    Args:
        run: The recipe.
        folder: The folder of the run.
        identity: The identity of recipe and data. Only a checkpoint with the same one is resumed.
        fabric: Lightning Fabric, which handles devices and precision.
        loss: Computes a scalar from logits [N, C] and targets [N, C].
        train: The training split, with its random views.
        val: The validation split, if there is one.
        held_out: The split that steps are measured on.
        workers: The number of processes that read images.
        reporter: Reports progress.
        seen: The images of train and val, for the bundles.
        overlap: How many images of the split that steps are measured on are among them.
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
    seen: SeenImages | None = None
    overlap: Overlap | None = None

    @cached_property
    def epoch_images(self) -> int:
        """The number of images of an epoch. An image that the sampler repeats counts each time."""
        return epoch_length(self.run.sampler, self.train.targets)

    def step(self, number: int) -> StepConfig:
        """The settings of the step at a position in the run, from 0."""
        return self.run.steps[number]

    def plan(self, number: int) -> StepPlan:
        """The plan of that step."""
        return self.run.plan_of(self.step(number).kind)

    def optim(self, number: int) -> OptimConfig:
        """The settings of that step's optimiser."""
        return self.run.optim_of(self.step(number))

    def title(self, number: int) -> str:
        """The name of that step in messages."""
        plan = self.plan(number)
        return f"step {plan.number} {plan.title}"
