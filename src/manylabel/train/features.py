"""The maps of a frozen backbone, kept in memory: they are computed once, then trained on.

The maps of a frozen backbone depend on the pixels alone, so only what half precision rounds away
is lost. The one random view that is allowed with them is the mirror image; its maps are computed,
too.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import final

import torch
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
    """Records as samples of feature maps in half precision.

    Args:
        records: What the maps are of.
        views: The maps of each view, [N, D, H, W] and [N, E, h, w] each; with two views, as
            written and mirrored, each sample is one of them at random.
        seed: Seeds the choice together with epoch and record.
    """

    def __init__(self, records: Records, views: list[FeatureMaps], *, seed: int = 0) -> None:
        self.records, self.views, self.seed = records, views, seed

    def seeded(self, seed: int) -> CachedFeatures:
        """The same maps, with other choices among views."""
        return CachedFeatures(self.records, self.views, seed=seed)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> Sample:
        """The maps of one record in one epoch."""
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
    """The maps of all `records`, and of their mirror images if `mirrored`.

    Raises:
        ImageError: An image that cannot be used.
    """
    backbone.eval()
    parts: list[list[FeatureMaps]] = [[], []] if mirrored else [[]]
    source = ImageDataset(records, spec)
    for batch in batches(source, InOrder(len(source)), batch_size=batch_size, workers=workers):
        assert isinstance(batch.inputs, Tensor)
        images = normalise(batch.inputs.to(device), spec)
        for view, images_of_view in zip(parts, (images, images.flip(3)), strict=False):
            maps = backbone(images_of_view.to(memory_format=torch.channels_last))
            view.append(FeatureMaps(*(part.half().cpu().contiguous() for part in maps)))
        on_batch(len(images))
    views = [FeatureMaps(*map(torch.cat, zip(*view, strict=True))) for view in parts]
    return CachedFeatures(records, views)
