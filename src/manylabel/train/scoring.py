"""Running a classifier over a split while it is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manylabel.feed.loaders import Batch
from manylabel.metrics.accumulate import ScoreTable
from manylabel.metrics.ranking import Scores
from manylabel.models.heads.base import HeadOutput
from manylabel.processes import in_turns

Encode = Callable[[Batch], object]
"""From a batch to what the trained module takes: normalised images, or feature maps."""


@final
@dataclass(frozen=True)
class SplitScores:
    """Scores and truth of a split, in its order."""

    scores: Mapping[str, Scores]
    """Scores [N, C] by the name of their logits; `final` is the head's answer."""
    targets: NDArray[np.int8]
    """[N, C] in {1, 0, -1}."""
    loss: float
    """Mean loss of an image."""


def score(
    module: nn.Module,
    batches: Iterable[Batch],
    keys: Sequence[str],
    encode: Encode,
    loss_of: Callable[[HeadOutput, Tensor], Tensor],
    on_batch: Callable[[int], None] = lambda images: None,
) -> SplitScores:
    """Every branch's scores for a split; `module` is left in evaluation mode.

    Of several processes each gives its share of the batches, and each gets everything.

    Args:
        module: What is trained.
        batches: The split's images, each once, in any order; of several processes those that
            `Processes.share` leaves to this one.
        keys: The keys of the split's images, by `Batch.records`; scores come out in their order.
        encode: From a batch to what `module` takes.
        loss_of: The step's loss.
        on_batch: Called with the number of images of each batch that is done.

    Raises:
        DataError: A score is not a number, or an image comes twice.
        RunError: There is no room for the scores, or another process failed or is gone.
    """
    module.eval()
    tables: dict[str, ScoreTable] = {}
    total, images = 0.0, 0
    for part in in_turns(_looked_at(module, batches, encode, loss_of)):
        part_keys = [keys[record] for record in part.records]
        for name, scores in part.scores.items():
            table = tables.setdefault(name, ScoreTable(len(keys), repeats="refuse"))
            table.add(part_keys, scores, part.targets)
        total += part.loss * len(part_keys)
        images += len(part_keys)
        on_batch(len(part_keys))
    finished = {name: table.finish(keys) for name, table in tables.items()}
    return SplitScores(
        scores={name: scores for name, (scores, _) in finished.items()},
        targets=finished["final"][1],
        loss=total / images,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """What a batch brings: scores by branch, truth, mean loss, and which records it is of."""

    records: list[int]
    scores: dict[str, NDArray[np.float32]]
    targets: NDArray[np.int8]
    loss: float


def _looked_at(
    module: nn.Module,
    batches: Iterable[Batch],
    encode: Encode,
    loss_of: Callable[[HeadOutput, Tensor], Tensor],
) -> Iterator[_Part]:
    for batch in batches:
        with torch.no_grad():
            output: HeadOutput = module(encode(batch))
            loss = float(loss_of(output, batch.targets.to(output.logits.device)))
        scores = {
            name: torch.sigmoid(output.select(name).float()).cpu().numpy()
            for name in ("final", *output.branches)
        }
        yield _Part(batch.records.tolist(), scores, batch.targets.numpy(), loss)
