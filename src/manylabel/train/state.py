"""A run's parts: what stays as it is (`Job`), and what changes and is saved (`RunState`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from manylabel.data.records import Records, Split
from manylabel.errors import ImageError
from manylabel.feed.loaders import Sample
from manylabel.feed.sampling import epoch_length
from manylabel.models.classifier import Classifier
from manylabel.train.config import OptimConfig, RunConfig, StepConfig
from manylabel.train.logs import Reporter
from manylabel.train.steps import STEPS, StepPlan


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
        return STEPS[self.step(number).kind]

    def optim(self, number: int) -> OptimConfig:
        """That step's optimiser."""
        return self.run.optim_of(self.step(number))

    def title(self, number: int) -> str:
        """That step's name for people."""
        plan = self.plan(number)
        return f"step {plan.number} {plan.title}"


@final
@dataclass(frozen=True, slots=True)
class Position:
    """How far a run is: steps, epochs of the step and batches of the epoch that are done."""

    step: int = 0
    epoch: int = 0
    batch: int = 0


@final
@dataclass
class RunState:
    """What changes during a run; saved whole, and enough to go on from.

    Args:
        classifier: The weights.
        position: How far the run is.
        losses: Sum and number of the current epoch's losses.
        best: Of the current step: its best validation mAP and the weights that reached it.
        results: What each step brought, by its position.
        history: What each epoch brought.
        resumed: Optimiser and schedule of a step that was left in its middle.
    """

    classifier: Classifier
    position: Position = Position()
    losses: tuple[float, int] = (0.0, 0)
    best: dict[str, Any] | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    resumed: dict[str, Any] | None = None

    def saved(self, identity: str, tools: dict[str, Any] | None) -> dict[str, Any]:
        """The state as a checkpoint holds it.

        Args:
            identity: The run's.
            tools: State of the current step's optimiser and schedule; None between steps.
        """
        position = self.position
        return {
            "identity": identity,
            "position": [position.step, position.epoch, position.batch],
            "losses": list(self.losses),
            "classifier": self.classifier.state_dict(),
            "best": self.best,
            "results": self.results,
            "history": self.history,
            "torch_rng": torch.get_rng_state(),
            "tools": tools,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to what a checkpoint holds."""
        self.classifier.load_state_dict(saved["classifier"])
        self.position = Position(*saved["position"])
        self.losses = (saved["losses"][0], saved["losses"][1])
        self.best, self.resumed = saved["best"], saved["tools"]
        self.results, self.history = saved["results"], saved["history"]
        torch.set_rng_state(saved["torch_rng"])
