from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from manylabel.data.records import Record, Records
from manylabel.errors import ImageError
from manylabel.feed.augment import (
    Augment,
    CropConfig,
    FlipConfig,
    NoAugmentConfig,
    PaperAugmentConfig,
)
from manylabel.feed.cache import ImageCache, fill_cache, plan_cache
from manylabel.feed.loaders import (
    Batch,
    Draw,
    EpochSampler,
    ImageDataset,
    InOrder,
    Sample,
    batches,
    mix,
    stage_of,
)
from manylabel.images import open_image
from manylabel.labels import LabelSpace
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec
from manylabel.processes import Processes

SPEC = InputSpec(height=24, width=40)
IMAGES = 7


@pytest.fixture
def records(tmp_path: Path, make_image: Callable[..., Path]) -> Records:
    """Seven images of seven sizes, with random targets."""
    targets = np.random.default_rng(0).integers(-1, 2, (IMAGES, 3), dtype=np.int8)
    items = tuple(
        Record(f"{i}", make_image(tmp_path / f"{i}.png", seed=i, size=(30 + i, 50 - i)), targets[i])
        for i in range(IMAGES)
    )
    return Records.of(LabelSpace(["cat", "dog", "owl"]), items, "seven images")


AUGMENTATIONS = {
    config.name: config
    for config in (NoAugmentConfig(), FlipConfig(), CropConfig(), PaperAugmentConfig())
}


def dataset(records: Records, name: str | None = "paper", **settings: object) -> ImageDataset:
    augment = Augment(AUGMENTATIONS[name], SPEC) if name else None
    return ImageDataset(records, SPEC, augment=augment, **settings)


def pixels_of(batch: Batch) -> Tensor:
    assert isinstance(batch.inputs, Tensor)
    return batch.inputs


def views(
    source: ImageDataset, sampler: Sampler[Draw], *, batch_size: int = 3, workers: int = 0
) -> dict[int, bytes]:
    """Each record's view as a pass over the data yields it."""
    found: dict[int, bytes] = {}
    for batch in batches(source, sampler, batch_size=batch_size, workers=workers):
        for record, pixels in zip(batch.records.tolist(), pixels_of(batch), strict=True):
            assert record not in found
            found[record] = pixels.numpy().tobytes()
    return found


def global_states() -> tuple[object, ...]:
    name, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), name, list(keys), *rest


# The order


def order(**settings: int) -> list[int]:
    return [draw.record for draw in EpochSampler(of(50), **{"seed": 0, "epoch": 0} | settings)]


def test_epoch_has_each_record_once() -> None:
    assert sorted(order()) == list(range(50))
    assert order() != list(range(50))


def test_epoch_names_itself_in_every_draw() -> None:
    assert {draw.epoch for draw in EpochSampler(of(5), seed=0, epoch=8)} == {8}


@pytest.mark.parametrize("other", [{"epoch": 1}, {"epoch": 2}, {"seed": 1}], ids=str)
def test_other_epoch_or_seed_is_another_order(other: dict[str, int]) -> None:
    assert order() != order(**other)
    assert order(**other) == order(**other)


def test_orders_of_neighbouring_seeds_and_epochs_are_all_different() -> None:
    orders = {tuple(order(seed=seed, epoch=epoch)) for seed in range(20) for epoch in range(20)}
    assert len(orders) == 400


@pytest.mark.parametrize("skip", [0, 1, 24, 49, 50, 64])
def test_skipping_goes_on_just_where_it_stopped(skip: int) -> None:
    """Beyond the end too: a short last batch counts as a whole one."""
    rest = EpochSampler(of(50), seed=3, epoch=2, skip=skip)
    assert list(rest) == list(EpochSampler(of(50), seed=3, epoch=2))[skip:]
    assert len(rest) == len(list(rest))


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_batches_after_a_stop_are_those_that_were_left(records: Records, done: int) -> None:
    source = dataset(records)
    whole, rest = (
        list(batches(source, EpochSampler(of(IMAGES), seed=0, epoch=1, skip=skip), batch_size=3))
        for skip in (0, 3 * done)
    )
    assert [batch.records.tolist() for batch in rest] == [b.records.tolist() for b in whole[done:]]
    for a, b in zip(rest, whole[done:], strict=True):
        assert torch.equal(pixels_of(a), pixels_of(b))


def test_in_order_is_in_order() -> None:
    assert list(InOrder(3)) == [Draw(0, 0), Draw(0, 1), Draw(0, 2)]
    assert len(InOrder(3)) == 3


