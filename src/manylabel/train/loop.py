"""The training loop: a run has steps, a step has epochs, an epoch has batches.

`train` goes through the steps, `_train_step` through the epochs of a step, and `_train_epoch`
through the batches of an epoch. `RunState` holds all that changes during a run. `Job` holds all
that does not.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator

from manylabel.errors import RunError, StoppedError
from manylabel.processes import processes
from manylabel.train.checkpoint import CHECKPOINT, save_checkpoint
from manylabel.train.epoch_batches import images_left, training_batches, work_left
from manylabel.train.job import Job
from manylabel.train.loss_monitor import LossMonitor
from manylabel.train.results import epoch_entry, mean_ap, measure_step, validate, validated
from manylabel.train.scoring import SplitScores
from manylabel.train.signals import StopRequest
from manylabel.train.state import Position, RunState
from manylabel.train.step_state import StepState
from manylabel.train.steps import train_only


def train(job: Job, state: RunState, stop: StopRequest) -> Iterator[int]:
    """Train the steps of a run that are not done yet. `state` is updated.

    Yields:
        The position of each step after it was trained and measured. At that time the classifier
        has the step's weights. The step is saved as done when the next position is requested.

    Raises:
        RunError: The loss is not a finite number, the disk is full, or a signal stopped the run. In
            each case the last checkpoint is kept, and the message says how to continue.
    """
    with job.reporter.whole(work_left(job, state.position)):
        yield from _train(job, state, stop)


def _train(job: Job, state: RunState, stop: StopRequest) -> Iterator[int]:
    while state.position.step < len(job.run.steps):
        began = time.monotonic()
        step = state.begin_step(job)
        _train_step(job, state, step, stop)
        result = measure_step(job, step, state.best["epoch"] if state.best else None)
        result["val_mAP"] = validated(job, step, state)
        state.results.append({**result, "seconds": round(time.monotonic() - began, 1)})
        job.reporter.record("step", **state.results[-1])
        yield step.number
        state.end_step()
        _save(job, state)


def _train_step(job: Job, state: RunState, step: StepState, stop: StopRequest) -> None:
    job.reporter.begin(job.title(step.number), images_left(job, state.position))
    for epoch in range(state.position.epoch, job.step(step.number).epochs):
        loss = _train_epoch(job, state, step, stop)
        scored = validate(job, step, epoch)
        _record_epoch(job, state, step, loss, scored)
        step.schedule.after_epoch(scored.loss if scored else None)
        state.position, state.losses = Position(step.number, epoch + 1), (0.0, 0)
        _save(job, state)
    job.reporter.end()
    if state.best is not None:
        state.classifier.load_state_dict(state.best["weights"])


def _train_epoch(job: Job, state: RunState, step: StepState, stop: StopRequest) -> float:
    """Train on the remaining batches of an epoch, and return the mean loss of the epoch."""
    began, settings = state.position, job.step(step.number)
    train_only(state.classifier, step.trains, settings.freeze_stages)
    monitor = LossMonitor(job, began, state.losses)
    job.reporter.rename(f"{job.title(step.number)}  epoch {began.epoch + 1}/{settings.epochs}")
    for batch, mixture in training_batches(job, began):
        loss = step.loss(batch, mixture)
        step.update(loss)
        monitor.add(loss, len(batch.targets))
        state.position = Position(began.step, began.epoch, state.position.batch + 1)
        if stop.received is not None:
            monitor.check()
            state.losses = monitor.losses
            raise _stopped(job, state, stop.received)
    monitor.check()
    return monitor.mean


def _record_epoch(
    job: Job, state: RunState, step: StepState, loss: float, scored: SplitScores | None
) -> None:
    """Record the figures of an epoch, and its weights if they are the step's best so far."""
    epoch = state.position.epoch
    entry = epoch_entry(job, step, epoch, loss, scored)
    line = f"{job.title(step.number)}  epoch {epoch + 1}/{job.step(step.number).epochs}"
    line += f"  loss {loss:.3f}"
    if scored is not None:
        value = mean_ap(scored, step.plan.scores)
        line += f"  val mAP {value:.3f}"
        # `not <=` is true for NaN: without positives in the val split, the latest epoch is kept.
        if job.run.keep == "best" and (state.best is None or not value <= state.best["mAP"]):
            weights = copy.deepcopy(state.classifier.state_dict())
            state.best = {"epoch": epoch + 1, "mAP": value, "weights": weights}
    state.history.append(entry)
    job.reporter.record("epoch", **entry)
    job.reporter.say(line)


def _save(job: Job, state: RunState) -> None:
    """Save the checkpoint. Only the leading process writes it; the others do not wait for it."""
    if processes().leads:
        save_checkpoint(job.folder / CHECKPOINT, {"identity": job.identity, **state.saved()})


def _stopped(job: Job, state: RunState, signal_name: str) -> RunError:
    """Save the checkpoint, and return the error that ends a run that a signal stopped."""
    _save(job, state)
    position = state.position
    kind = StoppedError if signal_name == "SIGINT" else RunError
    return kind(
        f"The run was stopped by {signal_name} in {job.title(position.step)}, epoch "
        f"{position.epoch + 1}, after {position.batch} batches; its checkpoint is saved.",
        where=str(job.folder),
        fix=f"Resume it with: manylabel train --resume {job.folder}",
    )
