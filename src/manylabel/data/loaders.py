"""From records to batches, in an order that is a value: seed, epoch and position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple, final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from manylabel.data.augment import Augment
from manylabel.data.records import Records
from manylabel.errors import ImageError
from manylabel.images import open_image
from manylabel.preprocess import InputSpec, to_pixels

MEMORY_LIMIT: Final = 2 * 2**30
"""Bytes of decoded images that `ImageDataset` keeps at most."""


class Draw(NamedTuple):
    """One entry of an epoch's order: the epoch that its random view is of, and which record."""

    epoch: int
    record: int


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
    """A shuffled epoch that can begin at any position: the same seed and epoch, the same order.

    Args:
        size: Number of records.
        seed: The run's.
        epoch: Counted over the whole run, so that no two epochs share an order.
        skip: How many entries were used already; beyond `size`, nothing is left.
    """

    def __init__(self, size: int, *, seed: int, epoch: int, skip: int = 0) -> None:
        self.size, self.seed, self.epoch, self.skip = size, seed, epoch, skip

    def __len__(self) -> int:
        return max(0, self.size - self.skip)

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(mix(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator).tolist()
        return (Draw(self.epoch, index) for index in order[self.skip :])


@final
class InOrder(Sampler[Draw]):
    """Every record once, in order."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(0, index) for index in range(self.size))


@final
class ImageDataset(Dataset[Sample | ImageError]):
    """Records as samples of pixels; a bad image is yielded as its error, raised by `batches`.

    Args:
        records: What to read.
        spec: The model's input.
        augment: Random views for training; None for evaluation's one view.
        seed: Seeds each view together with epoch and record, whatever the workers.
        keep: Keep decoded images in memory between epochs.
    """

    def __init__(
        self,
        records: Records,
        spec: InputSpec,
        *,
        augment: Augment | None = None,
        seed: int = 0,
        keep: bool = False,
    ) -> None:
        self.records, self.spec, self.augment, self.seed = records, spec, augment, seed
        width, height = augment.stage_size if augment else (spec.width, spec.height)
        fits = 3 * width * height * len(records) <= MEMORY_LIMIT
        self._kept: dict[int, Image.Image] | None = {} if keep and fits else None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> Sample | ImageError:
        """The view of one record in one epoch."""
        record = self.records.items[draw.record]
        try:
            staged = self._staged(draw.record)
        except ImageError as error:
            return error
        if self.augment is not None:
            random = Random(mix(self.seed, draw.epoch, draw.record))
            pixels = _pixels(self.augment.vary(staged, random))
        else:
            pixels = _pixels(staged)
        return Sample(pixels, torch.from_numpy(record.targets), draw.record)

    def _staged(self, index: int) -> Image.Image:
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        image = open_image(self.records.items[index].image)
        if self.augment is not None:
            staged = self.augment.stage(image)
        else:
            staged = Image.fromarray(to_pixels(image, self.spec).permute(1, 2, 0).numpy())
        if self._kept is not None:
            self._kept[index] = staged
        return staged


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


def _collate(samples: list[Sample | ImageError]) -> Batch | ImageError:
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


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)


def mix(*numbers: int) -> int:
    """A 63-bit seed that depends on every number and on their order."""
    text = ",".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
