"""Which images arguments name, and what is said about the rest."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from manylabel.cli.image_files import find_images
from manylabel.errors import DataError


@pytest.fixture
def photos(make_image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images and other things, in the working directory."""
    for seed, name in enumerate(["a.png", "b.JPG", "sub/c.png", "sub/deep/d.webp", ".hidden.png"]):
        make_image(tmp_path / "photos" / name, seed)
    make_image(tmp_path / "photos" / ".cache" / "e.png", 9)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 8), "teal").save(file, kind)
    return file.getvalue()


def told(paths: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    find_images(paths).tell()
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["photos"], ["a.png", "b.JPG", "sub/c.png", "sub/deep/d.webp"]),
        (["photos/sub/"], ["sub/c.png", "sub/deep/d.webp"]),
        (["photos/b.JPG", "photos/a.png"], ["b.JPG", "a.png"]),
        (["photos/*.png"], ["a.png"]),
        (["photos/*"], ["a.png", "b.JPG", "sub/c.png", "sub/deep/d.webp"]),
        (["photos/**/*.[pw]*"], ["a.png", "sub/c.png", "sub/deep/d.webp"]),
        (["photos/a.png", "photos"], ["a.png", "b.JPG", "sub/c.png", "sub/deep/d.webp"]),
        (["photos/notes.txt"], ["notes.txt"]),  # named by itself: it is reported when it is opened
        (["photos/missing.png"], ["missing.png"]),
        (["nothing/*", "photos/a.png"], ["a.png"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_files_folders_and_patterns(photos: Path, paths: list[str], found: list[str]) -> None:
    assert find_images(paths).images == [Path("photos") / name for name in found]


def test_a_file_whose_name_is_a_pattern_is_a_file(photos: Path, make_image) -> None:
    make_image(photos / "[x].png")
    assert find_images(["photos/[x].png"]).images == [Path("photos/[x].png")]


def test_every_ending_is_taken_in_every_case(tmp_path: Path, capsys) -> None:
    """Those that cameras, phones and browsers give, written out here."""
    endings = [
        *("jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "bmp", "webp", "tif", "tiff"),
        *("avif", "heic", "heif", "hif", "jp2", "j2k", "jpx"),
        *("ppm", "pgm", "pbm", "pnm", "pfm", "mpo"),
    ]
    names = [f"a.{kind}" for ending in endings for kind in (ending, ending.upper())]
    names += ["b.JpEg", "c.d.HeiC"]
    for name in names:
        (tmp_path / name).touch()
    assert sorted(path.name for path in find_images([str(tmp_path)]).images) == sorted(names)
    assert told([str(tmp_path)], capsys) == []


def test_a_file_that_begins_like_an_image_is_taken(tmp_path: Path, capsys) -> None:
    images = {
        "IMG_1": "JPEG",
        "b.jpg_large": "JPEG",
        "c.image": "PNG",
        "d.x": "WEBP",
        "e.2024": "GIF",
        "f.dib": "BMP",
        "g": "AVIF",
        "h.jpeg2000": "JPEG2000",
        "scan": "TIFF",
    }
    for name, kind in images.items():
        (tmp_path / name).write_bytes(encoded(kind))
    others = {
        "raw.nef": encoded("TIFF"),  # raw files of cameras begin like this, too
        "film.thm": encoded("JPEG"),
        "half.jpg.crdownload": encoded("JPEG")[:400],
        "BMW": b"BMW 320, 4 doors, and other words",
        "mail.txt": b"GIF, PNG and JPEG",
        "film.mp4": b"\0\0\0\x18ftypmp42" + bytes(60),
        "sound.wav": b"RIFF\0\0\0\0WAVEfmt ",
        "empty": b"",
    }
    for name, data in others.items():
        (tmp_path / name).write_bytes(data)
    found = find_images([str(tmp_path)])
    assert [path.name for path in found.images] == sorted(images)
    passed, taken = told([str(tmp_path)], capsys)
    assert passed == (
        "8 files were passed over: 2 without an ending, 1 .crdownload, 1 .mp4, 1 .nef, 1 .thm, "
        "1 .txt, 1 .wav."
    )
    assert taken.startswith("9 files were taken by the content, not by the ending: ")
    assert taken.endswith(" and 6 more.")
    assert all(f"/{name}" in taken for name in sorted(images)[:3])


def test_links_and_pipes_are_told(photos: Path, capsys) -> None:
    (photos / "around").symlink_to(photos, target_is_directory=True)
    (photos / "link.png").symlink_to(photos / "a.png")
    os.mkfifo(photos / "pipe")
    assert Path("photos/link.png") in find_images(["photos"]).images
    assert told(["photos", "photos"], capsys) == [
        "3 files were passed over: 1 .txt, 1 hidden, 1 without an ending.",
        "2 folders were passed over: photos/.cache (hidden), photos/around (a link).",
    ]


def test_what_a_pattern_matches_beside_images_is_told(photos: Path, capsys) -> None:
    assert told(["photos/n*", "photos/a*"], capsys)[1:] == ["1 file was passed over: 1 .txt."]
    assert told(["photos/a*"], capsys) == []


def test_names_cannot_command_a_terminal(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.\x1b[31m").touch()
    (tmp_path / ".b\x1b[31m").mkdir()
    (tmp_path / "a.png").touch()
    lines = told([str(tmp_path)], capsys)
    assert len(lines) == 2
    assert all("\\x1b[31m" in line for line in lines)


@pytest.mark.parametrize("path", ["photos/*.gif", "empty"])
def test_a_path_that_yields_nothing_is_told(photos: Path, path: str) -> None:
    Path("empty").mkdir()
    found = find_images(["photos/a.png", path])
    found.require_any()
    with pytest.raises(DataError) as caught:
        found.require_all()
    assert caught.value.where == path
    with pytest.raises(DataError):
        find_images([path]).require_any()


def test_a_pattern_in_the_wrong_case_is_told_so(photos: Path) -> None:
    (error,) = find_images(["photos/*.jpg"]).nothing
    assert (
        error.fix == "Upper and lower case count in a pattern. There is photos/b.JPG, for instance."
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_refused(photos: Path) -> None:
    (photos / "sub").chmod(0)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            find_images(["photos"])
    finally:
        (photos / "sub").chmod(0o755)
