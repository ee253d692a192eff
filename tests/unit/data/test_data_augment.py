from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageOps
from torch import Tensor

from manylabel.config import parse
from manylabel.data.augment import Augment, AugmentConfig
from manylabel.errors import ConfigError
from manylabel.preprocess import InputSpec, to_pixels

NAMES = ("none", "flip", "crop", "paper")
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def paper(spec: InputSpec) -> Augment:
    return Augment(AugmentConfig(name="paper"), spec)


def as_array(pixels: Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).numpy()


# The paper's views, against Pillow alone


def declared_views(image: Image.Image, spec: InputSpec) -> Counter[bytes]:
    """Every view that the paper declares, and in how many of its 2 x 125 choices it comes.

    The input's sides are multiples of 56, so that all lengths are whole.
    """
    resample = FILTERS[spec.resize]
    x_unit, y_unit = spec.width / 224, spec.height / 224
    large = image.resize((round(256 * x_unit), round(256 * y_unit)), resample)
    views: Counter[bytes] = Counter()
    for across in (256, 224, 192, 168, 128):
        for down in (256, 224, 192, 168, 128):
            ends = (256 - across, 256 - down)
            middle = (ends[0] / 2, ends[1] / 2)
            for left, top in ((0, 0), (ends[0], 0), (0, ends[1]), ends, middle):
                right, bottom = left + across, top + down
                box = (left * x_unit, top * y_unit, right * x_unit, bottom * y_unit)
                view = large.resize((spec.width, spec.height), resample, box=box)
                views[view.tobytes()] += 1
                views[ImageOps.mirror(view).tobytes()] += 1
    return views


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_paper_gives_the_declared_views_each_as_often_as_declared(resize: str) -> None:
    spec, image, draws = InputSpec(height=56, width=56, resize=resize), noise(90, 70), 5000
    declared = declared_views(image, spec)
    assert declared.total() == 250
    assert len(declared) == 2 * (16 * 5 + 8 * 3 + 1)  # a full side leaves less to choose

    augment = paper(spec)
    staged = augment.stage(image)
    seen = Counter(augment.vary(staged, Random(seed)).tobytes() for seed in range(draws))

    assert seen.keys() == declared.keys()
    for view, choices in declared.items():
        expected = draws * choices / 250
        assert abs(seen[view] - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (112, 56), (56, 168)])
def test_paper_gives_declared_views_at_other_sizes(height: int, width: int) -> None:
    spec, image = InputSpec(height=height, width=width), noise(120, 200)
    declared, augment = declared_views(image, spec), paper(spec)
    staged = augment.stage(image)
    seen = {augment.vary(staged, Random(seed)).tobytes() for seed in range(60)}
    assert seen <= declared.keys()
    assert len(seen) > 30


def test_paper_squashes_to_256_for_an_input_of_224() -> None:
    image = noise(300, 280)
    staged = paper(InputSpec(height=224, width=224)).stage(image)
    assert staged.tobytes() == image.resize((256, 256), Image.Resampling.BILINEAR).tobytes()


# Every view


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80), (77, 51)])
@pytest.mark.parametrize("size", [(20, 20), (301, 17), (64, 128)])
def test_size_is_the_inputs(name: str, height: int, width: int, size: tuple[int, int]) -> None:
    augment = Augment(AugmentConfig(name=name), InputSpec(height=height, width=width))
    staged = augment.stage(noise(*size))
    assert {augment.vary(staged, Random(seed)).size for seed in range(40)} == {(width, height)}


