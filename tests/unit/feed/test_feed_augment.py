from __future__ import annotations

import random as python_random
from collections import Counter
from itertools import product
from random import Random

import numpy as np
import pytest
import torch
from cases import case
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from manylabel.config import Config, parse
from manylabel.errors import ConfigError
from manylabel.feed.augment import (
    Augment,
    AugmentConfig,
    CropConfig,
    FlipConfig,
    NoAugmentConfig,
    PaperAugmentConfig,
)
from manylabel.images import rgb_pixels
from manylabel.pixels import to_pixels
from manylabel.preprocess import InputSpec

CONFIGS = {
    "none": NoAugmentConfig,
    "flip": FlipConfig,
    "crop": CropConfig,
    "paper": PaperAugmentConfig,
}
NAMES = tuple(CONFIGS)


class Recipe(Config):
    """A recipe with this table alone."""

    augment: AugmentConfig = PaperAugmentConfig()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def paper(spec: InputSpec) -> Augment:
    return Augment(PaperAugmentConfig(), spec)


def as_bytes(pixels: Tensor) -> bytes:
    return pixels.numpy().tobytes()


# The paper's views


def declared_views(image: Image.Image, spec: InputSpec) -> Counter[bytes]:
    """Every view that the paper declares, and in how many of its 2 x 125 choices it comes.

    The input's sides are multiples of 56, so that all lengths are whole. Each is cut by Pillow
    and resized by `to_pixels`, which has tests of its own.
    """
    large = InputSpec(height=spec.height * 8 // 7, width=spec.width * 8 // 7, resize=spec.resize)
    staged = Image.fromarray(to_pixels(image, large).permute(1, 2, 0).numpy())
    views: Counter[bytes] = Counter()
    for across in (256, 224, 192, 168, 128):
        for down in (256, 224, 192, 168, 128):
            ends = (256 - across, 256 - down)
            middle = (ends[0] / 2, ends[1] / 2)
            for left, top in ((0, 0), (ends[0], 0), (0, ends[1]), ends, middle):
                units = spec.width / 224, spec.height / 224
                box = (left, top, left + across, top + down)
                box = tuple(round(side * units[axis % 2]) for axis, side in enumerate(box))
                view = to_pixels(staged.crop(box), spec).numpy()
                views[view.tobytes()] += 1
                views[view[:, :, ::-1].tobytes()] += 1
    return views


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_paper_gives_the_declared_views_each_as_often_as_declared(resize: str) -> None:
    spec, image, draws = InputSpec(height=56, width=56, resize=resize), noise(90, 70), 5000
    declared = declared_views(image, spec)
    assert declared.total() == 250
    assert len(declared) == 2 * (16 * 5 + 8 * 3 + 1)  # a full side leaves less to choose

    augment = paper(spec)
    staged = to_pixels(rgb_pixels(image), augment.stage_spec)
    seen = Counter(as_bytes(augment.vary(staged, Random(seed))) for seed in range(draws))

    assert seen.keys() == declared.keys()
    for view, choices in declared.items():
        expected = draws * choices / 250
        assert abs(seen[view] - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (112, 56), (56, 168)])
def test_paper_gives_declared_views_at_other_sizes(height: int, width: int) -> None:
    spec, image = InputSpec(height=height, width=width), noise(120, 200)
    declared, augment = declared_views(image, spec), paper(spec)
    staged = to_pixels(rgb_pixels(image), augment.stage_spec)
    seen = {as_bytes(augment.vary(staged, Random(seed))) for seed in range(60)}
    assert seen <= declared.keys()
    assert len(seen) > 30


def test_paper_squashes_to_256_for_an_input_of_224() -> None:
    image = noise(300, 280)
    staged = to_pixels(rgb_pixels(image), paper(InputSpec(height=224, width=224)).stage_spec)
    expected = np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(staged.permute(1, 2, 0).numpy() - expected).max() <= 1


# Every view


