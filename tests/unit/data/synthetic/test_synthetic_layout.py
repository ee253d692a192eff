from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from manylabel.data.synthetic.layout import sample_scene
from manylabel.data.synthetic.rules import (
    HIDDEN,
    LABELS,
    RULES,
    SHY_SHARE,
    STRAY_CHANCE,
    TINY,
    LabelRule,
    companion_given,
    prior,
)
from manylabel.data.synthetic.scene import SIDE, Item, Scene

SAMPLES = 6000
DEPENDENT = [rule for rule in RULES if rule.companion]
SIDED = [rule for rule in RULES if rule.place in ("above", "below")]
SHY = [rule for rule in RULES if rule.shy]


def name_of(rule: LabelRule) -> str:
    return rule.name


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [sample_scene(5, "train", index) for index in range(SAMPLES)]


@pytest.fixture(scope="module")
def present(scenes: list[Scene]) -> dict[str, np.ndarray]:
    return {name: np.array([name in scene.labels for scene in scenes]) for name in LABELS}


def assert_share(hits: np.ndarray, chance: float) -> None:
    """The share of hits is `chance` within four standard errors."""
    assert len(hits) > 50
    error = np.sqrt(max(chance * (1 - chance), 1e-9) / len(hits))
    assert abs(hits.mean() - chance) < 4 * error


def objects(scenes: list[Scene], name: str) -> list[Item]:
    return [item for scene in scenes for item in scene.items if item.label == name]


# Which labels


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_label_is_as_frequent_as_declared(rule: LabelRule, present: dict[str, np.ndarray]) -> None:
    assert_share(present[rule.name], prior(rule.name))


@pytest.mark.parametrize("rule", DEPENDENT, ids=name_of)
def test_label_and_companion_come_together_as_declared(
    rule: LabelRule, present: dict[str, np.ndarray]
) -> None:
    here, companion = present[rule.name], present[rule.companion or ""]
    assert_share(here[companion], rule.chance_with)
    assert_share(here[~companion], rule.chance)
    assert_share(companion[here], companion_given(rule.name))


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.rival], ids=name_of)
def test_rivals_never_meet(rule: LabelRule, present: dict[str, np.ndarray]) -> None:
    assert not (present[rule.name] & present[rule.rival or ""]).any()


def test_some_scenes_have_no_label_and_most_have_two_to_five(scenes: list[Scene]) -> None:
    counts = np.array([len(scene.labels) for scene in scenes])
    assert 0.05 < (counts == 0).mean() < 0.10
    assert ((counts >= 2) & (counts <= 5)).mean() > 0.7


def test_each_label_present_is_one_object(scenes: list[Scene]) -> None:
    for scene in scenes[:500]:
        labels = [item.label for item in scene.items if item.label]
        assert sorted(labels) == sorted(scene.labels)


# Where they lie, and how they come


@pytest.mark.parametrize("rule", SIDED, ids=name_of)
def test_side_of_the_companion_decides(rule: LabelRule, scenes: list[Scene]) -> None:
    for scene in scenes:
        by_label = {item.label: item for item in scene.items if item.label}
        if rule.name not in by_label:
            continue
        item, reference = by_label[rule.name], by_label[rule.companion or ""]
        assert item.shape == rule.shape
        if rule.place == "above":
            assert item.bottom < reference.top
        else:
            assert item.top > reference.bottom


@pytest.mark.parametrize("rule", [rule for rule in SIDED if rule.rival], ids=name_of)
def test_absolute_position_tells_little(rule: LabelRule, scenes: list[Scene]) -> None:
    other = rule.rival or ""
    pairs = []
    for scene in scenes:
        by_label = {item.label: item for item in scene.items if item.label}
        item = by_label.get(rule.name) or by_label.get(other)
        if item is not None:
            pairs.append((item, by_label[rule.companion or ""]))
    truth = [item.label == rule.name for item, _ in pairs]

    def auc(values: list[float]) -> float:
        score = float(roc_auc_score(truth, values))
        return max(score, 1 - score)

    assert len(truth) > 1000
    error = np.sqrt(len(truth) / (12 * sum(truth) * (len(truth) - sum(truth))))
    assert auc([item.centre[1] for item, _ in pairs]) < 0.65 + 3 * error
    assert auc([reference.centre[1] for _, reference in pairs]) < 0.65 + 3 * error
    for uninformative in (
        [item.centre[0] for item, _ in pairs],
        [item.width for item, _ in pairs],
        [abs(item.centre[0] - reference.centre[0]) for item, reference in pairs],
    ):
        assert auc(uninformative) < 0.54
    # The two heights together do tell: the task can be solved.
    assert auc([item.centre[1] - reference.centre[1] for item, reference in pairs]) == 1.0


@pytest.mark.parametrize("rule", [rule for rule in SIDED if not rule.rival], ids=name_of)
def test_ambiguous_shape_also_comes_without_meaning(
    rule: LabelRule, scenes: list[Scene], present: dict[str, np.ndarray]
) -> None:
    drawn = np.array([any(i.shape == rule.shape for i in scene.items) for scene in scenes])
    assert_share(drawn[~present[rule.companion or ""]], STRAY_CHANCE)


@pytest.mark.parametrize("rule", SHY, ids=name_of)
def test_shy_label_is_mostly_small_or_hidden(rule: LabelRule, scenes: list[Scene]) -> None:
    items = objects(scenes, rule.name)
    if rule.shy == "hidden":
        shy = np.array([item.hidden > 0 for item in items])
        assert all(HIDDEN[0] <= item.hidden <= HIDDEN[1] for item in items if item.hidden)
    else:
        shy = np.array([max(item.width, item.height) <= TINY[1] + 1e-6 for item in items])
        assert min(max(item.width, item.height) for item in items) >= TINY[0] - 1e-6
    assert_share(shy, SHY_SHARE)


def test_scale_changes_and_objects_stay_inside(scenes: list[Scene]) -> None:
    for name in LABELS:
        items = objects(scenes, name)
        longer = np.array([max(item.width, item.height) for item in items])
        assert np.quantile(longer, 0.99) > 1.7 * np.quantile(longer, 0.01)
        assert min(min(item.left, item.top) for item in items) >= 0
        assert max(max(item.right, item.bottom) for item in items) <= SIDE


def test_split_and_index_and_seed_each_change_the_scene() -> None:
    scene = sample_scene(0, "train", 0)
    assert scene == sample_scene(0, "train", 0)
    others = [sample_scene(1, "train", 0), sample_scene(0, "val", 0), sample_scene(0, "train", 1)]
    assert scene not in others
