"""What is read as the file of an image, and what is not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from manylabel.data.doctor.look import look
from manylabel.data.writers.references import image_file
from manylabel.errors import ImageError
from manylabel.images import MAX_FILE, FilePart, load_rgb, open_image, read_header

READERS = (load_rgb, open_image, look, read_header, image_file)


def refused_by_all(place: Path | FilePart, what: str) -> None:
    for read in READERS:
        with pytest.raises(ImageError, match=what) as caught:
            read(place)
        assert caught.value.where == str(place)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_what_is_no_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, link = tmp_path / "pipe.jpg", tmp_path / "link.jpg"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        listener.bind("socket.jpg")
        for path in (pipe, link, tmp_path / "socket.jpg"):
            refused_by_all(path, "not an ordinary file")
        refused_by_all(FilePart(pipe, 0, 10, "a.jpg"), "not an ordinary file")


def test_folders_missing_files_and_loops(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    refused_by_all(tmp_path, "not an ordinary file")
    refused_by_all(tmp_path / "missing.jpg", "No such file")
    refused_by_all(tmp_path / "loop.jpg", "symbolic links")
    for read in (load_rgb, open_image, look):
        with pytest.raises(ImageError):
            read(Path("a\0b.jpg"))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(100 * 10**9)
    for read in (load_rgb, open_image, look, image_file):
        with pytest.raises(ImageError, match="has 100,000 MB, and 537 MB are allowed"):
            read(path)
        with pytest.raises(ImageError, match="are allowed"):
            read(FilePart(path, 512, MAX_FILE + 1, "a.jpg"))


def test_a_link_to_an_image_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "photo.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "photo.png")
    assert load_rgb(tmp_path / "link.png").shape == (20, 30, 3)


def test_a_part_ends_with_its_file(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "photo.png")
    size = (tmp_path / "photo.png").stat().st_size
    assert load_rgb(FilePart(tmp_path / "photo.png", 0, size + 1000, "a.png")).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="empty"):
        load_rgb(FilePart(tmp_path / "photo.png", size, 10, "a.png"))
