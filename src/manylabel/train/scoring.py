"""Running a classifier over a split while it is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manylabel.decide import sigmoid
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

    Several processes share the work: each scores its share of the batches, and each gets the scores
    of all.

    Args:
        module: What is trained.
        batches: The split's images, each once, in any order. With several processes: the batches
            that `Processes.share` gives to this one.
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
    """A batch's records, scores by branch, truth and mean loss."""

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
            name: sigmoid(output.select(name).float().cpu().numpy())
            for name in ("final", *output.branches)
        }
        yield _ScoredBatch(batch.records.tolist(), scores, batch.targets.numpy(), loss)