@pytest.mark.parametrize("skip", [0, 6, 40, 60])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_an_epoch_in_the_batches_of_one_process(count: int, skip: int) -> None:
    """50 entries in batches of 6: the last batch is short."""
    whole = list(EpochSampler(of(50), seed=3, epoch=2, skip=skip))
    batches_of_one = [whole[start : start + 6] for start in range(0, len(whole), 6)]
    for rank in range(count):
        sampler = EpochSampler(
            of(50), seed=3, epoch=2, skip=skip, batch_size=6, processes=Processes(rank, count)
        )
        wanted = [entry for batch in batches_of_one[rank::count] for entry in batch]
        assert list(sampler) == wanted
        assert len(sampler) == len(wanted)


def test_processes_share_records_in_order() -> None:
    shares = [InOrder(7, batch_size=2, processes=Processes(rank, 2)) for rank in range(2)]
    assert [[draw.record for draw in share] for share in shares] == [[0, 1, 4, 5], [2, 3, 6]]
    assert [len(share) for share in shares] == [4, 3]


def test_mix_depends_on_every_number_and_their_order() -> None:
    numbers = [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (11,), (1, 1, 0), (0, 1, 1), (-1, 1)]
    seeds = {mix(*of) for of in numbers}
    assert len(seeds) == len(numbers)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix(0, 1) == 1506311409109703068  # printf 0,1 | b2sum -l 64, halved


# The views


@pytest.mark.parametrize("name", ["flip", "crop", "paper"])
def test_view_depends_on_seed_epoch_and_record_alone(records: Records, name: str) -> None:
    sampler = EpochSampler(of(IMAGES), seed=0, epoch=5)
    expected = views(dataset(records, name, seed=4), sampler)
    assert sorted(expected) == list(range(IMAGES))
    for workers in (1, 2):
        source = dataset(records, name, seed=4)
        assert views(source, sampler, batch_size=2, workers=workers) == expected
    for index in reversed(range(IMAGES)):
        sample = dataset(records, name, seed=4)[Draw(5, index)]
        assert isinstance(sample, Sample)
        assert isinstance(sample.inputs, Tensor)
        assert sample.inputs.numpy().tobytes() == expected[index]


def test_other_epochs_and_seeds_show_other_views(records: Records) -> None:
    passes = [
        views(dataset(records, seed=seed), EpochSampler(of(IMAGES), seed=0, epoch=epoch))
        for seed, epoch in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    ]
    for index in range(IMAGES):
        assert len({of_pass[index] for of_pass in passes}) >= 4  # two may meet by chance


def test_images_of_one_epoch_are_varied_apart(
    tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    path = make_image(tmp_path / "one.png")
    items = tuple(Record(f"{i}", path, np.zeros(1, dtype=np.int8)) for i in range(10))
    same = Records.of(LabelSpace(["cat"]), items, "one image ten times")
    assert len(set(views(dataset(same), InOrder(10)).values())) > 5


@pytest.mark.parametrize("name", [None, "none"])
def test_without_augmentation_it_is_what_evaluation_sees(
    records: Records, name: str | None
) -> None:
    source = dataset(records, name)
    for epoch in (0, 1):
        shown = views(source, EpochSampler(of(IMAGES), seed=0, epoch=epoch))
        for index, record in enumerate(records):
            expected = to_pixels(open_image(record.image), SPEC)
            assert shown[index] == expected.numpy().tobytes()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_pass_leaves_all_global_generators_as_they_were(records: Records, workers: int) -> None:
    before = global_states()
    views(dataset(records), EpochSampler(of(IMAGES), seed=0, epoch=0), workers=workers)
    assert global_states() == before


# The batches


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("batch_size", "drop_last", "sizes"),
    [(3, False, [3, 3, 1]), (3, True, [3, 3]), (7, True, [7]), (9, False, [7]), (9, True, [])],
)
def test_batches_hold_images_with_their_truth(
    records: Records, workers: int, batch_size: int, drop_last: bool, sizes: list[int]
) -> None:
    sampler = EpochSampler(of(IMAGES), seed=0, epoch=0)
    stream = batches(
        dataset(records), sampler, batch_size=batch_size, workers=workers, drop_last=drop_last
    )
    seen: list[int] = []
    for batch, size in zip(stream, sizes, strict=True):
        assert isinstance(batch, Batch)
        assert (pixels_of(batch).dtype, batch.inputs.shape) == (torch.uint8, (size, 3, 24, 40))
        assert (batch.targets.dtype, batch.targets.shape) == (torch.int8, (size, 3))
        assert (batch.records.dtype, batch.records.shape) == (torch.int64, (size,))
        positions = batch.records.tolist()
        assert (batch.targets.numpy() == records.targets[positions]).all()
        seen += positions
    assert seen == [draw.record for draw in sampler][: sum(sizes)]


