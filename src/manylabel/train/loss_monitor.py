"""Checks the training loss: a loss that is not a finite number ends the run."""

from __future__ import annotations

import math
from typing import Final, final

import torch
from torch import Tensor

from manylabel.errors import RunError
from manylabel.train.checkpoint import CHECKPOINT
from manylabel.train.job import Job
from manylabel.train.state import Position

LOSS_CHECK: Final = 20
"""The number of iterations between two checks. A check must wait for the device."""


@final
class LossMonitor:
    """Collects the losses of an epoch on the device, and checks new ones every few iterations.

    Args:
        job: The run.
        began: The position of the run when the monitor was made.
        losses: The sum and the number of the epoch's losses before that position.
    """

    def __init__(self, job: Job, began: Position, losses: tuple[float, int]) -> None:
        self._job, self._began = job, began
        self._unchecked: list[Tensor] = []
        self._sum, self._count = losses

    def add(self, loss: Tensor, images: int) -> None:
        """Add the loss of one batch.

        Raises:
            RunError: As in `check`, which is called every `LOSS_CHECK` iterations.
        """
        self._unchecked.append(loss.detach())
        self._job.reporter.advance(images, loss=self.mean if self._count else None)
        if len(self._unchecked) == LOSS_CHECK:
            self.check()

    def check(self) -> None:
        """Check the losses that were added since the last check.

        Raises:
            RunError: One of them is not a finite number. The message names the first such batch.
        """
        if not self._unchecked:
            return
        values = torch.stack(self._unchecked).tolist()
        for i, value in enumerate(values):
            if not math.isfinite(value):
                raise self._not_finite(self._count + i)
        self._sum, self._count = self._sum + sum(values), self._count + len(values)
        self._unchecked = []

    @property
    def losses(self) -> tuple[float, int]:
        """The sum and the number of the epoch's losses that were checked."""
        return self._sum, self._count

    @property
    def mean(self) -> float:
        """The mean loss of the batches that were checked."""
        return self._sum / max(1, self._count)

    def _not_finite(self, batch: int) -> RunError:
        checkpoint = self._job.folder / CHECKPOINT
        kept = "is kept" if checkpoint.exists() else "had not been saved yet"
        number = self._began.step
        return RunError(
            f"The loss is not a finite number since batch {batch + 1} of epoch "
            f"{self._began.epoch + 1}, {self._job.title(number)}; the last good checkpoint {kept}.",
            where=str(checkpoint),
            fix=f"Lower the learning rate (it is {self._job.optim(number).lr:g}) or set "
            "optim.clip_norm, and start a new run.",
        )
