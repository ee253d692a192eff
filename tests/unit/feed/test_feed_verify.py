import numpy as np
import pytest
from PIL import Image

from manylabel.data.records import Record, Records
from manylabel.feed.verify import find_bad_images, refusal, without
from manylabel.labels import LabelSpace


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


def test_without_the_bad_all_is_good(records):
    good = without(records, find_bad_images(records, workers=2))
    assert list(good.keys) == [f"{i}.png" for i in (0, 1, 2, 4, 6, 7, 9)]
    assert good.notes == ("read", "Images that cannot be decoded, left out: 3")
    assert find_bad_images(good, workers=2) == []
    assert without(good, []) is good
