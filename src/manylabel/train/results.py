"""The figures of epochs and steps, on the splits that the run does not train on."""

from __future__ import annotations

import math
from typing import Any

from manylabel.feed.loaders import InOrder, batches
from manylabel.metrics.profiles import measure
from manylabel.metrics.ranking import average_precision, mean_of_defined
from manylabel.processes import processes
from manylabel.train.epoch_batches import SCORING
from manylabel.train.job import Job, View
from manylabel.train.scoring import SplitScores, score
from manylabel.train.state import RunState
from manylabel.train.step_state import StepState


def validate(job: Job, step: StepState, epoch: int) -> SplitScores | None:
    """The scores of the validation split after an epoch; None if the epoch is not validated."""
    every = job.run.validate_every
    if job.val is None or every == 0 or (epoch + 1) % every:
        return None
    return _score(job, step, job.val)


def epoch_entry(
    job: Job, step: StepState, epoch: int, loss: float, scored: SplitScores | None
) -> dict[str, Any]:
    """An epoch's entry in the run's history; `val_mAP` is None if no label has a positive."""
    entry: dict[str, Any] = {
        "step": step.number + 1,
        "kind": job.step(step.number).kind,
        "epoch": epoch + 1,
        "loss": round(loss, 5),
        "lr": step.optimizer.param_groups[0]["lr"],
    }
    if scored is not None:
        value = mean_ap(scored, step.plan.scores)
        known = None if math.isnan(value) else round(value, 5)
        entry |= {"val_loss": round(scored.loss, 5), "val_mAP": known}
    return entry


def measure_step(job: Job, step: StepState, best_epoch: int | None) -> dict[str, Any]:
    """A step's entry in the run's results: figures of its scores, and the mAP of each branch."""
    scored = _score(job, step, job.held_out)
    measures = measure(scored.scores[step.plan.scores], scored.targets, job.held_out.records.labels)
    branches = {name: mean_ap(scored, name) for name in scored.scores}
    job.reporter.say(
        f"{job.title(step.number)}  {job.held_out.name} mAP {measures.mAP:.4f}  CF1 "
        f"{measures.all.CF1:.4f}  OF1 {measures.all.OF1:.4f}"
    )
    return {
        "kind": job.step(step.number).kind,
        "number": step.plan.number,
        "scores": step.plan.scores,
        "epochs": job.step(step.number).epochs,
        "best_epoch": best_epoch,
        "split": job.held_out.name,
        **measures.as_dict(),
        "branches": {name: value for name, value in branches.items() if math.isfinite(value)},
    }


def validated(job: Job, step: StepState, state: RunState) -> float | None:
    """The mAP on the validation split of the weights that a step ended with; None if not known.

    It was measured after the epoch that the weights are from. If that epoch was not validated, it
    is measured now, if the run needs it to choose the step that is handed over.
    """
    last = state.history[-1]
    if state.best is not None:
        value = float(state.best["mAP"])
    elif "val_mAP" in last:
        return last["val_mAP"]
    elif job.val is None or job.run.hand_over == "last" or len(job.run.steps) == 1:
        return None
    else:
        value = mean_ap(_score(job, step, job.val), step.plan.scores)
    return None if math.isnan(value) else round(value, 5)


def mean_ap(scored: SplitScores, branch: str) -> float:
    """The mAP of a branch's scores; NaN if no label has a positive."""
    return mean_of_defined(average_precision(scored.scores[branch], scored.targets))


def _score(job: Job, step: StepState, view: View) -> SplitScores:
    """The scores of a split. If there are several processes, each computes a part of them."""
    size = len(view.records)
    job.reporter.begin(f"{job.title(step.number)}  scoring {view.name}", size, weight=SCORING)
    stream = batches(
        view.samples,
        InOrder(size, batch_size=job.run.batch_size, processes=processes()),
        batch_size=job.run.batch_size,
        workers=job.workers,
    )
    scored = score(
        step.module,
        stream,
        view.records.keys,
        step.encode,
        step.loss_of,
        job.reporter.advance,
    )
    job.reporter.end()
    return scored
