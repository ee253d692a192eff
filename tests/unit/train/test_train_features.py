from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageOps
from torch import Tensor

from manylabel.data.records import Record, Records
from manylabel.errors import ImageError
from manylabel.feed.loaders import Draw, EpochSampler, batches
from manylabel.images import open_image
from manylabel.labels import LabelSpace
from manylabel.models.backbones import Backbone, BackboneConfig, FeatureMaps
from manylabel.pixels import normalise, to_pixels
from manylabel.preprocess import InputSpec
from manylabel.train.features import CachedFeatures, compute_features

SPEC = InputSpec(height=64, width=96, colour_order="bgr")
IMAGES = 7
HALF_ROUNDING = 2.0**-11
"""The largest relative error of rounding to half precision."""


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """A tiny untrained backbone. Its BN statistics are changed, so that its mode matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Backbone(BackboneConfig(name="test_resnet", pretrained=False))
        made.train()
        with torch.no_grad():
            made(torch.randn(8, 3, 64, 64))
    return made.eval()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, make_image: Callable[..., Path]) -> Records:
    folder = tmp_path_factory.mktemp("features")
    targets = np.random.default_rng(0).integers(-1, 2, (IMAGES, 3), dtype=np.int8)
    items = tuple(
        Record(f"{i}", make_image(folder / f"{i}.png", seed=i, size=(70 + i, 90 - i)), targets[i])
        for i in range(IMAGES)
    )
    return Records.of(LabelSpace(["cat", "dog", "owl"]), items, "seven images")


def compute(
    backbone: Backbone, records: Records, *, mirrored: bool = False, seed: int = 0, **more
) -> CachedFeatures:
    settings = {"device": torch.device("cpu"), "batch_size": 3} | more
    return compute_features(backbone, records, SPEC, mirrored=mirrored, **settings).seeded(seed)


@pytest.fixture(scope="module")
def plain(backbone: Backbone, records: Records) -> CachedFeatures:
    return compute(backbone, records)


@pytest.fixture(scope="module")
def both(backbone: Backbone, records: Records) -> CachedFeatures:
    return compute(backbone, records, mirrored=True)


def live(backbone: Backbone, record: Record, *, mirrored: bool = False) -> FeatureMaps:
    """The maps of one image, which is opened, mirrored and run alone."""
    image = open_image(record.image)
    pixels = to_pixels(ImageOps.mirror(image) if mirrored else image, SPEC)
    with torch.no_grad():
        return backbone(normalise(pixels[None], SPEC))


def assert_rounded(cached: Tensor, exact: Tensor) -> None:
    """Equal except for rounding to half precision and the order of additions in the model."""
    assert cached.dtype == torch.float16
    assert cached.shape == exact.shape
    allowed = HALF_ROUNDING * exact.abs() + 1e-5 * exact.abs().max()
    assert ((cached.float() - exact).abs() <= allowed).all()


def chosen(features: CachedFeatures, draw: Draw) -> int:
    """Which view a sample is: 0 for the original image, 1 for the mirror image."""
    mid = features[draw].inputs[0]
    matches = [torch.equal(mid, view.mid[draw.record]) for view in features.views]
    assert matches.count(True) == 1
    return matches.index(True)


def test_maps_are_the_live_backbones(
    backbone: Backbone, records: Records, plain: CachedFeatures
) -> None:
    assert len(plain) == IMAGES
    assert len(plain.views) == 1
    for index, record in enumerate(records):
        sample = plain[Draw(0, index)]
        for cached, exact in zip(sample.inputs, live(backbone, record), strict=True):
            assert exact.abs().max() > 0.01
            assert_rounded(cached, exact[0])
        assert sample.targets.tolist() == record.targets.tolist()
        assert sample.targets.dtype == torch.int8
        assert sample.record == index


def test_second_view_is_the_maps_of_the_mirrored_image(
    backbone: Backbone, records: Records, both: CachedFeatures
) -> None:
    written, mirrored = both.views
    for index, record in enumerate(records):
        exact = live(backbone, record, mirrored=True)
        assert_rounded(mirrored.mid[index], exact.mid[0])
        assert_rounded(mirrored.final[index], exact.final[0])
        # The kernels are not symmetric: turning the maps round would not have done.
        turned = written.mid[index].flip(2).float()
        assert (mirrored.mid[index].float() - turned).abs().max() > 0.01 * turned.abs().max()


def test_first_view_is_the_same_with_and_without_the_second(
    plain: CachedFeatures, both: CachedFeatures
) -> None:
    assert torch.equal(both.views[0].mid, plain.views[0].mid)
    assert torch.equal(both.views[0].final, plain.views[0].final)


def test_backbone_in_training_mode_is_run_as_in_evaluation(
    backbone: Backbone, records: Records, plain: CachedFeatures
) -> None:
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    again = compute(backbone.train(), records)
    assert torch.equal(again.views[0].final, plain.views[0].final)
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    assert not again.views[0].mid.requires_grad


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (IMAGES, 0), (32, 2)])
def test_batch_size_and_workers_change_nothing(
    backbone: Backbone, records: Records, both: CachedFeatures, batch_size: int, workers: int
) -> None:
    again = compute(backbone, records, mirrored=True, batch_size=batch_size, workers=workers)
    for view, expected in zip(again.views, both.views, strict=True):
        for maps, same in zip(view, expected, strict=True):
            assert_rounded(maps, same.float())


def test_one_view_is_always_taken(plain: CachedFeatures) -> None:
    assert {chosen(plain, Draw(epoch, 2)) for epoch in range(20)} == {0}


def test_choice_depends_on_seed_epoch_and_record_alone(
    records: Records, both: CachedFeatures
) -> None:
    draws = [Draw(epoch, record) for epoch in range(60) for record in range(IMAGES)]
    choices = [chosen(both, draw) for draw in draws]
    same = CachedFeatures(records, both.views, seed=0)
    assert [chosen(same, draw) for draw in reversed(draws)] == choices[::-1]
    other = CachedFeatures(records, both.views, seed=1)
    assert [chosen(other, draw) for draw in draws] != choices


def test_choice_is_a_fair_coin_for_every_record_and_in_every_epoch(both: CachedFeatures) -> None:
    epochs = 60
    table = np.array([[chosen(both, Draw(e, r)) for r in range(IMAGES)] for e in range(epochs)])
    assert abs(table.mean() - 0.5) < 4 * 0.5 / np.sqrt(table.size)
    assert np.abs(table.mean(axis=0) - 0.5).max() < 4 * 0.5 / np.sqrt(epochs)
    assert len({tuple(row) for row in table}) > epochs / 2  # records are not tossed together


def test_batches_of_maps_come_in_the_samplers_order(both: CachedFeatures, records: Records) -> None:
    sampler = EpochSampler(of(IMAGES), seed=0, epoch=3)
    order: list[int] = []
    for batch in batches(both, sampler, batch_size=3):
        mid, final_map = batch.inputs
        for row, record in enumerate(batch.records.tolist()):
            expected = both[Draw(3, record)].inputs
            assert torch.equal(mid[row], expected[0])
            assert torch.equal(final_map[row], expected[1])
            assert batch.targets[row].tolist() == records[record].targets.tolist()
            order.append(record)
    assert order == [draw.record for draw in sampler]


def test_progress_counts_images(backbone: Backbone, records: Records) -> None:
    seen: list[int] = []
    compute(backbone, records, on_batch=seen.append)
    assert seen == [3, 3, 1]


def test_a_bad_image_is_an_error(backbone: Backbone, records: Records, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(records[0].image.read_bytes()[:60])
    items = (*records, Record("bad", bad, records[0].targets))
    with pytest.raises(ImageError) as caught:
        compute(backbone, Records.of(records.labels, items, "one is bad"))
    assert caught.value.where == str(bad)


def of(size):
    """Targets of this many images."""
    return np.zeros((size, 1), dtype=np.int8)
