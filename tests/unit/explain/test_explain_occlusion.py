"""Occlusion beside captum, a slow version, and engines whose answer can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as Oracle
from cases import case
from PIL import Image, ImageFilter

from manylabel.bundle.info import ModelInfo
from manylabel.engines.engine import Engine, EngineOutput
from manylabel.engines.torch import TorchEngine
from manylabel.errors import ConfigError
from manylabel.explain import Occlusion
from manylabel.explain.occlusion import occlusion_maps
from manylabel.pixels import normalise
from manylabel.preprocess import InputSpec

HEIGHT, WIDTH = 24, 32


class Weights(Engine):
    """Logits that are weighted sums of the red channel, without any framework."""

    def __init__(self, weights: np.ndarray) -> None:
        info = ModelInfo(
            labels=tuple(f"label {i}" for i in range(len(weights))),
            input=InputSpec(height=HEIGHT, width=WIDTH),
            thresholds=(0.5,) * len(weights),
        )
        super().__init__(info, weights_sha256="0" * 64, device="cpu", evidence={})
        self.weights = weights
        self.sizes: list[int] = []

    def prepare(self, image):
        return image[:HEIGHT, :WIDTH]

    def run(self, pixels, evidence=(), labels=None):
        self.sizes.append(len(pixels))
        red = pixels[..., 0].astype(np.float64)
        return EngineOutput(np.einsum("nhw,chw->nc", red, self.weights).astype(np.float32), {})


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def engine() -> Weights:
    return Weights(np.random.default_rng(1).normal(size=(3, HEIGHT, WIDTH)) / 1000)


def maps_of(engine: Engine, image: np.ndarray, columns: list[int], **settings) -> np.ndarray:
    logits = engine.run(image[None]).logits[0]
    return occlusion_maps(engine, image, logits, columns, Occlusion(**settings), batch_size=7)


def slowly(engine: Weights, image: np.ndarray, settings: Occlusion) -> np.ndarray:
    """A pixel is covered if its centre lies in the patch around the centre of the cell."""
    mean = np.round(image.reshape(-1, 3).mean(0))
    cells, half = round(1 / settings.stride), settings.patch / 2
    falls = np.zeros((len(engine.weights), cells, cells))
    for row, column in np.ndindex(cells, cells):
        covered = image.copy()
        for y, x in np.ndindex(HEIGHT, WIDTH):
            down = abs((y + 0.5) / HEIGHT - (row + 0.5) / cells) < half
            across = abs((x + 0.5) / WIDTH - (column + 0.5) / cells) < half
            if down and across:
                covered[y, x] = mean
        before, after = (engine.run(each[None]).logits[0] for each in (image, covered))
        falls[:, row, column] = before - after
    return falls


@pytest.mark.parametrize(
    ("patch", "stride"), [(0.2, 0.1), (0.5, 0.5), (0.31, 0.125), (0.7, 0.34), (1, 1)], ids=str
)
def test_it_is_what_a_slow_version_computes(engine, image, patch, stride):
    expected = slowly(engine, image, Occlusion(patch=patch, stride=stride))
    found = maps_of(engine, image, [2, 0], patch=patch, stride=stride)
    np.testing.assert_allclose(found, expected[[2, 0]], atol=1e-5)
    assert np.abs(found).max() > 0.01


def test_without_overlap_it_is_captums(make_bundle, tmp_path):
    """Its map has the fall of each patch at all pixels of the patch."""
    engine = TorchEngine.load(make_bundle(tmp_path / "bundle"), device="cpu")
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mine = maps_of(engine, pixels, [0, 1, 2], patch=0.25, stride=0.25)
    mean = np.round(pixels.reshape(-1, 3).mean(0)).astype(np.uint8)
    inputs, cover = (
        normalise(torch.from_numpy(each).permute(2, 0, 1)[None], engine.info.input)
        for each in (pixels, np.broadcast_to(mean, pixels.shape).copy())
    )
    oracle = Oracle(lambda images: engine.classifier(images).logits)
    with torch.no_grad():
        for label in range(3):
            expected = oracle.attribute(
                inputs, (3, 16, 16), (3, 16, 16), target=label, baselines=cover
            )
            expected = expected[0, 0, ::16, ::16].numpy()
            np.testing.assert_allclose(mine[label], expected, atol=1e-5 * np.abs(mine).max())


def test_only_the_object_that_a_label_needs_has_evidence(image):
    """Three cells of five; an object that makes the label less likely has a value below 0."""
    weights = np.zeros((2, HEIGHT, WIDTH))
    weights[0, 10:14, 1:5] = 1  # row 2, column 0 of five by five cells
    weights[1, 20:24, 26:30] = -1  # the last cell
    image[:] = 0
    image[10:14, 1:5, 0] = 200
    image[20:24, 26:30, 0] = 100
    mean = round((16 * 200 + 16 * 100) / (HEIGHT * WIDTH))
    found = maps_of(Weights(weights), image, [0, 1], patch=0.2, stride=0.2)
    expected = np.zeros((2, 5, 5))
    expected[0, 2, 0] = 16 * (200 - mean)
    expected[1, 4, 4] = -16 * (100 - mean)
    np.testing.assert_allclose(found, expected)


def test_a_blurred_patch_keeps_its_colours(engine, image):
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.5 * 32 / 2)))
    covered = image.copy()
    covered[:12, 16:] = blurred[:12, 16:]
    before, after = (engine.run(each[None]).logits[0] for each in (image, covered))
    found = maps_of(engine, image, [0, 1, 2], patch=0.5, stride=0.5, fill="blur")
    np.testing.assert_allclose(found[:, 0, 1], before - after, atol=1e-5)
    assert not np.allclose(found, maps_of(engine, image, [0, 1, 2], patch=0.5, stride=0.5))


def test_copies_are_computed_in_batches_and_the_image_stays(engine, image):
    before = image.copy()
    maps_of(engine, image, [0], stride=0.1)
    assert engine.sizes == [1] + [7] * 14 + [2]
    np.testing.assert_array_equal(image, before)


def test_more_cells_than_pixels_cover_one_pixel_at_least(engine):
    tiny = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    tiny[3, 3] = 200
    found = maps_of(engine, tiny, [0], patch=0.02, stride=0.02)
    assert found.shape == (1, 50, 50)
    assert np.isfinite(found).all()
    assert found[0, 6:8, 5:7].any()
    assert not found[0, 20:].any()


def test_settings_out_of_their_range_are_refused():
    for settings in (
        {"patch": 0.1, "stride": 0.2},
        {"stride": 0.001},
        {"patch": 1.5},
        {"patch": float("nan")},
        {"stride": 0},
    ):
        with case(**settings), pytest.raises(ConfigError, match="with a stride of") as caught:
            Occlusion(**settings)
        assert "Give a stride from 0.01" in caught.value.fix
    with pytest.raises(ConfigError, match="covered by 'grey'") as caught:
        Occlusion(fill="grey")  # pyright: ignore[reportArgumentType]
    assert caught.value.fix == "Give 'mean' or 'blur'."
