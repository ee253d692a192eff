"""Running a classifier over a split while it is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manylabel.data.loaders import Batch
from manylabel.metrics.accumulate import ScoreTable
from manylabel.metrics.ranking import Scores
from manylabel.models.heads.base import HeadOutput

Encode = Callable[[Batch], object]
"""From a batch to what the trained module takes: normalised images, or feature maps."""


@final
@dataclass(frozen=True)
class Scored:
    """Scores and truth of a split, in its order."""

    scores: Mapping[str, Scores]
    """Scores [N, C] by the name of their logits; `final` is the head's answer."""
    targets: NDArray[np.int8]
    """[N, C] in {1, 0, -1}."""
    loss: float
    """Mean loss of an image."""


@torch.no_grad()
def score(
    module: nn.Module,
    batches: Iterable[Batch],
    keys: Sequence[str],
    encode: Encode,
    loss_of: Callable[[HeadOutput, Tensor], Tensor],
    on_batch: Callable[[int], None] = lambda images: None,
) -> Scored:
    """Every branch's scores for a split; `module` is left in evaluation mode.

    Args:
        module: What is trained.
        batches: The split's images, each once, in any order.
        keys: The keys of the split's images, by `Batch.records`; scores come out in their order.
        encode: From a batch to what `module` takes.
        loss_of: The step's loss.
        on_batch: Called with the number of images of each batch that is done.
    """
    module.eval()
    tables: dict[str, ScoreTable] = {}
    total, images = 0.0, 0
    for batch in batches:
        output: HeadOutput = module(encode(batch))
        truth = batch.targets.to(output.logits.device)
        total += float(loss_of(output, truth)) * len(truth)
        images += len(truth)
        batch_keys = [keys[int(record)] for record in batch.records]
        for name in ("final", *output.branches):
            scores = torch.sigmoid(output.select(name).float()).cpu().numpy()
            table = tables.setdefault(name, ScoreTable(repeats="refuse"))
            table.add(batch_keys, scores, batch.targets.numpy())
        on_batch(len(truth))
    finished = {name: table.finish(keys) for name, table in tables.items()}
    return Scored(
        scores={name: scores for name, (scores, _) in finished.items()},
        targets=finished["final"][1],
        loss=total / images,
    )
