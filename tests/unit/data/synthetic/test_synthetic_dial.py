"""The dial: scenes with relations of any strength, near and far."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from manylabel.data.synthetic import Relations, Scene, sample_scene
from manylabel.data.synthetic.layout import FAR_GAP, gap_between
from manylabel.data.synthetic.observer import zone_of
from manylabel.data.synthetic.scene import Item

PAIRS = {"bird": "boat", "fish": "boat", "cloud": "bridge", "pond": "bridge"}
NEAR = {"car": "signal", "bee": "flower", "mushroom": "tree"}


def test_the_standard_scenes_are_those_of_version_1() -> None:
    """The digest was computed with version 1 of the scenes."""
    digest = hashlib.sha256()
    for index in range(3000):
        digest.update(repr(sample_scene(0, "train", index)).encode())
    assert digest.hexdigest() == (
        "55508a32549f06be37eda935a272cb8d25ffa22f074991564cfbe242d4ce760e"
    )


@pytest.mark.parametrize("distance", ["near", "far"])
def test_decisive_layouts_are_always_as_the_rule_says(distance: str) -> None:
    relations = Relations(1.0, distance)  # type: ignore[arg-type]
    seen = 0
    for scene in scenes(relations, 300):
        for name, companion in PAIRS.items():
            if name in scene.labels:
                zone = zone_of(item_of(scene, name), item_of(scene, companion), relations)
                assert zone == ("above" if name in ("bird", "cloud") else "below")
                seen += 1
    assert seen > 100


def test_far_companions_are_far() -> None:
    relations = Relations(1.0, "far")
    gaps = [
        gap_between(item_of(scene, name), item_of(scene, companion))
        for scene in scenes(relations, 300)
        for name, companion in NEAR.items()
        if {name, companion} <= set(scene.labels)
    ]
    assert len(gaps) > 50
    assert min(gaps) >= FAR_GAP


def test_without_relations_a_place_says_nothing() -> None:
    """A bird is as often above a boat as below it, and rarely where the rule would put it."""
    relations = Relations(0.0)
    above, zones = [], []
    for scene in scenes(relations, 3000):
        if {"bird", "boat"} <= set(scene.labels):
            bird, boat = item_of(scene, "bird"), item_of(scene, "boat")
            above.append(bird.centre[1] < boat.centre[1])
            zones.append(zone_of(bird, boat, relations) != "neither")
    assert len(above) > 120
    assert abs(np.mean(above) - 0.5) < 3 * 0.5 / len(above) ** 0.5
    assert np.mean(zones) < 0.1


def scenes(relations: Relations, count: int) -> list[Scene]:
    return [sample_scene(3, "val", index, relations) for index in range(count)]


def item_of(scene: Scene, label: str) -> Item:
    return next(item for item in scene.items if item.label == label)
