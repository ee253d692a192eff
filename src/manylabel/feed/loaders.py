"""Batches from records. The order depends only on the seed, the epoch and the position."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
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
from manylabel.images import prepared
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec
from manylabel.processes import Processes


class Draw(NamedTuple):
    """One entry in the order of an epoch: the epoch and the position of the record."""

    epoch: int
    record: int
    repeat: int = 0
    """How often the record came before in this epoch."""

    def seed(self, run: int) -> int:
        """The seed of the random view. A repeated record gets another seed, so another view.

        Args:
            run: The seed of the run.
        """
        again = (self.repeat,) if self.repeat else ()
        return mix(run, self.epoch, self.record, *again)


class Batch(NamedTuple):
    """N images with their truth."""

    inputs: Tensor | tuple[Tensor, ...]
    """Pixels uint8 [N, 3, H, W], RGB; or the feature maps of a frozen backbone."""
    targets: Tensor
    """int8 [N, C] in {1, 0, -1}."""
    records: Tensor
    """int64 [N], the positions of the records in their split."""


class Sample(NamedTuple):
    """One image with its truth: as a `Batch`, but without the first axis."""

    inputs: Tensor | tuple[Tensor, ...]
    targets: Tensor
    record: int


@final
class EpochSampler(Sampler[Draw]):
    """The order of an epoch, from any position on. Seed and epoch decide the order.

    Args:
        targets: int8 [N, C] of the records. Some samplers show records of rare labels more often.
        config: How often each record is shown.
        seed: The seed of the run.
        epoch: Counted over the whole run, so that each epoch has its own order.
        skip: How many entries all processes together have used already. If it is larger than the
            length of the epoch, no entries are left.
        batch_size: Several processes share the remaining entries in batches of this size.
        processes: Which of the processes this is. All processes together have the same batches as
            a single process, but one may have one batch more than another.
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
        processes: Which of the processes this is.
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
    """Records as batches of pixels. For a bad image it returns the error, which `batches` raises.

    Args:
        records: The records whose images are read.
        spec: The model's input.
        augment: Random views for training; None for the single view of evaluation.
        seed: Seeds each view, together with epoch and record. Workers have no effect on it.
        cache: The images of the records at the size of `stage_of(spec, augment)`. If None, the
            files are read.
        contents: int64 [N] in shared memory, to be filled with the hashes of what the images show,
            as in `images.content`, by whichever process reads them. A cache has its own.
    """

    def __init__(
        self,
        records: Records,
        spec: InputSpec,
        *,
        augment: Augment | None = None,
        seed: int = 0,
        cache: ImageCache | None = None,
        contents: Tensor | None = None,
    ) -> None:
        self.records, self.spec, self.augment, self.seed = records, spec, augment, seed
        self._stage, self._cache = stage_of(spec, augment), cache
        self._contents = contents  # as a tensor, since its memory stays shared in workers

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
        """The views of many records as one batch, or the first error.

        Each view is written directly into the batch. Pixels are [N, 3, H, W] in channels-last
        memory.
        """
        shape = (len(draws), self.spec.height, self.spec.width, 3)
        pixels = torch.empty(shape, dtype=torch.uint8).permute(0, 3, 1, 2)
        try:
            for row, draw in zip(pixels, draws, strict=True):
                row.copy_(self._view(draw))
        except ImageError as error:
            return error
        positions = np.array([draw.record for draw in draws])
        targets = torch.from_numpy(self.records.targets[positions])
        return Batch(pixels, targets, torch.from_numpy(positions))

    def _view(self, draw: Draw) -> Tensor:
        if self._cache is not None:
            staged = self._cache[draw.record]
        else:
            staged = prepared(
                self.records.images[draw.record],
                lambda image: to_pixels(image, self._stage),
                size=(self._stage.height, self._stage.width),
                on_content=None if self._contents is None else partial(self._note, draw.record),
            )
        if self.augment is None:
            return staged
        return self.augment.vary(staged, Random(draw.seed(self.seed)))

    def _note(self, record: int, content: int) -> None:
        assert self._contents is not None
        self._contents.numpy().view(np.uint64)[record] = content


def stage_of(spec: InputSpec, augment: Augment | None) -> InputSpec:
    """The size that images are resized to before the random part. A cache keeps this size."""
    return spec if augment is None else augment.stage_spec


def batches(
    dataset: Dataset[Sample | ImageError],
    sampler: Sampler[Draw],
    *,
    batch_size: int,
    workers: int = 0,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """Batches of a data set in the order of a sampler.

    Raises:
        ImageError: An image cannot be used. The error is raised when its batch is reached.
    """
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available(),
        # Without this, each pass over the data draws a number from torch's global generator.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, ImageError):
            raise batch
        yield Batch(*batch)


def _collate(samples: Batch | ImageError | list[Sample | ImageError]) -> Batch | ImageError:
    if not isinstance(samples, list):
        return samples  # `__getitems__` returns a whole batch.
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