@pytest.mark.parametrize("name", NAMES)
def test_views_are_mirrored_half_the_time_and_never_upside_down(name: str) -> None:
    """Red grows to the right and green downwards; a mirrored view has red grow to the left."""
    spec, draws = InputSpec(height=40, width=56), 400
    red, green = np.meshgrid(np.linspace(0, 255, 90), np.linspace(0, 255, 70))
    image = Image.fromarray(np.stack([red, green, 0 * red], axis=2).round().astype(np.uint8))
    augment = Augment(AugmentConfig(name=name), spec)
    staged, mirrored = augment.stage(image), 0
    for seed in range(draws):
        view = np.asarray(augment.vary(staged, Random(seed)), dtype=int)
        assert (np.diff(view[:, :, 1], axis=0) >= 0).all()
        assert view[-1, 0, 1] > view[0, 0, 1] + 60
        to_the_right = np.diff(view[:, :, 0], axis=1)
        assert (to_the_right >= 0).all() or (to_the_right <= 0).all()
        mirrored += view[0, 0, 0] > view[0, -1, 0]
    expected = 0 if name == "none" else draws / 2
    assert abs(mirrored - expected) <= (0 if name == "none" else 4 * np.sqrt(draws / 4))


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(20, 31), (64, 48), (300, 200)])
def test_none_is_what_evaluation_sees(resize: str, size: tuple[int, int]) -> None:
    spec, image = InputSpec(height=48, width=64, resize=resize), noise(*size)
    augment = Augment(AugmentConfig(name="none"), spec)
    view = augment.vary(augment.stage(image), Random(0))
    assert (np.asarray(view) == as_array(to_pixels(image, spec))).all()


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_flip_is_what_evaluation_sees_or_its_mirror_image(resize: str) -> None:
    spec, image = InputSpec(height=48, width=64, resize=resize), noise(100, 90)
    augment = Augment(AugmentConfig(name="flip"), spec)
    staged = augment.stage(image)
    seen = {augment.vary(staged, Random(seed)).tobytes() for seed in range(40)}
    whole = as_array(to_pixels(image, spec))
    assert seen == {whole.tobytes(), whole[:, ::-1].tobytes()}


# The free crop


def crop_along(augment: Augment, axis: int, seed: int) -> tuple[float, float]:
    """Where a crop begins and ends, in shares of the side, read off a ramp from 0 to 1.

    Resizing keeps a ramp a ramp, but for its ends.
    """
    width, height = augment.stage_size
    side = (height, width)[axis]
    ramp = ((np.arange(side) + 0.5) / side).astype(np.float32)
    image = Image.fromarray(np.broadcast_to(ramp[:, None] if axis == 0 else ramp, (height, width)))
    view = np.sort(np.asarray(augment.vary(image, Random(seed))).mean(axis=1 - axis))
    step = (view[-6] - view[5]) / (len(view) - 11)
    start = view[5] - 5.5 * step
    return float(start), float(start + len(view) * step)


@pytest.mark.parametrize("smallest", [0.6, 0.3])
@pytest.mark.parametrize("axis", [0, 1])
def test_crop_keeps_the_declared_share_of_each_side(smallest: float, axis: int) -> None:
    config = AugmentConfig(name="crop", smallest_crop=smallest)
    augment = Augment(config, InputSpec(height=80, width=64))
    edges = np.array([crop_along(augment, axis, seed) for seed in range(400)])
    kept = edges[:, 1] - edges[:, 0]
    assert edges.min() > -1e-4
    assert edges.max() < 1 + 1e-4
    # Uniform between the two: its ends are approached, its mean is in the middle.
    spread = 1 - smallest
    assert smallest - 1e-4 < kept.min() < smallest + 0.02 * spread
    assert 1 - 0.02 * spread < kept.max() < 1 + 1e-4
    assert abs(kept.mean() - (1 + smallest) / 2) < 4 * spread / np.sqrt(12 * 400)
    place = edges[:, 0] / (1 - kept)
    assert abs(place.mean() - 0.5) < 4 / np.sqrt(12 * 400)
    assert np.ptp(place) > 0.97


def test_crop_varies_width_and_height_apart() -> None:
    augment = Augment(AugmentConfig(name="crop"), InputSpec(height=64, width=64))
    down, across = (
        np.diff([crop_along(augment, axis, seed) for seed in range(400)])[:, 0] for axis in (0, 1)
    )
    assert abs(np.corrcoef(down, across)[0, 1]) < 4 / np.sqrt(400)


def test_crop_of_everything_is_a_flip() -> None:
    spec, image = InputSpec(height=48, width=64), noise(100, 90)
    whole, flip = (
        Augment(AugmentConfig(name=name, smallest_crop=1), spec) for name in ("crop", "flip")
    )
    seen, expected = (
        {augment.vary(augment.stage(image), Random(seed)).tobytes() for seed in range(40)}
        for augment in (whole, flip)
    )
    assert seen == expected


# Settings


@pytest.mark.parametrize(
    ("tables", "key"),
    [({"name": "cutout"}, "name"), ({"smallest_crop": 0}, "smallest_crop"), ({"smal": 1}, "smal")],
)
def test_settings_that_do_not_fit_are_refused(tables: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}'"):
        parse(AugmentConfig, tables, where="recipe.toml")
