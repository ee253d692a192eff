"""The scenes of the benchmark of shortcuts have the shortcut that it says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import planted_shortcut
from benchmarks.planted_shortcut import COMPANION, LABEL, SPACE, records_of
from manylabel.data.records import Records
from manylabel.images import open_image


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Records]:
    folder = tmp_path_factory.mktemp("stickers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planted_shortcut, "COUNTS", {"train": 120, "val": 2, "test": 20})
        return records_of(0, folder)


def stickers(records: Records, *, flower: bool) -> float:
    """The share of images with a sticker, of those with or without a flower."""
    column = records.targets[:, SPACE.index(LABEL)] == flower
    return float((records.targets[column, SPACE.index(COMPANION)] == 1).mean())


def test_stickers_go_with_flowers_only_where_it_is_planted(data):
    planted, control = (data[name].split("train") for name in ("with flowers", "anywhere"))
    assert stickers(planted, flower=True) > 0.85
    assert stickers(planted, flower=False) < 0.2
    assert abs(stickers(control, flower=True) - stickers(control, flower=False)) < 0.3
    counts = [(each.targets[:, SPACE.index(COMPANION)] == 1).sum() for each in (planted, control)]
    assert abs(int(counts[0]) - int(counts[1])) < 20


def test_stickers_follow_no_other_label(data):
    """A boat is drawn first: with the seed of the scene, stickers would be where boats are.

    By chance, the share beside boats differs with a standard error of about 0.1.
    """
    found = data["anywhere"].split("train").targets == 1
    sticker, boat = found[:, SPACE.index(COMPANION)], found[:, SPACE.index("boat")]
    assert abs(sticker[boat].mean() - sticker[~boat].mean()) < 0.3


def test_both_have_the_same_test_split_and_the_same_other_labels(data):
    planted, control = data.values()
    assert planted.split("test").fingerprint() == control.split("test").fingerprint()
    others = np.arange(len(SPACE)) != SPACE.index(COMPANION)
    assert (planted.targets[:, others] == control.targets[:, others]).all()


def test_a_sticker_is_in_its_box_and_not_on_the_flower(data):
    seen = 0
    for record in data["with flowers"].split("train"):
        boxes = {box.label: box for box in record.boxes}
        if {LABEL, COMPANION} <= set(boxes):
            one, other = boxes[COMPANION], boxes[LABEL]
            apart = one.right <= other.left or other.right <= one.left
            assert apart or one.bottom <= other.top or other.bottom <= one.top
            pixels = np.asarray(open_image(record.image)).astype(int)
            middle = pixels[int((one.top + one.bottom) * 64), int(one.left * 128) + 9]
            assert middle[0] - middle[1] > 150  # magenta
            seen += 1
    assert seen > 10
