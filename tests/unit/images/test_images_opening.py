"""Only the listed formats are opened, and no other program is started."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from manylabel.data.doctor.look import look
from manylabel.data.writers.references import image_file, upright_size
from manylabel.errors import ImageError
from manylabel.images import FORMATS, load_rgb, open_image, read_header

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n{} loop\n"


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that appears if anything starts Ghostscript or djpeg."""
    mark, programs = tmp_path / "called", tmp_path / "programs"
    programs.mkdir()
    for name in ("gs", "gswin64c", "djpeg", "jpegtran", "xv", "display"):
        (programs / name).write_text(f"#!/bin/sh\necho {name} >> {mark}\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it is looked up once
    return mark


@pytest.mark.parametrize("name", ["a.jpg", "a.eps", "a.png", "a.tif"])
def test_postscript_is_never_run(called: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(POSTSCRIPT)
    for read in (load_rgb, open_image, look, read_header, upright_size):
        with pytest.raises(ImageError, match="not an image that can be read"):
            read(path)
    with pytest.raises(ImageError, match="not an image of a known format"):
        image_file(path.rename(tmp_path / "no-ending"))
    assert not called.exists()


def test_what_pillow_has_opened_is_not_run_either(called: Path) -> None:
    image = Image.open(io.BytesIO(POSTSCRIPT))
    with pytest.raises(ImageError, match="of the format EPS, which is not read"):
        load_rgb(image)
    assert not called.exists()


@pytest.mark.parametrize("kind", ["ICO", "ICNS", "PCX", "TGA", "SGI", "MSP", "SPIDER", "DDS"])
def test_other_formats_of_pillow_are_not_opened(kind: str) -> None:
    file = io.BytesIO()
    image = Image.new("1" if kind == "MSP" else "F" if kind == "SPIDER" else "RGB", (16, 16))
    image.save(file, kind)
    with pytest.raises(ImageError, match="not an image that can be read"):
        load_rgb(file.getvalue())


def test_a_file_of_no_format_is_told_all_formats() -> None:
    with pytest.raises(ImageError) as caught:
        open_image(b"no image")
    assert caught.value.fix == f"Give {', '.join([*FORMATS][:-1])} or HEIF."
    assert caught.value.fix.startswith("Give JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, AVIF")


def test_heif_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manylabel.images.opening.find_spec", lambda name: None)
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50))
    with pytest.raises(ImageError, match="needs pillow-heif") as caught:
        load_rgb(path)
    assert caught.value.fix == "Install it: pip install pillow-heif."
    assert caught.value.where == str(path)


@pytest.mark.parametrize("size", [(60, 40), (33, 47)])
def test_heif_is_opened_where_it_can_be(size: tuple[int, int]) -> None:
    import pillow_heif

    colour = Image.new("RGB", size, (200, 30, 10))
    file = io.BytesIO()
    pillow_heif.from_pillow(colour).save(file, quality=90)
    pixels = load_rgb(file.getvalue())
    assert pixels.shape == (size[1], size[0], 3)
    assert np.abs(pixels.astype(int) - (200, 30, 10)).max() < 8


def test_opening_imports_no_other_format() -> None:
    """Pillow would import all its formats to find one that is missing."""
    program = (
        "import sys\n"
        "from manylabel.errors import ImageError\n"
        "from manylabel.images import load_rgb\n"
        "try: load_rgb(b'no image at all')\n"
        "except ImageError: print([n for n in sys.modules if 'Eps' in n or 'Wmf' in n])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_header_gives_format_and_upright_size(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo"
    Image.new("RGB", (40, 30)).save(path, kind, exif=exif)
    header = read_header(path)
    assert (header.format, header.size) == (kind, open_image(path).size)
    assert header.size == (30, 40)
    assert read_header(path.read_bytes()) == header
