"""The batches of an epoch, from any position in it, and how each batch is mixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from manylabel.feed.loaders import Batch, EpochSampler, batches
from manylabel.train.job import Job
from manylabel.train.mixing import Mixture, draw_mixture
from manylabel.train.state import Position

SCORING: Final = 0.4
"""The work of scoring an image, where training on it is 1: there is no backward pass."""


def training_batches(job: Job, position: Position) -> Iterator[tuple[Batch, Mixture]]:
    """The remaining batches of an epoch, each with its mixture.

    Each process trains on all batches, because gradients are not averaged over processes. So all
    processes have the same weights.
    """
    epoch = _epochs_done(job, position)
    sampler = EpochSampler(
        job.train.targets,
        job.run.sampler,
        seed=job.run.seed,
        epoch=epoch,
        skip=position.batch * job.run.batch_size,
    )
    stream = batches(
        job.train.samples,
        sampler,
        batch_size=job.run.batch_size,
        workers=job.workers,
        drop_last=job.epoch_images >= job.run.batch_size,
    )
    for number, batch in enumerate(stream, start=position.batch):
        yield batch, _mixture(job, epoch, number, len(batch.targets))


def images_left(job: Job, position: Position) -> int:
    """The number of images that a step has left to train on.

    It includes the images of incomplete last batches, although these batches are dropped.
    """
    epochs = job.step(position.step).epochs - position.epoch
    return epochs * job.epoch_images - position.batch * job.run.batch_size


def work_left(job: Job, position: Position) -> float:
    """The images that a run has left to train on and to score; a scored one counts `SCORING`."""
    trained = scored = 0.0
    every = job.run.validate_every
    for number in range(position.step, len(job.run.steps)):
        here = position if number == position.step else Position(number)
        epochs = job.step(number).epochs
        trained += images_left(job, here)
        scored += len(job.held_out.records)
        if job.val is not None and every:
            scored += (epochs // every - here.epoch // every) * len(job.val.records)
    return trained + SCORING * scored


def _mixture(job: Job, epoch: int, batch: int, images: int) -> Mixture:
    return draw_mixture(
        job.run.mixing,
        images=images,
        size=(job.run.input.height, job.run.input.width),
        seed=job.run.seed,
        epoch=epoch,
        batch=batch,
    )


def _epochs_done(job: Job, position: Position) -> int:
    """The number of epochs of the whole run before a position."""
    return sum(step.epochs for step in job.run.steps[: position.step]) + position.epoch
