"""Scores a split with the classifier that is being trained."""

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
"""Makes the input of the trained module from a batch: normalised images or feature maps."""


@final
@dataclass(frozen=True)
class SplitScores:
    """Scores and targets of a split, in its order."""

    scores: Mapping[str, Scores]
    """Scores [N, C] by the name of their logits; `final` is for the head's final logits."""
    targets: NDArray[np.int8]
    """[N, C] in {1, 0, -1}."""
    loss: float
    """The mean loss of the images."""


def score(
    module: nn.Module,
    batches: Iterable[Batch],
    keys: Sequence[str],
    encode: Encode,
    loss_of: Callable[[HeadOutput, Tensor], Tensor],
    on_batch: Callable[[int], None] = lambda images: None,
) -> SplitScores:
    """The scores of each branch for a split; `module` is left in evaluation mode.

    If there are several processes, each scores its part of the batches, and each gets all scores.

    Args:
        module: The module that is trained.
        batches: The split's images, each once, in any order. With several processes, only the
            batches that `Processes.share` gives to this one.
        keys: The keys of the split's images. `Batch.records` holds positions in them. The scores
            are in their order.
        encode: Makes the input of `module` from a batch.
        loss_of: The step's loss.
        on_batch: Called after each batch with its number of images.

    Raises:
        DataError: A score is not a number, or an image occurs twice.
        RunError: There is no room for the scores, or another process failed or ended.
    """
    module.eval()
    tables: dict[str, ScoreTable] = {}
    total, images = 0.0, 0
    for scored in in_turns(_score_batches(module, batches, encode, loss_of)):
        batch_keys = [keys[record] for record in scored.records]
        for name, scores in scored.scores.items():
            table = tables.setdefault(name, ScoreTable(len(keys), repeats="refuse"))
            table.add(batch_keys, scores, scored.targets)
        total += scored.loss * len(batch_keys)
        images += len(batch_keys)
        on_batch(len(batch_keys))
    finished = {name: table.finish(keys) for name, table in tables.items()}
    return SplitScores(
        scores={name: scores for name, (scores, _) in finished.items()},
        targets=finished["final"][1],
        loss=total / images,
    )


@dataclass(frozen=True, eq=False)
class _ScoredBatch:
    """The records, scores by branch, targets and mean loss of a batch."""

    records: list[int]
    scores: dict[str, NDArray[np.float32]]
    targets: NDArray[np.int8]
    loss: float


def _score_batches(
    module: nn.Module,
    batches: Iterable[Batch],
    encode: Encode,
    loss_of: Callable[[HeadOutput, Tensor], Tensor],
) -> Iterator[_ScoredBatch]:
    for batch in batches:
        with torch.no_grad():
            output: HeadOutput = module(encode(batch))
            loss = float(loss_of(output, batch.targets.to(output.logits.device)))
        scores = {
            # torch's sigmoid, not `decide.sigmoid`: where scores saturate, ties differ in the last
            # digits of AP, and the figures of a run are to stay what they were.
            name: torch.sigmoid(output.select(name).float()).cpu().numpy()
            for name in ("final", *output.branches)
        }
        yield _ScoredBatch(batch.records.tolist(), scores, batch.targets.numpy(), loss)
