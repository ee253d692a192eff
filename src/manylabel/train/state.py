"""The `RunState`: one object with all that changes during a run, which checkpoints save."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

from manylabel.models.classifier import Classifier
from manylabel.train.job import Job
from manylabel.train.parts import Part, load_parts, save_parts
from manylabel.train.random_states import random_states, restore_random_states
from manylabel.train.step_state import StepState, begin_step


@final
@dataclass(frozen=True, slots=True)
class Position:
    """How far a run is: the numbers of finished steps, epochs of the step, and batches."""

    step: int = 0
    epoch: int = 0
    batch: int = 0


@final
@dataclass
class RunState:
    """All that changes during a run. A saved state is enough to resume the run.

    Args:
        classifier: The classifier with its weights.
        precision: Fabric's precision. Under `16-mixed` it scales the loss. The scale is part of the
            whole run: it does not start again with each step.
        position: How far the run is.
        losses: The sum and the number of the current epoch's losses.
        best: The best epoch of the current step, its validation mAP and its weights.
        results: The figures of each finished step, in order.
        history: The figures of each finished epoch, in order.
        step: The state of the current step; None before it begins.
    """

    classifier: Classifier
    precision: Part
    position: Position = Position()
    losses: tuple[float, int] = (0.0, 0)
    best: dict[str, Any] | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    step: StepState | None = None

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that last for the whole run, by name."""
        return {"classifier": self.classifier, "precision": self.precision}

    def begin_step(self, job: Job) -> StepState:
        """The state of the current step. It is new unless a checkpoint restored it."""
        if self.step is None:
            self.step = begin_step(job, self.classifier, self.position.step)
        return self.step

    def end_step(self) -> None:
        """Move to the next step, which begins with a new optimiser and a new schedule."""
        self.position = Position(step=self.position.step + 1)
        self.step, self.best = None, None

    def saved(self) -> dict[str, Any]:
        """The state in the format of checkpoints."""
        position = self.position
        return {
            "position": [position.step, position.epoch, position.batch],
            "losses": list(self.losses),
            "best": self.best,
            "results": self.results,
            "history": self.history,
            "parts": save_parts(self.parts),
            "step": None if self.step is None else self.step.state_dict(),
            "random": random_states(),
        }

    def restore(self, saved: dict[str, Any], job: Job) -> None:
        """Restore the state that a checkpoint holds.

        Raises:
            CheckpointError: The checkpoint has other parts than this run.
        """
        load_parts(self.parts, saved["parts"])
        self.position = Position(*saved["position"])
        self.losses = (saved["losses"][0], saved["losses"][1])
        self.best, self.step = saved["best"], None
        self.results, self.history = saved["results"], saved["history"]
        if saved["step"] is not None:
            self.begin_step(job).load_state_dict(saved["step"])
        restore_random_states(saved["random"])  # last, since the code above may draw random numbers
