from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import case
from PIL import Image

from manylabel.config import parse
from manylabel.errors import ConfigError, ImageError
from manylabel.images import MAX_PIXELS, ImageSource, open_image
from manylabel.pixels import normalise, to_pixels
from manylabel.preprocess import InputSpec

RGB = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def pixels_of(source: ImageSource) -> np.ndarray:
    image = open_image(source)
    assert image.mode == "RGB"
    return np.asarray(image)


def png_header(width: int, height: int) -> bytes:
    """A grey PNG that says it is of this size and ends there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"")
    more = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunk + more


# What can be opened


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_lossless_file_gives_its_pixels(tmp_path: Path, kind: str) -> None:
    data = saved(Image.fromarray(RGB), kind)
    path = tmp_path / "no-ending"
    path.write_bytes(data)
    for source in (data, path, str(path), Image.open(path)):
        np.testing.assert_array_equal(pixels_of(source), RGB)


def test_a_jpeg_gives_what_pillow_decodes() -> None:
    data = saved(Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8)), "JPEG", quality=95)
    np.testing.assert_allclose(pixels_of(data), np.full((8, 8, 3), (200, 100, 50)), atol=3)


def test_grey_is_spread_over_three_channels() -> None:
    grey = RGB[:, :, 0]
    expected = np.stack([grey] * 3, axis=2)
    np.testing.assert_array_equal(pixels_of(saved(Image.fromarray(grey))), expected)
    two = Image.fromarray(grey > 127)
    assert two.mode == "1"
    black_and_white = np.where(expected > 127, 255, 0)
    np.testing.assert_array_equal(pixels_of(saved(two)), black_and_white)


def test_16_bit_greys_keep_their_range() -> None:
    values = np.array([[0, 257, 32_768], [65_535, 128, 25_700]], np.uint16)
    data = saved(Image.fromarray(values))
    assert Image.open(io.BytesIO(data)).mode.startswith("I")
    # 65535 / 257 = 255; 32768 / 257 = 127.5, 128 / 257 = 0.5 and both round to even
    expected = np.array([[0, 1, 128], [255, 0, 100]])
    np.testing.assert_array_equal(pixels_of(data)[:, :, 0], expected)
    np.testing.assert_array_equal(pixels_of(data)[:, :, 2], expected)


def test_a_dark_16_bit_image_stays_dark() -> None:
    data = saved(Image.fromarray(np.full((3, 3), 1000, np.uint16)))
    assert set(pixels_of(data).ravel()) == {4}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5], [1.0, 0.25]], np.float32), [[0, 128], [255, 64]]),
        (np.array([[-100.0, -20.0], [100.0, 50.0]], np.float32), [[0, 102], [255, 191]]),
        (np.array([[0, 100_000], [200_000, 50_000]], np.int32), [[0, 128], [255, 64]]),
        (np.array([[7.0, 7.0], [7.0, 7.0]], np.float32), [[0, 0], [0, 0]]),
    ],
)
def test_wide_greys_are_stretched_over_their_own_range(values, expected) -> None:
    data = saved(Image.fromarray(values), "TIFF")
    np.testing.assert_array_equal(pixels_of(data)[:, :, 1], expected)


def test_cmyk_is_converted() -> None:
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[:, :4] = (0, 255, 255, 0)  # magenta and yellow: red
    inks[:, 4:] = (255, 0, 255, 0)  # cyan and yellow: green
    image = Image.merge("CMYK", [Image.fromarray(inks[:, :, i]) for i in range(4)])
    lossless = pixels_of(saved(image, "TIFF"))
    assert lossless[0, 0].tolist() == [255, 0, 0]
    assert lossless[0, 7].tolist() == [0, 255, 0]
    jpeg = pixels_of(saved(image, "JPEG", quality=95)).astype(int)
    assert np.abs(jpeg[4, 1] - [255, 0, 0]).max() < 30
    assert np.abs(jpeg[4, 6] - [0, 255, 0]).max() < 30


def test_transparency_is_laid_over_white() -> None:
    alpha = np.array([[0, 255], [128, 51]], np.uint8)
    rgba = np.dstack([np.full((2, 2), 10), np.full((2, 2), 100), np.full((2, 2), 200), alpha])
    pixels = pixels_of(saved(Image.fromarray(rgba.astype(np.uint8))))
    share = alpha[:, :, None] / 255
    expected = share * [10, 100, 200] + (1 - share) * 255
    np.testing.assert_allclose(pixels, expected, atol=1)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [10, 100, 200]


def test_grey_with_transparency() -> None:
    la = np.dstack([np.full((2, 2), 50), [[0, 255], [255, 0]]]).astype(np.uint8)
    expected = [[255, 50], [50, 255]]
    np.testing.assert_array_equal(pixels_of(saved(Image.fromarray(la)))[:, :, 0], expected)


def palette_image() -> Image.Image:
    image = Image.frombytes("P", (2, 2), bytes([0, 1, 2, 1]))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return image


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_a_palette_gives_its_colours(kind: str) -> None:
    pixels = pixels_of(saved(palette_image(), kind))
    assert pixels.reshape(4, 3).tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 255, 0]]


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])], ids=["an index", "a table"])
def test_a_palette_with_transparency_is_laid_over_white(transparency: int | bytes) -> None:
    pixels = pixels_of(saved(palette_image(), transparency=transparency))
    white = [255, 255, 255]
    assert pixels.reshape(4, 3).tolist() == [[255, 0, 0], white, [0, 0, 255], white]


def test_a_transparent_colour_is_laid_over_white() -> None:
    image = Image.fromarray(np.array([[[9, 9, 9], [1, 2, 3]]] * 2, np.uint8))
    pixels = pixels_of(saved(image, transparency=(9, 9, 9)))
    assert pixels[0].tolist() == [[255, 255, 255], [1, 2, 3]]


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=10)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert {tuple(pixel) for pixel in pixels_of(data).reshape(-1, 3)} == {(255, 0, 0)}


# How a camera was held, by EXIF's number, to what undoes it; written out by hand.
UPRIGHT = {
    1: lambda lying: lying,
    2: lambda lying: lying[:, ::-1],
    3: lambda lying: lying[::-1, ::-1],
    4: lambda lying: lying[::-1],
    5: lambda lying: lying.transpose(1, 0, 2),
    6: lambda lying: np.rot90(lying, -1),
    7: lambda lying: lying[::-1, ::-1].transpose(1, 0, 2),
    8: lambda lying: np.rot90(lying, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_rotated_image_is_set_upright(kind: str) -> None:
    settings = {"lossless": True} if kind == "WEBP" else {}
    for orientation, turn in UPRIGHT.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(Image.fromarray(RGB), kind, exif=exif, **settings)
        with case(orientation=orientation):
            np.testing.assert_array_equal(pixels_of(data), turn(RGB))


def test_a_rotated_jpeg_is_the_upright_original() -> None:
    smooth = np.zeros((16, 32, 3), np.uint8)
    smooth[:, :16, 0], smooth[:, 16:, 1] = 255, 255
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(smooth, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = pixels_of(saved(lying, "JPEG", quality=100, subsampling=0, exif=exif)).astype(int)
    assert upright.shape == smooth.shape
    assert np.abs(upright - smooth).mean() < 3


def test_rotation_and_transparency_go_together() -> None:
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(rgba), exif=exif)
    np.testing.assert_array_equal(pixels_of(data), np.rot90(RGB, -1))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's, about odd metadata
def test_damaged_exif_does_not_cost_the_image() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "a holiday", 72.0
    photo = saved(Image.fromarray(RGB), "JPEG", exif=exif)
    start = photo.index(b"Exif\0\0") + 6
    end = start + len(exif.tobytes()) - 6
    for position in range(start, end):
        for value in (0, 1, 5, 12, 255):
            data = photo[:position] + bytes([value]) + photo[position + 1 :]
            assert sorted(open_image(data).size) == [4, 5]


# What cannot


NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
JPEG, PNG = saved(NOISE, "JPEG"), saved(NOISE)

BAD = {
    "zero bytes": (b"", "empty"),
    "text": (b"this is no image, whatever it is called\n", "not an image"),
    "html": (b"<!DOCTYPE html><title>404</title>", "not an image"),
    "truncated JPEG": (JPEG[: len(JPEG) // 2], "damaged"),
    "JPEG of 20 bytes": (JPEG[:20], "damaged|not an image"),
    "truncated PNG": (PNG[: len(PNG) // 2], "damaged"),
    "1x1": (saved(Image.new("RGB", (1, 1))), "1x1 pixels"),
    "1x9": (saved(Image.new("RGB", (1, 9))), "1x9 pixels"),
    "bomb": (png_header(50_000, 50_000), r"more than 178,956,970 pixels"),
    "just over the limit": (png_header(MAX_PIXELS + 1, 1), r"more than 178,956,970 pixels"),
}


@pytest.mark.parametrize(("data", "what"), BAD.values(), ids=BAD)
def test_a_bad_image_is_told(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=what) as caught:
        open_image(path)
    assert caught.value.where == str(path)
    assert caught.value.fix
    with pytest.raises(ImageError, match=what) as caught:
        open_image(data)
    assert caught.value.where == f"an image of {len(data):,} bytes"


def test_a_missing_image_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        open_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match="not an ordinary file"):
        open_image(tmp_path)


def test_a_damaged_image_that_pillow_has_opened_is_told(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(JPEG[: len(JPEG) // 2])
    with Image.open(path) as image, pytest.raises(ImageError, match="damaged") as caught:
        open_image(image)
    assert caught.value.where == str(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's, about odd metadata
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_mutated_files_are_images_or_told(kind: str) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    original = saved(Image.fromarray(noise), kind)
    rng = np.random.default_rng(3)
    told = 0
    for _ in range(80):
        data = bytearray(original[: rng.integers(1, len(original) + 1)])
        for position in rng.integers(0, len(data), 3):
            data[position] = rng.integers(256)
        try:
            assert open_image(bytes(data)).mode == "RGB"
        except ImageError:
            told += 1
    assert told > 0


def test_large_images_are_no_warning_in_threads_and_filters_stay() -> None:
    # Over Pillow's own limit, which warns, and under ours; only the header is opened.
    data = png_header(10_000, 10_000)

    def attempt(_: int) -> str:
        try:
            open_image(data)
        except ImageError as error:
            return error.what
        return "opened"

    before = list(warnings.filters)
    with ThreadPoolExecutor(3) as pool:
        told = set(pool.map(attempt, range(12)))
    assert all(what.startswith("The image is damaged") for what in told), told
    assert warnings.filters == before


# To a model's input


def by_pillow(image: Image.Image, spec: InputSpec) -> np.ndarray:
    """[height, width, 3], the reference."""
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    return np.asarray(image.resize((spec.width, spec.height), resample[spec.resize]), dtype=int)


def differences(image: Image.Image, spec: InputSpec) -> np.ndarray:
    ours = to_pixels(image, spec)
    assert (ours.dtype, tuple(ours.shape)) == (torch.uint8, (3, spec.height, spec.width))
    return np.abs(ours.permute(1, 2, 0).numpy() - by_pillow(image, spec))


def grain(width: int, height: int, resize: str) -> Image.Image:
    """Noise of every frequency, the hardest case for rounding.

    Of half the range for bicubic: where its overshoot is cut at 0 or 255 between the two passes,
    the result depends on which axis comes first, and Pillow chooses that by what is cheaper.
    """
    low, high = (64, 192) if resize == "bicubic" else (0, 256)
    rng = np.random.default_rng(width)
    return Image.fromarray(rng.integers(low, high, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_shrinking_is_within_one_of_pillow(resize: str) -> None:
    sizes = [(500, 375), (375, 500), (640, 480), (1600, 1200), (301, 257), (257, 999)]
    for size, (height, width) in product(sizes, [(224, 224), (256, 256), (64, 100)]):
        spec = InputSpec(height=height, width=width, resize=resize)
        with case(size=size, height=height, width=width):
            off = differences(grain(*size, resize), spec)
            assert off.max() <= 1
            assert (off > 0).mean() < 0.25  # where Pillow takes the other axis first; else 0.05


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_enlarging_is_within_one_of_pillow_but_for_a_pixel_in_a_thousand(resize: str) -> None:
    sizes = [(4, 5), (20, 31), (128, 128), (128, 256), (192, 168), (223, 225)]
    for size, (height, width) in product(sizes, [(224, 224), (448, 448), (300, 230)]):
        spec = InputSpec(height=height, width=width, resize=resize)
        with case(size=size, height=height, width=width):
            off = differences(grain(*size, resize), spec)
            assert off.max() <= 2
            assert (off > 1).mean() < 0.001


def test_the_kind_of_resizing_matters() -> None:
    image = grain(40, 30, "bicubic")
    bilinear, bicubic = (
        to_pixels(image, InputSpec(resize=kind)) for kind in ("bilinear", "bicubic")
    )
    assert (bilinear.int() - bicubic.int()).abs().float().mean() > 2


@pytest.mark.parametrize("size", [(50, 40), (300, 200)])
def test_arrays_of_any_memory_give_what_pillows_image_gives(size: tuple[int, int]) -> None:
    image, spec = grain(*size, "bilinear"), InputSpec(height=64, width=48)
    expected = to_pixels(image, spec)
    whole = np.array(image)
    within = np.zeros((size[1] + 4, size[0] + 9, 3), dtype=np.uint8)
    within[1:-3, 5:-4] = whole
    channels_first = np.ascontiguousarray(whole.transpose(2, 0, 1)).transpose(1, 2, 0)
    for pixels in (whole, channels_first, within[1:-3, 5:-4]):
        before = pixels.copy()
        found = to_pixels(pixels, spec)
        assert torch.equal(found, expected)
        assert found.permute(1, 2, 0).is_contiguous()
        assert np.array_equal(pixels, before)


def test_an_image_of_the_models_size_is_left_alone() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    spec = InputSpec(height=16, width=20)
    np.testing.assert_array_equal(
        to_pixels(Image.fromarray(pixels), spec).numpy(), pixels.transpose(2, 0, 1)
    )


def test_shrinking_averages() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 255
    image = Image.fromarray(np.stack([board] * 3, axis=2).astype(np.uint8))
    pixels = to_pixels(image, InputSpec(height=16, width=16))
    assert (pixels.float() - 127.5).abs().max() < 10


SPECS = {
    "ImageNet": InputSpec(),
    "Caffe": InputSpec(
        colour_order="bgr", value_scale=1, mean=(103.939, 116.779, 123.68), std=(1, 1, 1)
    ),
    "Caffe, 0..1": InputSpec(colour_order="bgr", mean=(0.4, 0.45, 0.5), std=(0.1, 0.2, 0.3)),
    "ViT": InputSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
}


def normalise_slowly(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """[N, 3, H, W] of RGB 0..255, one value at a time."""
    out = np.zeros(pixels.shape)
    for n, channel, y, x in np.ndindex(*pixels.shape):
        taken = 2 - channel if spec.colour_order == "bgr" else channel
        value = float(pixels[n, taken, y, x]) * spec.value_scale
        out[n, channel, y, x] = (value - spec.mean[channel]) / spec.std[channel]
    return out


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalise_is_its_slow_transcription(spec: InputSpec, dtype: torch.dtype) -> None:
    pixels = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (2, 3, 4, 5))).to(dtype)
    before = pixels.clone()
    result = normalise(pixels, spec)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(
        result.numpy(), normalise_slowly(pixels.numpy(), spec), rtol=1e-5, atol=1e-5
    )
    assert torch.equal(pixels, before)


def test_caffes_channels_by_hand() -> None:
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    blue_green_red = normalise(red, SPECS["Caffe"]).flatten().tolist()
    assert blue_green_red == pytest.approx([-103.939, -116.779, 255 - 123.68], abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"height": 8}, "height"),
        ({"std": [0.1, 0, 0.1]}, "std"),
        ({"std": [0.1, 0.1]}, "std"),
        ({"value_scale": 0}, "value_scale"),
        ({"colour_order": "grb"}, "colour_order"),
        ({"mean": [0.1, float("nan"), 0.1]}, "mean"),
    ],
    ids=lambda value: str(value),
)
def test_a_spec_that_cannot_be_used_is_refused(settings: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}"):
        parse(InputSpec, settings, where="bundle.json")
