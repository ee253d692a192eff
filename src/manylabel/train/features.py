"""The feature maps of a frozen backbone, computed once and kept in memory for training.

They depend on the pixels alone, so computing them once changes only their rounding to half
precision. The mirror image is the only random view that is allowed; its maps are computed, too.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from manylabel.data.records import Records
from manylabel.errors import ImageError
from manylabel.feed.loaders import Draw, ImageDataset, InOrder, Sample, batches
from manylabel.models.backbones import FeatureMaps
from manylabel.pixels import normalise
from manylabel.preprocess import InputSpec


@final
class CachedFeatures(Dataset[Sample | ImageError]):
    """A data set of feature maps in half precision.

    Args:
        records: The N records that the maps were computed for.
        views: The maps of each view: [N, D, H, W] and [N, E, h, w]. With two views, the original
            image and its mirror image, each sample is one of the two at random.
        seed: The seed of that choice, together with epoch and record.
        contents: uint64 [N], the hashes of what the images show; None: not known.
    """

    def __init__(
        self,
        records: Records,
        views: list[FeatureMaps],
        *,
        seed: int = 0,
        contents: NDArray[np.uint64] | None = None,
    ) -> None:
        self.records, self.views, self.seed = records, views, seed
        self.contents = contents

    def seeded(self, seed: int) -> CachedFeatures:
        """The same maps, with another seed for the choice of views."""
        return CachedFeatures(self.records, self.views, seed=seed, contents=self.contents)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> Sample:
        """The sample of one record in one epoch."""
        view = Random(draw.seed(self.seed)).randrange(len(self.views))
        mid, final_map = self.views[view]
        targets = torch.tensor(self.records.targets[draw.record])
        return Sample((mid[draw.record], final_map[draw.record]), targets, draw.record)


@torch.no_grad()
def compute_features(
    backbone: nn.Module,
    records: Records,
    spec: InputSpec,
    *,
    mirrored: bool,
    device: torch.device,
    batch_size: int,
    workers: int = 0,
    on_batch: Callable[[int], None] = lambda images: None,
) -> CachedFeatures:
    """The feature maps of all records.

    Args:
        backbone: The network that computes them; it is left in evaluation mode.
        records: The records.
        spec: The model's input.
        mirrored: Whether to compute the maps of the mirror images, too.
        device: The device of the backbone.
        batch_size: The number of images that are computed at once.
        workers: The number of processes that read images.
        on_batch: Called after each batch with its number of images.

    Raises:
        ImageError: An image cannot be used.
    """
    backbone.eval()
    parts: list[list[FeatureMaps]] = [[], []] if mirrored else [[]]
    contents = torch.zeros(len(records), dtype=torch.int64).share_memory_()
    source = ImageDataset(records, spec, contents=contents)
    for batch in batches(source, InOrder(len(source)), batch_size=batch_size, workers=workers):
        assert isinstance(batch.inputs, Tensor)
        images = normalise(batch.inputs.to(device), spec)
        for view, images_of_view in zip(parts, (images, images.flip(3)), strict=False):
            maps = backbone(images_of_view.to(memory_format=torch.channels_last))
            view.append(FeatureMaps(*(part.half().cpu().contiguous() for part in maps)))
        on_batch(len(images))
    views = [FeatureMaps(*map(torch.cat, zip(*view, strict=True))) for view in parts]
    return CachedFeatures(records, views, contents=contents.numpy().view(np.uint64).copy())
