import numpy as np
import pytest
from hostile_images import hostile_images
from PIL import Image

from manylabel.data.doctor.look import look_at_all
from manylabel.data.records import Record, Records
from manylabel.feed.cache import fill_cache, plan_cache
from manylabel.feed.verify import find_bad_images, refusal, without
from manylabel.labels import LabelSpace
from manylabel.preprocess import InputSpec


@pytest.fixture
def records(tmp_path):
    """Ten images; 3 is empty, 5 cut short, 8 missing."""
    items = []
    for i in range(10):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.full((8, 8, 3), i, dtype=np.uint8)).save(path)
        items.append(Record(path.name, path, np.ones(1, dtype=np.int8)))
    items[3].image.write_bytes(b"")
    items[5].image.write_bytes(items[5].image.read_bytes()[:40])
    items[8].image.unlink()
    return Records.of(LabelSpace(["x"]), tuple(items), "photos.csv", ("read",))


@pytest.mark.parametrize("workers", [1, 4])
def test_bad_images_in_order_with_progress(records, workers):
    done = []
    bad = find_bad_images(records, workers=workers, on_progress=done.append)
    assert [error.where for error in bad] == [str(records[i].image) for i in (3, 5, 8)]
    assert "empty" in bad[0].what
    assert done == list(range(1, 11))


def test_bad_images_stop_a_run_with_their_reasons(records):
    told = refusal(records, find_bad_images(records, workers=2))
    assert told.what == "3 of 10 images cannot be used:"
    assert "3.png: The image file is empty (0 bytes)." in told.details[0]
    assert len(told.details) == 3
    assert told.where == "photos.csv"
    assert "--skip-bad-images" in told.fix


def test_only_the_first_five_are_listed(records):
    for item in records:
        item.image.write_bytes(b"")
    told = refusal(records, find_bad_images(records, workers=2))
    assert str(told).count(".png:") == 5
    assert told.details[-1] == "and 5 more"


def test_no_file_ends_the_check_of_others(records, tmp_path):
    """Pipes, devices, bombs and programs: all who check or keep images tell the same of them."""
    said = hostile_images(tmp_path / "hostile")
    bad = [Record(path.name, path, np.ones(1, dtype=np.int8)) for path in said]
    every = Records.of(LabelSpace(["x"]), (*records, *bad), "photos.csv", ())
    checked = find_bad_images(every, workers=4)
    looked = look_at_all(every, workers=2).errors
    plan = plan_cache(every, InputSpec(height=16, width=16), tmp_path / "cache")
    cached = fill_cache(plan, workers=4)
    assert [str(error) for error in checked[3:]] == [str(looked[10 + i]) for i in range(len(bad))]
    assert [str(error) for error in cached] == [str(error) for error in checked]
    assert len(checked) == 3 + len(said)
    for error, (path, what) in zip(checked[3:], said.items(), strict=True):
        assert error.where == str(path)
        assert what in error.what


def test_without_the_bad_all_is_good(records):
    good = without(records, find_bad_images(records, workers=2))
    assert list(good.keys) == [f"{i}.png" for i in (0, 1, 2, 4, 6, 7, 9)]
    assert good.notes == ("read", "Images that cannot be decoded, left out: 3")
    assert find_bad_images(good, workers=2) == []
    assert without(good, []) is good
