"""Arrays and tensors as images: what is taken, and what the errors say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manylabel.errors import ImageError
from manylabel.images import Crop, load_rgb
from manylabel.images.arrays import as_source, name_of

RGB = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
PLANES = torch.from_numpy(RGB.copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    "picture",
    [RGB, RGB[::-1][::-1], PLANES, PLANES.float() / 255, PLANES.double().requires_grad_() / 255],
    ids=["array", "view", "uint8", "float", "with gradients"],
)
def test_pixels_stay_as_they_are(picture: object) -> None:
    np.testing.assert_array_equal(load_rgb(as_source(picture)), RGB)


@pytest.mark.parametrize("picture", [RGB[..., 0], PLANES[:1]], ids=["array", "tensor"])
def test_greys(picture: object) -> None:
    np.testing.assert_array_equal(load_rgb(as_source(picture)), np.repeat(RGB[..., :1], 3, axis=2))


def test_half_precision_is_rounded() -> None:
    pixels = load_rgb(as_source((PLANES.float() / 255).to(torch.bfloat16)))
    assert abs(pixels.astype(int) - RGB).max() <= 1


def test_what_is_opened_as_before_stays_the_same(tmp_path: Path) -> None:
    class Named:
        def __fspath__(self) -> str:
            return "photo.jpg"

    for source in ("a.jpg", b"data", tmp_path, Image.new("L", (2, 2)), Crop(tmp_path, 0, 0, 9, 9)):
        assert as_source(source) is source
    assert as_source(Named()) == Path("photo.jpg")


@pytest.mark.parametrize(
    ("picture", "what", "fix"),
    [
        (RGB / 255, "float64 [4, 5, 3]", "numpy.rint(array * 255).astype(numpy.uint8)"),
        (RGB.astype(np.float32), "float32 [4, 5, 3]", "numpy.rint(array).astype(numpy.uint8)"),
        (RGB.astype(np.int64), "int64 [4, 5, 3]", "uint8 [H, W, 3]"),
        (RGB[..., 0] > 9, "bool [4, 5]", "uint8 [H, W]"),
        (RGB.transpose(2, 0, 1), "uint8 [3, 4, 5]", "array.transpose(1, 2, 0)"),
        (np.dstack([RGB, RGB[..., :1]]), "uint8 [4, 5, 4]", "array[..., :3]"),
        (RGB[None], "uint8 [1, 4, 5, 3]", "list(array)"),
        (RGB[0, 0], "uint8 [3]", "uint8 [H, W, 3]"),
        (RGB[:0], "uint8 [0, 5, 3]", "uint8 [H, W, 3]"),
        (RGB.astype(object), "object [4, 5, 3]", "uint8"),
        (PLANES.float(), "float32 with values from", "before it is normalised"),
        (PLANES.float() / 128 - 1, "float32 with values from", "float with 0..1"),
        (PLANES * torch.nan, "float32 with values from nan", "float with 0..1"),
        (PLANES.long(), "int64 [3, 4, 5]", "uint8 with 0..255"),
        (PLANES.permute(1, 2, 0), "uint8 [4, 5, 3]", "tensor.permute(2, 0, 1)"),
        (PLANES[None], "uint8 [1, 3, 4, 5]", "list(tensor)"),
        (PLANES[:2], "uint8 [2, 4, 5]", "[3, H, W]"),
        (PLANES[0], "uint8 [4, 5]", "[3, H, W]"),
        (PLANES[:, :0], "uint8 [3, 0, 5]", "[3, H, W]"),
        (PLANES > 4, "bool [3, 4, 5]", "uint8 with 0..255"),
        (None, "of the type NoneType", "Give a path"),
        (3, "of the type int", "Give a path"),
        ([RGB], "of the type list", "Give a path"),
        ({"image": RGB}, "of the type dict", "Give a path"),
    ],
    ids=str,
)
def test_nothing_is_guessed(picture: object, what: str, fix: str) -> None:
    with pytest.raises(ImageError) as caught:
        as_source(picture, "image 7")
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.where == "image 7"


def test_names(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        assert name_of(opened, "image 1") == str(tmp_path / "a.png")
    assert name_of(tmp_path) == str(tmp_path)
    assert name_of("a.jpg", "image 1") == "a.jpg"
    for nameless in (RGB, b"", Image.new("L", (2, 2)), PLANES, None):
        assert (name_of(nameless), name_of(nameless, "image 4")) == ("image", "image 4")


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, numpy as np\n"
        "from manylabel.images.arrays import as_source\n"
        "as_source(np.zeros((4, 4, 3), np.uint8))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
