"""The feature maps of a frozen backbone, computed once and kept for training.

They depend on the pixels alone, so computing them once changes only their rounding to half
precision. The mirror image is the only random view that is allowed; its maps are computed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
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
from manylabel.files import write_errors
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


@final
class MapStore:
    """Keeps the maps of N images in half precision: in memory, or in files for many images.

    Args:
        images: N.
        folder: The folder of the files, which must exist; None keeps the maps in memory.
        pooled: Keep only the mean of the final map over its positions, [N, E, 1, 1]. That is all
            that a linear head reads of it. The middle map is then left out: [N, 1, 1, 1].
    """

    def __init__(self, images: int, folder: Path | None = None, *, pooled: bool = False) -> None:
        self.images, self.folder, self.pooled = images, folder, pooled
        self._views: dict[str, list[Tensor]] = {}
        self._filled: dict[str, int] = {}

    def add(self, view: str, maps: FeatureMaps) -> None:
        """Add the maps of the next images of a view."""
        if self.pooled:
            mean = maps.final.float().mean((2, 3), keepdim=True)
            maps = FeatureMaps(torch.zeros_like(mean[:, :1]), mean)
        if view not in self._views:
            self._views[view] = [
                self._room(f"{view}-{name}", part.shape[1:])
                for name, part in maps._asdict().items()
            ]
            self._filled[view] = 0
        start = self._filled[view]
        self._filled[view] = start + len(maps.final)
        for kept, part in zip(self._views[view], maps, strict=True):
            kept[start : self._filled[view]] = part.half().cpu()

    def views(self) -> list[FeatureMaps]:
        """The maps of each view, in the order in which the views were first added."""
        assert all(filled == self.images for filled in self._filled.values()), self._filled
        return [FeatureMaps(*parts) for parts in self._views.values()]

    def _room(self, name: str, shape: Sequence[int]) -> Tensor:
        size = (self.images, *shape)
        if self.folder is None:
            return torch.empty(size, dtype=torch.float16)
        path = self.folder / f"{name}.maps"
        with write_errors(path, "The maps"):
            path.unlink(missing_ok=True)
            flat = torch.from_file(str(path), shared=True, size=prod(size), dtype=torch.float16)
        return flat.view(size)


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
    store: MapStore | None = None,
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
        store: Keeps the maps; by default in memory.
        on_batch: Called after each batch with its number of images.

    Raises:
        ImageError: An image cannot be used.
        RunError: The maps cannot be written.
    """
    backbone.eval()
    store = store or MapStore(len(records))
    contents = torch.zeros(len(records), dtype=torch.int64).share_memory_()
    source = ImageDataset(records, spec, contents=contents)
    for batch in batches(source, InOrder(len(source)), batch_size=batch_size, workers=workers):
        assert isinstance(batch.inputs, Tensor)
        images = normalise(batch.inputs.to(device), spec)
        views = {"whole": images, "mirrored": images.flip(3)} if mirrored else {"whole": images}
        for view, images_of_view in views.items():
            store.add(view, backbone(images_of_view.to(memory_format=torch.channels_last)))
        on_batch(len(images))
    return CachedFeatures(records, store.views(), contents=contents.numpy().view(np.uint64).copy())