@pytest.mark.parametrize("name", NAMES)
def test_a_view_has_the_inputs_size(name: str) -> None:
    inputs, images = [(32, 32), (48, 80), (77, 51)], [(20, 20), (301, 17), (64, 128)]
    for (height, width), size in product(inputs, images):
        augment = Augment(CONFIGS[name](), InputSpec(height=height, width=width))
        staged = to_pixels(rgb_pixels(noise(*size)), augment.stage_spec)
        views = [augment.vary(staged, Random(seed)) for seed in range(40)]
        with case(height=height, width=width, size=size):
            assert {(view.dtype, tuple(view.shape)) for view in views} == {
                (torch.uint8, (3, height, width))
            }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("randaugment", [0, 9])
def test_what_is_varied_stays_as_it_was(name: str, randaugment: int) -> None:
    """It may be a cache's."""
    config = CONFIGS[name](randaugment=randaugment)
    augment = Augment(config, InputSpec(height=48, width=64))
    staged = to_pixels(rgb_pixels(noise(90, 70)), augment.stage_spec)
    before = staged.clone()
    for seed in range(30):
        augment.vary(staged, Random(seed))
    assert torch.equal(staged, before)


@pytest.mark.parametrize("name", NAMES)
def test_views_are_mirrored_half_the_time_and_never_upside_down(name: str) -> None:
    """Red grows to the right and green downwards; a mirrored view has red grow to the left."""
    spec, draws = InputSpec(height=40, width=56), 400
    red, green = np.meshgrid(np.linspace(0, 255, 90), np.linspace(0, 255, 70))
    image = Image.fromarray(np.stack([red, green, 0 * red], axis=2).round().astype(np.uint8))
    augment = Augment(CONFIGS[name](), spec)
    staged, mirrored = to_pixels(rgb_pixels(image), augment.stage_spec), 0
    for seed in range(draws):
        red, green, _ = augment.vary(staged, Random(seed)).numpy().astype(int)
        assert (np.diff(green, axis=0) >= 0).all()
        assert green[-1, 0] > green[0, 0] + 60
        to_the_right = np.diff(red, axis=1)
        assert (to_the_right >= 0).all() or (to_the_right <= 0).all()
        mirrored += red[0, 0] > red[0, -1]
    expected = 0 if name == "none" else draws / 2
    assert abs(mirrored - expected) <= (0 if name == "none" else 4 * np.sqrt(draws / 4))


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(20, 31), (64, 48), (300, 200)])
def test_none_is_what_evaluation_sees(resize: str, size: tuple[int, int]) -> None:
    spec, image = InputSpec(height=48, width=64, resize=resize), noise(*size)
    augment = Augment(NoAugmentConfig(), spec)
    view = augment.vary(to_pixels(rgb_pixels(image), augment.stage_spec), Random(0))
    assert torch.equal(view, to_pixels(image, spec))


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_flip_is_what_evaluation_sees_or_its_mirror_image(resize: str) -> None:
    spec, image = InputSpec(height=48, width=64, resize=resize), noise(100, 90)
    augment = Augment(FlipConfig(), spec)
    staged = to_pixels(rgb_pixels(image), augment.stage_spec)
    seen = {as_bytes(augment.vary(staged, Random(seed))) for seed in range(40)}
    whole = to_pixels(image, spec)
    assert seen == {as_bytes(whole), as_bytes(whole.flip(2))}


# The free crop


def crops(augment: Augment, draws: int) -> np.ndarray:
    """Each crop's left, top, right and bottom in shares of the sides, [draws, 4].

    Read off stages that are black but for one column or row: it is seen where it is in the crop.
    """
    height, width = augment.stage_spec.height, augment.stage_spec.width
    found = np.zeros((draws, 4))
    for axis, side in ((2, width), (1, height)):
        lit = torch.stack([torch.zeros(3, height, width, dtype=torch.uint8)] * side)
        for place in range(side):
            lit[place].select(axis, place)[:] = 255
        for seed in range(draws):
            seen = [bool(augment.vary(image, Random(seed)).any()) for image in lit]
            inside = np.flatnonzero(seen)
            assert (np.diff(inside) == 1).all()
            found[seed, [2 - axis, 4 - axis]] = inside[0] / side, (inside[-1] + 1) / side
    return found


