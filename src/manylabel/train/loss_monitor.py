"""An eye on the loss."""

from __future__ import annotations

import math
from typing import Final, final

import torch
from torch import Tensor

from manylabel.errors import RunError
from manylabel.train.checkpoint import CHECKPOINT
from manylabel.train.state import Job, Position

LOSS_CHECK: Final = 20
"""Iterations between two looks at the losses: a look waits for the device."""


@final
class LossMonitor:
    """Collects an epoch's losses on the device and looks at them now and then, all that came since.

    Args:
        job: The run.
        began: Where the run stood when the watch began.
        losses: Sum and number of the epoch's losses until then.
    """

    def __init__(self, job: Job, began: Position, losses: tuple[float, int]) -> None:
        self._job, self._began = job, began
        self._unseen: list[Tensor] = []
        self._images = 0
        self._sum, self._count = losses

    def add(self, loss: Tensor, images: int) -> None:
        """One more batch.

        Raises:
            RunError: As `check` does, every so often.
        """
        self._unseen.append(loss.detach())
        self._images += images
        if len(self._unseen) == LOSS_CHECK:
            self.check()

    def check(self) -> None:
        """Look at the losses since the last look, and tell the reporter.

        Raises:
            RunError: One of them is not a number; says since when.
        """
        if not self._unseen:
            return
        values = torch.stack(self._unseen).tolist()
        for i, value in enumerate(values):
            if not math.isfinite(value):
                raise self._not_finite(self._count + i)
        self._sum, self._count = self._sum + sum(values), self._count + len(values)
        self._job.reporter.advance(self._images, loss=self.mean)
        self._unseen, self._images = [], 0

    @property
    def losses(self) -> tuple[float, int]:
        """Sum and number of the epoch's losses that were looked at."""
        return self._sum, self._count

    @property
    def mean(self) -> float:
        """The mean loss of the batches that were looked at."""
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
            "optim.clip_norm, and train anew.",
        )
