"""What libraries say about odd images does not reach the terminal."""

from __future__ import annotations

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from manylabel.images import load_rgb, prepared
from manylabel.images.quiet import _LIBTIFF


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def test_warnings_of_odd_files_are_not_printed() -> None:
    """Warnings are errors in these tests."""
    damaged = b"Exif\0\0II*\0\x08\0\0\0\x05\0" + bytes(9)
    exif = saved(Image.new("RGB", (30, 20)), "JPEG", exif=damaged)
    with pytest.warns(UserWarning, match="EXIF"):
        Image.open(io.BytesIO(exif)).getexif()
    before = warnings.filters[:]
    with ThreadPoolExecutor(4) as pool:
        assert all(pixels.shape == (20, 30, 3) for pixels in pool.map(load_rgb, [exif] * 20))
    assert warnings.filters == before


def test_other_warnings_are_not_silenced() -> None:
    def warn(pixels: np.ndarray) -> None:
        warnings.warn("of the caller", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="of the caller"):
        prepared(saved(Image.new("RGB", (9, 9)), "PNG"), warn)


def test_damaged_fax_images_are_not_told_row_by_row(capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(PIL.__file__).parent
    if not any(found for pattern in _LIBTIFF for found in folder.glob(pattern)):
        pytest.skip("libtiff is not a library of its own")
    noise = np.random.default_rng(0).random((99, 99)) < 0.5
    data = bytearray(saved(Image.fromarray(noise), "TIFF", compression="group4"))
    data[200:600:7] = bytes(len(range(200, 600, 7)))
    assert load_rgb(bytes(data)).shape == (99, 99, 3)
    assert capfd.readouterr().err == ""