class Maps(Dataset[Sample | ImageError]):
    """Samples of two feature maps, filled with the record's position."""

    def __getitem__(self, draw: Draw) -> Sample:
        maps = (torch.full((4, 2, 3), draw.record), torch.full((5, 1, 2), -draw.record))
        targets = torch.tensor([draw.record % 2], dtype=torch.int8)
        return Sample(tuple(part.half() for part in maps), targets, draw.record)


def test_feature_maps_are_batched_each_with_its_like() -> None:
    first, last = batches(Maps(), InOrder(5), batch_size=3)
    assert isinstance(first.inputs, tuple)
    mid, final_map = first.inputs
    assert (mid.dtype, mid.shape) == (torch.float16, (3, 4, 2, 3))
    assert (final_map.dtype, final_map.shape) == (torch.float16, (3, 5, 1, 2))
    assert mid[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert final_map[:, 0, 0, 0].tolist() == [0, -1, -2]
    assert last.inputs[0].shape == (2, 4, 2, 3)
    assert last.targets.tolist() == [[1], [0]]


# Bad images


def spoil(path: Path, how: str) -> None:
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:60])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["truncated", "empty", "missing"])
def test_bad_image_is_raised_as_its_own_error_when_its_batch_comes(
    records: Records, workers: int, how: str
) -> None:
    path = records[4].image
    spoil(path, how)
    with pytest.raises(ImageError) as expected:
        open_image(path)

    stream = batches(dataset(records), InOrder(IMAGES), batch_size=2, workers=workers)
    assert next(stream).records.tolist() == [0, 1]
    assert next(stream).records.tolist() == [2, 3]
    with pytest.raises(ImageError) as caught:
        next(stream)
    assert type(caught.value) is ImageError
    assert str(caught.value) == str(expected.value)
    assert caught.value.where == str(path)


def test_first_of_two_bad_images_is_told(records: Records) -> None:
    for index in (1, 3):
        spoil(records[index].image, "empty")
    with pytest.raises(ImageError) as caught:
        next(batches(dataset(records), InOrder(IMAGES), batch_size=4))
    assert caught.value.where == str(records[1].image)


@pytest.mark.parametrize("how", ["truncated", "missing"])
def test_bad_image_is_a_value_of_its_own(records: Records, how: str) -> None:
    source = dataset(records)
    spoil(records[0].image, how)
    assert isinstance(source[Draw(0, 0)], ImageError)
    assert isinstance(source[Draw(0, 1)], Sample)


# A batch at once


@pytest.mark.parametrize("name", [None, "none", "flip", "crop", "paper"])
def test_a_batch_is_its_samples(records: Records, name: str | None) -> None:
    source = dataset(records, name, seed=3)
    draws = [Draw(2, index) for index in (4, 0, 4, 6)]
    batch = source.__getitems__(draws)
    assert isinstance(batch, Batch)
    for position, draw in enumerate(draws):
        sample = source[draw]
        assert isinstance(sample, Sample)
        assert torch.equal(pixels_of(batch)[position], sample.inputs)
        assert torch.equal(batch.targets[position], sample.targets)
        assert batch.records[position] == sample.record == draw.record
    assert pixels_of(batch).is_contiguous(memory_format=torch.channels_last)


# Images from a cache


@pytest.fixture
def cached(records: Records, tmp_path: Path) -> Callable[..., ImageDataset]:
    def make(name: str | None, seed: int = 0) -> ImageDataset:
        augment = Augment(AUGMENTATIONS[name], SPEC) if name else None
        plan = plan_cache(records, stage_of(SPEC, augment), tmp_path / "cache")
        fill_cache(plan, workers=2)
        return dataset(records, name, seed=seed, cache=ImageCache(plan))

    return make


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", [None, "none", "flip", "crop", "paper"])
def test_cached_views_have_the_bits_of_live_ones(
    records: Records, cached: Callable[..., ImageDataset], name: str | None, workers: int
) -> None:
    sampler = EpochSampler(of(IMAGES), seed=0, epoch=4)
    expected = views(dataset(records, name, seed=2), sampler)
    assert views(cached(name, seed=2), sampler, workers=workers) == expected


def test_a_cache_is_all_that_is_read(records: Records, cached: Callable[..., ImageDataset]) -> None:
    sampler = EpochSampler(of(IMAGES), seed=0, epoch=0)
    expected = views(dataset(records), sampler)
    source = cached("paper")
    for record in records:
        spoil(record.image, "missing")
    assert views(source, sampler) == expected


def of(size):
    """Targets of so many images."""
    return np.zeros((size, 1), dtype=np.int8)
