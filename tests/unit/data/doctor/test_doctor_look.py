"""One reduced look finds every fault that opening the image in full size finds, and no other."""

import io
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from manylabel.data.doctor.look import look, look_at_all
from manylabel.data.records import Record, Records
from manylabel.errors import ImageError
from manylabel.images import Crop, FilePart, open_image
from manylabel.labels import LabelSpace

quick = settings(max_examples=300, deadline=None, database=None, derandomize=True)


def photo(seed=0, size=(200, 150)):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def encoded(image, kind="JPEG", **settings):
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


JPEGS = {
    "baseline": encoded(photo(), quality=85),
    "progressive": encoded(photo(), quality=85, progressive=True),
    "grey": encoded(photo().convert("L")),
    "cmyk": encoded(photo().convert("CMYK")),
    "restarts": encoded(photo(), quality=85, restart_marker_rows=1),
}


def fault(opener, source):
    try:
        opener(source)
    except ImageError as error:
        return error.what, error.fix
    return None


def same_verdict(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    expected, found = fault(open_image, path), fault(look, path)
    assert found == expected
    return found


@pytest.mark.parametrize("kind", JPEGS)
def test_truncation_is_noticed_wherever_it_happens(kind, tmp_path):
    data = JPEGS[kind]
    faults = 0
    for keep in range(2, len(data), max(1, len(data) // 60)):
        faults += same_verdict(tmp_path, data[:keep]) is not None
    assert same_verdict(tmp_path, data) is None
    assert faults > 50, "the files were hardly damaged"


@quick
@given(kind=st.sampled_from(sorted(JPEGS)), seed=st.integers(0, 10**6), cut=st.booleans())
def test_mutated_files_get_the_verdict_of_full_size(tmp_path_factory, kind, seed, cut):
    draw = random.Random(seed)
    data = bytearray(JPEGS[kind])
    for _ in range(draw.randint(1, 4)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    if cut:
        del data[draw.randrange(len(data)) :]
    same_verdict(tmp_path_factory.getbasetemp(), bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"\xff\xd8\xff", id="JPEG's first bytes"),
        pytest.param(encoded(photo(size=(1, 40))), id="thin"),
        pytest.param(encoded(photo(size=(40, 1)), "PNG"), id="flat PNG"),
        pytest.param(encoded(photo(), "PNG")[:-2000], id="cut PNG"),
    ],
)
def test_other_faults_are_worded_as_everywhere(data, tmp_path):
    assert same_verdict(tmp_path, data) is not None


def test_a_missing_file_is_told_with_its_path(tmp_path):
    with pytest.raises(ImageError, match="cannot be read") as caught:
        look(tmp_path / "gone.jpg")
    assert caught.value.where == str(tmp_path / "gone.jpg")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEGS["baseline"])
    monkeypatch.setattr("manylabel.images.limits.MAX_PIXELS", 200 * 150 - 1)
    with pytest.raises(ImageError, match="more than 29,999 pixels"):
        look(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_thumbnail_are_of_the_upright_image(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    photo(size=(400, 260)).save(path, quality=95, exif=exif)
    seen, upright = look(path), open_image(path)
    assert seen.size == upright.size
    whole = np.asarray(
        upright.resize((16, 16), Image.Resampling.BILINEAR).convert("L"), dtype=float
    )
    assert np.abs(seen.luma - whole).mean() < 1


def test_bytes_of_a_part_are_those_of_the_file(tmp_path):
    (tmp_path / "a.jpg").write_bytes(JPEGS["baseline"])
    (tmp_path / "all.tar").write_bytes(b"x" * 512 + JPEGS["baseline"] + b"y" * 9)
    part = FilePart(tmp_path / "all.tar", 512, len(JPEGS["baseline"]), "a.jpg")
    assert look(part).digest == look(tmp_path / "a.jpg").digest


def test_a_crop_is_judged_by_its_pixels(tmp_path):
    path = tmp_path / "a.png"
    photo().save(path)
    left, again, right = (look(Crop(path, x, 0, x + 50, 80)) for x in (0, 0, 90))
    assert left.size == (50, 80)
    assert left.digest == again.digest != right.digest
    with pytest.raises(ImageError, match="Only 0x80 pixels of the box"):
        look(Crop(path, 500, 0, 600, 80))


@pytest.mark.parametrize("workers", [1, 3])
def test_looks_are_in_order_and_tell_of_bad_images(workers, tmp_path):
    items = []
    for i in range(70):
        path = tmp_path / f"{i}.png"
        photo(i, size=(20 + i, 30)).save(path)
        items.append(Record(path.name, path, np.ones(1, dtype=np.int8)))
    items[40].image.unlink()
    done = []
    records = Records.of(LabelSpace(["x"]), tuple(items), "photos.csv")
    looks = look_at_all(records, workers=workers, on_progress=done.append)
    assert looks.sizes[:, 0].tolist() == [0 if i == 40 else 20 + i for i in range(70)]
    assert looks.good().tolist() == [i for i in range(70) if i != 40]
    assert list(looks.errors) == [40]
    assert looks.digests[40] == b""
    assert done == [32, 64, 70]
    for i in (0, 69):
        assert np.array_equal(looks.luma[i], look(items[i].image).luma)