@pytest.mark.parametrize("smallest", [0.6, 0.3])
def test_crop_keeps_the_declared_share_of_each_side(smallest: float) -> None:
    config, draws = CropConfig(smallest_crop=smallest), 300
    edges = crops(Augment(config, InputSpec(height=40, width=32)), draws)
    kept = edges[:, 2:] - edges[:, :2]
    pixel = 1 / np.array([32, 40])
    # Uniform between the two, in whole pixels: its ends are reached, its mean is in the middle.
    assert (np.abs(kept.min(0) - smallest) <= pixel).all()
    assert (kept.max(0) == 1).all()
    spread = 1 - smallest
    assert (np.abs(kept.mean(0) - (1 + smallest) / 2) < 4 * spread / np.sqrt(12 * draws)).all()
    place = edges[:, :2].sum(0) / (1 - kept).sum(0)
    assert (np.abs(place - 0.5) < 0.1).all()
    assert (edges[:, :2].min(0) == 0).all()
    assert (edges[:, 2:].max(0) == 1).all()
    assert abs(np.corrcoef(kept.T)[0, 1]) < 4 / np.sqrt(draws)


def test_crop_of_everything_is_a_flip() -> None:
    spec, pixels = InputSpec(height=48, width=64), rgb_pixels(noise(100, 90))
    whole, flip = Augment(CropConfig(smallest_crop=1), spec), Augment(FlipConfig(), spec)
    seen, expected = (
        {
            as_bytes(augment.vary(to_pixels(pixels, augment.stage_spec), Random(seed)))
            for seed in range(40)
        }
        for augment in (whole, flip)
    )
    assert seen == expected


@pytest.mark.parametrize("name", ["crop", "paper"])
def test_the_smallest_stage_can_be_cropped(name: str) -> None:
    config = CropConfig(smallest_crop=0.001) if name == "crop" else PaperAugmentConfig()
    augment = Augment(config, InputSpec(height=16, width=16))
    staged = to_pixels(rgb_pixels(noise(3, 2)), augment.stage_spec)
    for seed in range(200):
        assert augment.vary(staged, Random(seed)).shape == (3, 16, 16)


# RandAugment


def test_randaugment_is_torchvisions_drawn_by_the_views_own_generator() -> None:
    spec, pixels = InputSpec(height=48, width=64), rgb_pixels(noise(48, 64))
    ours = Augment(CropConfig(randaugment=12), spec)
    plain = Augment(CropConfig(), spec)
    theirs = v2.RandAugment(num_ops=2, magnitude=12)
    staged, changed = to_pixels(pixels, ours.stage_spec), 0
    for seed in range(40):
        random = Random(seed)
        view = plain.vary(staged, random)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random.getrandbits(63))
            expected = theirs(view)
        found = ours.vary(staged, Random(seed))
        assert torch.equal(found, expected)
        changed += not torch.equal(found, view)
    assert changed > 20


def test_randaugment_leaves_all_global_generators_as_they_were() -> None:
    augment = Augment(NoAugmentConfig(randaugment=9), InputSpec(height=48, width=64))
    staged = to_pixels(rgb_pixels(noise(48, 64)), augment.stage_spec)
    states = torch.get_rng_state(), python_random.getstate(), str(np.random.get_state())
    first, second = (augment.vary(staged, Random(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (python_random.getstate(), str(np.random.get_state())) == states[1:]


# Settings


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"name": "cutout"}, "name"),
        ({"name": "crop", "smallest_crop": 0}, "smallest_crop"),
        ({"name": "flip", "smallest_crop": 0.5}, "smallest_crop"),
        ({"randaugment": 31}, "randaugment"),
        ({"randaugment": -1}, "randaugment"),
        ({"smal": 1}, "smal"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tables: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"'augment\.{key}'"):
        parse(Recipe, {"augment": tables}, where="recipe.toml")


def test_a_table_without_a_name_is_the_papers() -> None:
    recipe = parse(Recipe, {"augment": {"randaugment": 3}}, where="recipe.toml")
    assert recipe.augment == PaperAugmentConfig(randaugment=3)
