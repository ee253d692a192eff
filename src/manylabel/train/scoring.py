"""Running a classifier over a split while it is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manylabel.data.loaders import Batch
from manylabel.models.heads.base import HeadOutput

Encode = Callable[[Batch], object]
"""From a batch to what the trained module takes: normalised images, or feature maps."""


@final
@dataclass(frozen=True)
class Scored:
    """Scores and truth of a split, in its order."""

    scores: Mapping[str, NDArray[np.float32]]
    """Scores [N, C] by the name of their logits; `final` is the head's answer."""
    targets: NDArray[np.int8]
    """[N, C] in {1, 0, -1}."""
    loss: float
    """Mean loss of an image."""


@torch.no_grad()
def score(
    module: nn.Module,
    batches: Iterable[Batch],
    encode: Encode,
    loss_of: Callable[[HeadOutput, Tensor], Tensor],
    on_batch: Callable[[int], None] = lambda images: None,
) -> Scored:
    """Every branch's scores for the batches of a split; `module` is left in evaluation mode."""
    module.eval()
    scores: dict[str, list[NDArray[np.float32]]] = {}
    targets: list[NDArray[np.int8]] = []
    total, images = 0.0, 0
    for batch in batches:
        output: HeadOutput = module(encode(batch))
        truth = batch.targets.to(output.logits.device)
        total += float(loss_of(output, truth)) * len(truth)
        images += len(truth)
        for name in ("final", *output.branches):
            logits = output.select(name).float()
            scores.setdefault(name, []).append(torch.sigmoid(logits).cpu().numpy())
        targets.append(batch.targets.numpy())
        on_batch(len(truth))
    assert images, "an empty split cannot be scored"
    joined = {name: np.concatenate(parts) for name, parts in scores.items()}
    return Scored(joined, np.concatenate(targets), total / images)
