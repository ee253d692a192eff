"""What changes during a run, as one object that is saved whole: the `RunState`."""

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
        precision: Fabric's precision. Under `16-mixed` it scales the loss, and one scale serves
            the whole run, from step to step.
        position: How far the run is.
        losses: Sum and number of the current epoch's losses.
        best: Of the current step: its best validation mAP and the weights that reached it.
        results: What each step brought, by its position.
        history: What each epoch brought.
        step: What trains the current step; None before it begins.
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
        """What lives as long as the run and saves itself."""
        return {"classifier": self.classifier, "precision": self.precision}

    def begin_step(self, job: Job) -> StepState:
        """What trains the current step; a step that was restored in its middle goes on."""
        if self.step is None:
            self.step = begin_step(job, self.classifier, self.position.step)
        return self.step

    def end_step(self) -> None:
        """Move to the next step, which begins with an optimiser and a schedule of its own."""
        self.position = Position(step=self.position.step + 1)
        self.step, self.best = None, None

    def saved(self) -> dict[str, Any]:
        """The state as a checkpoint holds it."""
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
        """Go back to what a checkpoint holds.

        Raises:
            CheckpointError: The checkpoint holds other parts than this run has.
        """
        load_parts(self.parts, saved["parts"])
        self.position = Position(*saved["position"])
        self.losses = (saved["losses"][0], saved["losses"][1])
        self.best, self.step = saved["best"], None
        self.results, self.history = saved["results"], saved["history"]
        if saved["step"] is not None:
            self.begin_step(job).load_state_dict(saved["step"])
        restore_random_states(saved["random"])  # last: what was built above may have drawn numbers
