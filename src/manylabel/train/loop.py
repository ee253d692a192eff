"""The training loop: a run is steps, a step is epochs, an epoch is batches.

Read from the top: `train` walks the steps, `_train_step` one of them, `_train_epoch` the batches.
All that changes while a run goes on is in `RunState`; all that does not is in `Job`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from manylabel.errors import RunError
from manylabel.feed.loaders import Batch, EpochSampler, InOrder, batches
from manylabel.metrics.profiles import measure
from manylabel.metrics.ranking import average_precision, mean_of_defined
from manylabel.models.backbones import FeatureMaps
from manylabel.models.classifier import module_of_step
from manylabel.models.heads.base import HeadOutput
from manylabel.models.heads.steps import StepPlan
from manylabel.pixels import normalise
from manylabel.preprocess import InputSpec
from manylabel.train.checkpoint import CHECKPOINT, save_checkpoint
from manylabel.train.loss_monitor import LossMonitor
from manylabel.train.mixing import Mixture, draw_mixture
from manylabel.train.optim import Schedule, build_optimizer, parameter_groups
from manylabel.train.scoring import SplitScores, score
from manylabel.train.signals import StopRequest
from manylabel.train.state import Job, Position, RunState, View
from manylabel.train.steps import train_only

StepDone = Callable[[int], None]
"""Called after each step with its position, when its weights are in the classifier."""


@final
@dataclass(frozen=True)
class _Tools:
    """What trains one step."""

    number: int
    plan: StepPlan
    parts: tuple[str, ...]
    module: nn.Module
    optimizer: Any  # fabric's wrapper of a torch optimiser
    schedule: Schedule
    encode: Callable[[Batch], object]
    loss_of: Callable[[HeadOutput, Tensor], Tensor]


def train(job: Job, state: RunState, *, stop: StopRequest, step_done: StepDone) -> None:
    """Train what is left of a run; `state` holds the result.

    Raises:
        RunError: The loss is not a number, the disk is full, or a signal came; in each case the
            last checkpoint stands and the message says how to go on.
    """
    for number in range(state.position.step, len(job.run.steps)):
        began = time.monotonic()
        tools = _train_step(job, state, number, stop)
        result = _measure_step(job, state, tools)
        state.results.append({**result, "seconds": round(time.monotonic() - began, 1)})
        job.reporter.record("step", **state.results[-1])
        step_done(number)
        state.position, state.best = Position(step=number + 1), None
        _save(job, state)


def _train_step(job: Job, state: RunState, number: int, stop: StopRequest) -> _Tools:
    tools = _prepare(job, state, number)
    job.reporter.begin(job.title(number), _images_left(job, number, state.position))
    for epoch in range(state.position.epoch, job.step(number).epochs):
        loss = _train_epoch(job, state, tools, stop)
        scored = _validate(job, tools, epoch)
        _note_epoch(job, state, tools, epoch, loss, scored)
        tools.schedule.after_epoch(scored.loss if scored else None)
        state.position, state.losses = Position(number, epoch + 1), (0.0, 0)
        _save(job, state, tools)
    job.reporter.end()
    if state.best is not None:
        state.classifier.load_state_dict(state.best["weights"])
    return tools


def _train_epoch(job: Job, state: RunState, tools: _Tools, stop: StopRequest) -> float:
    """Train on what is left of an epoch and give its mean loss."""
    began = state.position
    train_only(state.classifier, tools.parts, job.step(tools.number).freeze_stages)
    watch = LossMonitor(job, began, state.losses)
    epochs = job.step(tools.number).epochs
    job.reporter.rename(f"{job.title(tools.number)}  epoch {began.epoch + 1}/{epochs}")
    for done, batch in enumerate(_training_batches(job, began), start=began.batch + 1):
        mixture = _mixture(job, began, done - 1, len(batch.targets))
        output: HeadOutput = tools.module(mixture.inputs(tools.encode(batch)))
        loss = mixture.loss(tools.loss_of, output, batch.targets.to(output.logits.device))
        tools.optimizer.zero_grad()
        job.fabric.backward(loss)
        _clip(job, tools)
        tools.optimizer.step()
        tools.schedule.after_iteration()
        watch.add(loss, len(batch.targets))
        state.position = Position(began.step, began.epoch, done)
        if stop.received is not None:
            watch.check()
            state.losses = watch.losses
            raise _stopped(job, state, tools, stop.received)
    watch.check()
    return watch.mean


def encoder(spec: InputSpec, device: torch.device) -> Callable[[Batch], object]:
    """What a module takes for a batch: normalised images of pixels, or cached feature maps."""

    def encode(batch: Batch) -> object:
        if isinstance(batch.inputs, Tensor):
            pixels = batch.inputs.to(device, non_blocking=True)
            return normalise(pixels, spec).to(memory_format=torch.channels_last)
        mid, final_map = (part.to(device).float() for part in batch.inputs)
        return FeatureMaps(mid, final_map)

    return encode


def _prepare(job: Job, state: RunState, number: int) -> _Tools:
    """Freeze, and build what trains a step; go on from its middle if that was saved."""
    step, plan, config = job.step(number), job.plan(number), job.optim(number)
    train_only(state.classifier, job.run.parts_of(step), step.freeze_stages)
    optimizer = build_optimizer(config, parameter_groups(config, state.classifier))
    schedule = Schedule(
        config,
        optimizer,
        iterations=step.epochs * max(1, job.epoch_images // job.run.batch_size),
        validated=job.val is not None and job.run.validate_every == 1,
    )
    if state.resumed is not None:
        optimizer.load_state_dict(state.resumed["optimizer"])
        schedule.load_state_dict(state.resumed["schedule"])
        state.resumed = None

    def loss_of(output: HeadOutput, targets: Tensor) -> Tensor:
        return torch.stack([job.loss(output.select(b), targets) for b in plan.losses]).sum()

    from_maps = job.run.features == "cached"
    return _Tools(
        number=number,
        plan=plan,
        parts=job.run.parts_of(step),
        module=job.fabric.setup_module(module_of_step(state.classifier, plan, from_maps=from_maps)),
        optimizer=job.fabric.setup_optimizers(optimizer),
        schedule=schedule,
        encode=encoder(job.run.input, job.fabric.device),
        loss_of=loss_of,
    )


def _training_batches(job: Job, position: Position) -> Iterator[Batch]:
    sampler = EpochSampler(
        job.train.targets,
        job.run.sampler,
        seed=job.run.seed,
        epoch=_epochs_done(job, position),
        skip=position.batch * job.run.batch_size,
    )
    return batches(
        job.train.samples,
        sampler,
        batch_size=job.run.batch_size,
        workers=job.workers,
        drop_last=job.epoch_images >= job.run.batch_size,
    )


def _mixture(job: Job, position: Position, batch: int, images: int) -> Mixture:
    return draw_mixture(
        job.run.mixing,
        images=images,
        size=(job.run.input.height, job.run.input.width),
        seed=job.run.seed,
        epoch=_epochs_done(job, position),
        batch=batch,
    )


def _epochs_done(job: Job, position: Position) -> int:
    """Epochs of the whole run that lie before a position."""
    return sum(step.epochs for step in job.run.steps[: position.step]) + position.epoch


def _validate(job: Job, tools: _Tools, epoch: int) -> SplitScores | None:
    every = job.run.validate_every
    if job.val is None or every == 0 or (epoch + 1) % every:
        return None
    return _score(job, tools, job.val)


def _score(job: Job, tools: _Tools, view: View) -> SplitScores:
    size = len(view.records)
    job.reporter.begin(f"{job.title(tools.number)}  looking at {view.name}", size)
    stream = batches(
        view.samples, InOrder(size), batch_size=job.run.batch_size, workers=job.workers
    )
    scored = score(
        tools.module,
        stream,
        view.records.keys,
        tools.encode,
        tools.loss_of,
        job.reporter.advance,
    )
    job.reporter.end()
    return scored


def _note_epoch(
    job: Job, state: RunState, tools: _Tools, epoch: int, loss: float, scored: SplitScores | None
) -> None:
    """Note what an epoch brought, and its weights if they are the best of the step so far."""
    step = job.step(tools.number)
    said = f"{job.title(tools.number)}  epoch {epoch + 1}/{step.epochs}  loss {loss:.3f}"
    entry: dict[str, Any] = {
        "step": tools.number + 1,
        "kind": step.kind,
        "epoch": epoch + 1,
        "loss": round(loss, 5),
        "lr": tools.optimizer.param_groups[0]["lr"],
    }
    if scored is not None:
        mean_ap = _mean_ap(scored, tools.plan.scores)
        known = None if math.isnan(mean_ap) else round(mean_ap, 5)
        entry |= {"val_loss": round(scored.loss, 5), "val_mAP": known}
        said += f"  val mAP {mean_ap:.3f}"
        # `not <=` lets the latest epoch win where no mAP is defined: a val split without positives.
        if job.run.keep == "best" and (state.best is None or not mean_ap <= state.best["mAP"]):
            weights = copy.deepcopy(state.classifier.state_dict())
            state.best = {"epoch": epoch + 1, "mAP": mean_ap, "weights": weights}
    state.history.append(entry)
    job.reporter.record("epoch", **entry)
    job.reporter.say(said)


def _measure_step(job: Job, state: RunState, tools: _Tools) -> dict[str, Any]:
    """What a step brought: measures of its own scores, and mAP of every branch."""
    scored = _score(job, tools, job.held_out)
    measures = measure(
        scored.scores[tools.plan.scores], scored.targets, job.held_out.records.labels
    )
    branches = {name: _mean_ap(scored, name) for name in scored.scores}
    job.reporter.say(
        f"{job.title(tools.number)}  {job.held_out.name} mAP {measures.mAP:.4f}  CF1 "
        f"{measures.all.CF1:.4f}  OF1 {measures.all.OF1:.4f}"
    )
    return {
        "kind": job.step(tools.number).kind,
        "number": tools.plan.number,
        "scores": tools.plan.scores,
        "epochs": job.step(tools.number).epochs,
        "best_epoch": state.best["epoch"] if state.best else None,
        "split": job.held_out.name,
        **measures.as_dict(),
        "branches": {name: value for name, value in branches.items() if math.isfinite(value)},
    }


def _mean_ap(scored: SplitScores, branch: str) -> float:
    return mean_of_defined(average_precision(scored.scores[branch], scored.targets))


def _images_left(job: Job, number: int, position: Position) -> int:
    """Images that a step will still train on, but for those that short last batches drop."""
    epochs = job.step(number).epochs - position.epoch
    return epochs * job.epoch_images - position.batch * job.run.batch_size


def _clip(job: Job, tools: _Tools) -> None:
    norm = job.optim(tools.number).clip_norm
    if norm is not None:
        job.fabric.clip_gradients(tools.module, tools.optimizer, max_norm=norm)


def _save(job: Job, state: RunState, tools: _Tools | None = None) -> None:
    in_step = tools and {
        "optimizer": tools.optimizer.state_dict(),
        "schedule": tools.schedule.state_dict(),
    }
    save_checkpoint(job.folder / CHECKPOINT, state.saved(job.identity, in_step))


def _stopped(job: Job, state: RunState, tools: _Tools, signal_name: str) -> RunError:
    """The error that ends a run which was told to stop; its checkpoint is saved first."""
    _save(job, state, tools)
    position = state.position
    return RunError(
        f"The run was stopped by {signal_name} in {job.title(tools.number)}, epoch "
        f"{position.epoch + 1}, after {position.batch} batches; its checkpoint is saved.",
        where=str(job.folder),
        fix=f"Go on with: manylabel train --resume {job.folder}",
    )
