from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from manylabel.data.synthetic.layout import sample_scene
from manylabel.data.synthetic.picture import contact_sheet, render_scene
from manylabel.data.synthetic.rules import RULES
from manylabel.data.synthetic.scene import SIDE, Scene


def test_boxes_lie_in_the_image_and_in_the_layout() -> None:
    slack = 1.5 / SIDE
    for index in range(120):
        scene = sample_scene(1, "val", index)
        items = [item for item in scene.items if item.label]
        boxes = render_scene(scene).boxes
        assert [box.label for box in boxes] == [item.label for item in items]
        for box, item in zip(boxes, items, strict=True):
            assert 0 <= box.left < box.right <= 1
            assert 0 <= box.top < box.bottom <= 1
            assert box.left >= item.left / SIDE - slack
            assert box.top >= item.top / SIDE - slack
            assert box.right <= item.right / SIDE + slack
            assert box.bottom <= item.bottom / SIDE + slack


def changed(first: Scene, second: Scene, size: int) -> np.ndarray:
    """Where two scenes of one seed look different: bool [size, size]."""
    a, b = (np.asarray(render_scene(scene, size).image, dtype=int) for scene in (first, second))
    return np.abs(a - b).max(axis=2) > 0


def test_box_is_where_the_picture_changes_with_the_object() -> None:
    size = 128
    for index in range(25):
        scene = sample_scene(2, "train", index)
        for item in [item for item in scene.items if item.label and not item.hidden]:
            alone = replace(scene, items=(item,))
            (box,) = render_scene(alone, size).boxes
            rows, columns = np.nonzero(changed(alone, replace(scene, items=()), size))
            seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            stated = np.array([box.left, box.top, box.right, box.bottom]) * size
            assert np.abs(stated - seen).max() <= 1.5, item


def test_hidden_objects_are_hidden_by_the_declared_share() -> None:
    size, declared, measured = 256, [], []
    for index in range(160):
        scene = sample_scene(3, "train", index)
        for item, thicket in zip(scene.items, scene.items[1:], strict=False):
            if not item.hidden:
                continue
            assert thicket.shape == "thicket"
            nothing, alone, both = (
                replace(scene, items=items) for items in ((), (item,), (item, thicket))
            )
            whole = changed(alone, nothing, size)
            covered = whole & changed(both, alone, size)
            declared.append(item.hidden)
            measured.append(covered.sum() / whole.sum())
    gap = np.array(measured) - np.array(declared)
    assert len(gap) > 10
    assert np.abs(gap).max() < 0.08
    assert abs(gap.mean()) < 0.02


@pytest.mark.parametrize(("name", "other"), [("bird", "fish"), ("cloud", "pond")])
def test_ambiguous_shape_is_drawn_alike(name: str, other: str) -> None:
    rule, rival = (next(r for r in RULES if r.name == n) for n in (name, other))
    assert (rule.shape, rule.sizes, rule.shy) == (rival.shape, rival.sizes, rival.shy)
    scenes = (sample_scene(5, "train", index) for index in count())
    scene = next(scene for scene in scenes if name in scene.labels)
    renamed = tuple(
        replace(item, label=other) if item.label == name else item for item in scene.items
    )
    swapped = render_scene(replace(scene, items=renamed))
    assert swapped.image.tobytes() == render_scene(scene).image.tobytes()


@pytest.mark.parametrize("size", [64, 200])
def test_boxes_hold_at_any_size(size: int) -> None:
    scene = sample_scene(0, "test", 4)
    drawing = render_scene(scene, size)
    assert drawing.image.size == (size, size)
    for box, same in zip(drawing.boxes, render_scene(scene, 128).boxes, strict=True):
        for side in ("left", "top", "right", "bottom"):
            assert getattr(box, side) == pytest.approx(getattr(same, side), abs=1.5 / 64)


def test_contact_sheet_has_the_pictures() -> None:
    sheet = np.asarray(contact_sheet(2, 1, seed=4, size=96))
    picture = np.asarray(render_scene(sample_scene(4, "train", 1), 96).image)
    assert (sheet[4:100, 108:204] == picture).all()
