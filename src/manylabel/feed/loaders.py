"""From records to batches, in an order that is a value: seed, epoch and position."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from manylabel.data.records import Records
from manylabel.errors import ImageError
from manylabel.feed.augment import Augment
from manylabel.feed.cache import ImageCache
from manylabel.feed.sampling import (
    SamplerConfig,
    UniformConfig,
    epoch_length,
    epoch_order,
    mix,
    repeats,
)
from manylabel.images import load_rgb
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec
from manylabel.processes import Processes


class Draw(NamedTuple):
    """One entry of an epoch's order: the epoch that its random view is of, and which record."""

    epoch: int
    record: int
    repeat: int = 0
    """How often the record came before in this epoch."""

    def seed(self, run: int) -> int:
        """Seeds the random view; a record that comes again is seen with another one."""
        again = (self.repeat,) if self.repeat else ()
        return mix(run, self.epoch, self.record, *again)


class Batch(NamedTuple):
    """N images with their truth."""

    inputs: Tensor | tuple[Tensor, ...]
    """Pixels uint8 [N, 3, H, W], RGB; or the feature maps of a frozen backbone."""
    targets: Tensor
    """int8 [N, C] in {1, 0, -1}."""
    records: Tensor
    """int64 [N], the records' positions in their split."""


class Sample(NamedTuple):
    """One image with its truth: `Batch` without the first axis."""

    inputs: Tensor | tuple[Tensor, ...]
    targets: Tensor
    record: int


@final
class EpochSampler(Sampler[Draw]):
    """An epoch's order, begun at any position: the same seed and epoch, the same order.

    Args:
        targets: int8 [N, C] of the records; rare labels are what a sampler can favour.
        config: How often each record is shown.
        seed: The run's.
        epoch: Counted over the whole run, so that no two epochs share an order.
        skip: How many entries all processes together have used already; beyond the epoch's length,
            nothing is left.
        batch_size: Several processes share what is left in batches of this size.
        processes: Which of them this is. The batches of all of them are those of one process, but
            one process may have one batch more than another.
    """

    def __init__(
        self,
        targets: NDArray[np.int8],
        config: SamplerConfig = UniformConfig(),  # noqa: B008 (it is frozen)
        *,
        seed: int,
        epoch: int,
        skip: int = 0,
        batch_size: int = 1,
        processes: Processes = Processes(),  # noqa: B008 (it is frozen)
    ) -> None:
        self.targets, self.config = targets, config
        self.seed, self.epoch, self.skip = seed, epoch, skip
        self.batch_size, self.processes = batch_size, processes

    def __len__(self) -> int:
        left = max(0, epoch_length(self.config, self.targets) - self.skip)
        return self.processes.count_of(left, self.batch_size)

    def __iter__(self) -> Iterator[Draw]:
        order = epoch_order(self.config, self.targets, seed=self.seed, epoch=self.epoch)
        records, times = order[self.skip :].tolist(), repeats(order)[self.skip :].tolist()
        own = self.processes.positions(len(records), self.batch_size)
        return (Draw(self.epoch, records[i], times[i]) for i in own)


@final
class InOrder(Sampler[Draw]):
    """Every record once, in order.

    Args:
        size: How many records there are.
        batch_size: Several processes share the records in batches of this size.
        processes: Which of them this is.
    """

    def __init__(
        self,
        size: int,
        *,
        batch_size: int = 1,
        processes: Processes = Processes(),  # noqa: B008 (it is frozen)
    ) -> None:
        self.size, self.batch_size, self.processes = size, batch_size, processes

    def __len__(self) -> int:
        return self.processes.count_of(self.size, self.batch_size)

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(0, i) for i in self.processes.positions(self.size, self.batch_size))


@final
class ImageDataset(Dataset[Sample | ImageError]):
    """Records as batches of pixels; a bad image is yielded as its error, raised by `batches`.

    Args:
        records: What to read.
        spec: The model's input.
        augment: Random views for training; None for evaluation's one view.
        seed: Seeds each view together with epoch and record, whatever the workers.
        cache: The records' images at the size of `stage_of(spec, augment)`; None: files are read.
    """

    def __init__(
        self,
        records: Records,
        spec: InputSpec,
        *,
        augment: Augment | None = None,
        seed: int = 0,
        cache: ImageCache | None = None,
    ) -> None:
        self.records, self.spec, self.augment, self.seed = records, spec, augment, seed
        self._stage, self._cache = stage_of(spec, augment), cache

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> Sample | ImageError:
        """The view of one record in one epoch."""
        try:
            view = self._view(draw)
        except ImageError as error:
            return error
        return Sample(view, torch.tensor(self.records.targets[draw.record]), draw.record)

    def __getitems__(self, draws: list[Draw]) -> Batch | ImageError:
        """The views of many records, each written where it lies in the batch; or the first error.

        Pixels are [N, 3, H, W] in channels-last memory.
        """
        shape = (len(draws), self.spec.height, self.spec.width, 3)
        pixels = torch.empty(shape, dtype=torch.uint8).permute(0, 3, 1, 2)
        try:
            for place, draw in zip(pixels, draws, strict=True):
                place.copy_(self._view(draw))
        except ImageError as error:
            return error
        positions = np.array([draw.record for draw in draws])
        targets = torch.from_numpy(self.records.targets[positions])
        return Batch(pixels, targets, torch.from_numpy(positions))

    def _view(self, draw: Draw) -> Tensor:
        if self._cache is not None:
            staged = self._cache[draw.record]
        else:
            staged = to_pixels(load_rgb(self.records.images[draw.record]), self._stage)
        if self.augment is None:
            return staged
        return self.augment.vary(staged, Random(draw.seed(self.seed)))


def stage_of(spec: InputSpec, augment: Augment | None) -> InputSpec:
    """What images are squashed to before anything random: the size of what a cache keeps."""
    return spec if augment is None else augment.stage_spec


def batches(
    dataset: Dataset[Sample | ImageError],
    sampler: Sampler[Draw],
    *,
    batch_size: int,
    workers: int = 0,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """Batches of a data set in a sampler's order.

    Raises:
        ImageError: The first image that cannot be used, when its batch is reached.
    """
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each pass would draw a number from torch's global one
    )
    for batch in loader:
        if isinstance(batch, ImageError):
            raise batch
        yield Batch(*batch)


def _collate(samples: Batch | ImageError | list[Sample | ImageError]) -> Batch | ImageError:
    if not isinstance(samples, list):
        return samples  # what `__getitems__` gave
    good = [sample for sample in samples if isinstance(sample, Sample)]
    if len(good) < len(samples):
        return next(sample for sample in samples if isinstance(sample, ImageError))
    return Batch(
        _stack([sample.inputs for sample in good]),
        torch.stack([sample.targets for sample in good]),
        torch.tensor([sample.record for sample in good]),
    )


def _stack(inputs: list[Tensor | tuple[Tensor, ...]]) -> Tensor | tuple[Tensor, ...]:
    first = inputs[0]
    if isinstance(first, Tensor):
        return torch.stack([item for item in inputs if isinstance(item, Tensor)])
    return tuple(torch.stack(parts) for parts in zip(*inputs, strict=True))
