"""Masks of a data set: names of classes, shapes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manylabel.data.records import Record
from manylabel.errors import DataError
from manylabel.explain.scores.masks import MaskClasses
from manylabel.images import Crop
from manylabel.labels import LabelSpace

LABELS = LabelSpace(["cat", "dog", "owl"])


def classes(tmp_path: Path, text: str) -> MaskClasses:
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8")
    return MaskClasses.read(tmp_path / "classes.txt")


def test_the_first_line_is_class_0(tmp_path):
    found = classes(tmp_path, "null\r\ncat\nbig tree\n\n")
    assert found.names == ("null", "cat", "big tree")
    assert found.of(LABELS) == {"cat": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("null\n\ncat\n", "Line 2 is empty"),
        ("", "Line 1 is empty"),
        ("null\ncat\ncat\n", "more than once: cat"),
    ],
)
def test_names_that_are_not_sure_are_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        classes(tmp_path, text)


def test_classes_of_other_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match="No label is the name of a class"):
        classes(tmp_path, "null\nCat\n").of(LABELS)


def record(
    tmp_path: Path, mask: np.ndarray, image: tuple[int, int], crop: tuple[float, ...] | None = None
) -> Record:
    """A record with a mask, and with an image of some height and width."""
    Image.fromarray(np.zeros((*image, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "m.png")
    place = Crop(tmp_path / "a.png", *crop) if crop else tmp_path / "a.png"
    return Record("a", place, np.array([1, 0, 0], dtype=np.int8), mask=tmp_path / "m.png")


HALVES = np.repeat([[1, 2]], 10, axis=0).repeat(10, axis=1)
"""[10, 20]: class 1 on the left, class 2 on the right."""


@pytest.mark.parametrize("image", [(10, 20), (20, 40), (100, 200), (15, 30), (15, 31), (5, 10)])
def test_a_mask_of_the_same_shape_covers_the_image(tmp_path, image):
    found = classes(tmp_path, "null\ncat\ndog")
    regions = found.regions(record(tmp_path, HALVES, image), found.of(LABELS))
    assert regions.labels() == {"cat", "dog"}
    assert regions.cover("cat", 4).tolist() == [[1, 1, 0, 0]] * 4


@pytest.mark.parametrize("image", [(20, 10), (10, 10), (10, 23), (100, 240), (14, 20)])
def test_a_mask_of_another_shape_is_refused(tmp_path, image):
    found = classes(tmp_path, "null\ncat\ndog")
    with pytest.raises(DataError, match="20x10 pixels and its image"):
        found.regions(record(tmp_path, HALVES, image), found.of(LABELS))


def test_the_mask_of_a_crop_has_the_shape_of_the_crop(tmp_path):
    found = classes(tmp_path, "null\ncat\ndog")
    whole = record(tmp_path, HALVES, (50, 50), crop=(10, 10, 30, 20))
    assert found.regions(whole, found.of(LABELS)).labels() == {"cat", "dog"}


def test_a_class_without_a_name_is_refused_but_255_is_unlabelled(tmp_path):
    found = classes(tmp_path, "null\ncat")
    with pytest.raises(DataError, match=r"class 2, and the names end at class 1"):
        found.regions(record(tmp_path, HALVES, (10, 20)), found.of(LABELS))
    void = np.where(HALVES == 2, 255, HALVES)
    regions = found.regions(record(tmp_path, void, (10, 20)), found.of(LABELS))
    assert regions.cover("cat", 1).tolist() == [[0.5]]
