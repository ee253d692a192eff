"""The formats, their endings and their names."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from manylabel.images import ENDINGS, FORMATS, has_image_ending, usual_ending

WRITTEN = [name for name in FORMATS if name != "HEIF"]  # it needs a package


def pillow_name(name: str) -> str:
    return name.upper().replace(" ", "")


@pytest.mark.parametrize("name", WRITTEN)
def test_a_format_has_the_endings_that_pillow_gives_it(name: str) -> None:
    registered = Image.registered_extensions()
    several = {"MPO"} if name == "JPEG" else set()
    assert {registered[ending] for ending in FORMATS[name]} - several == {pillow_name(name)}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_usual_ending_of_a_written_file(name: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 8)).save(file, pillow_name(name))
    assert usual_ending(Image.open(file).format) == FORMATS[name][0]


def test_what_is_no_format_has_no_ending() -> None:
    assert usual_ending("MPO") == ".jpg"  # several JPEGs in one file
    assert usual_ending("HEIF") == ".heic"
    assert usual_ending("EPS") is None
    assert usual_ending(None) is None


def test_names_with_the_ending_of_an_image() -> None:
    assert all(has_image_ending(f"a{ending}") for ending in ENDINGS)
    assert has_image_ending(Path("photos/A.JPG"))
    for name in ("a.txt", "jpg", ".jpg", "a.jpg.txt", "a.jpg/b", ""):
        assert not has_image_ending(name)
