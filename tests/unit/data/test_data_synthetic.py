from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import roc_auc_score

from manylabel.cli.data import data
from manylabel.data import synthetic
from manylabel.data.coco import read_coco
from manylabel.data.synthetic import (
    HIDDEN,
    LABELS,
    RULES,
    SHY_SHARE,
    SIDE,
    STRAY_CHANCE,
    TINY,
    Item,
    LabelRule,
    Scene,
    companion_given,
    contact_sheet,
    describe_rules,
    draw_scenes,
    prior,
    render_scene,
    sample_scene,
    scenes_are_drawn,
)
from manylabel.errors import ConfigError, DataError, ManylabelError, RunError

SAMPLES = 6000
SMALL = {"train": 7, "val": 2, "test": 3}
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


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ------------------------------------------------------------------------------- the table


def test_probabilities_by_hand() -> None:
    assert prior("boat") == 0.38
    assert prior("bridge") == pytest.approx(0.38 * 0.14 + 0.62 * 0.42)
    assert prior("pond") == pytest.approx(0.42 * (0.38 * 0.14 + 0.62 * 0.42))
    signal = 0.40 * 0.12 + 0.60 * 0.32
    car = signal * 0.50 + (1 - signal) * 0.026
    assert prior("car") == pytest.approx(car)
    assert companion_given("car") == pytest.approx(signal * 0.50 / car)


def test_table_keeps_what_the_docs_promise() -> None:
    priors = [prior(name) for name in LABELS]
    assert 12 <= len(LABELS) <= 16
    assert (min(priors), max(priors)) == (0.05, 0.40)
    assert 2.8 < sum(priors) < 3.2
    assert all(0.84 < companion_given(rule.name) < 0.87 for rule in SHY)
    assert len({rule.shape for rule in SIDED}) == 2
    assert len(SHY) == 3


def test_docs_print_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "drawn-scenes.md"
    assert describe_rules() in page.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------- the labels


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


# ------------------------------------------------------------------------------- the layout


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


# ------------------------------------------------------------------------------- the picture


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
def test_ambiguous_shape_is_drawn_alike(name: str, other: str, scenes: list[Scene]) -> None:
    rule, rival = (next(r for r in RULES if r.name == n) for n in (name, other))
    assert (rule.shape, rule.sizes, rule.shy) == (rival.shape, rival.sizes, rival.shy)
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


# ------------------------------------------------------------------------------- the folder


def test_same_bytes_however_many_workers(tmp_path: Path) -> None:
    counts = {"train": 155, "val": 3}
    one = draw_scenes(tmp_path / "one", seed=9, counts=counts, size=64, workers=1)
    two = draw_scenes(tmp_path / "two", seed=9, counts=counts, size=64, workers=2)
    assert files_of(one) == files_of(two)
    assert len(files_of(one)) == 155 + 3 + 2 + 1


def test_other_seed_draws_other_bytes(tmp_path: Path) -> None:
    zero = files_of(draw_scenes(tmp_path / "0", seed=0, counts=SMALL, workers=1))
    one = files_of(draw_scenes(tmp_path / "1", seed=1, counts=SMALL, workers=1))
    assert zero.keys() == one.keys()
    assert all(zero[name] != one[name] for name in zero)


def test_folder_reads_as_coco(tmp_path: Path) -> None:
    folder = draw_scenes(tmp_path / "scenes", seed=3, counts=SMALL, workers=1)
    records = read_coco(folder)
    assert records.labels.names == LABELS
    assert {split: len(records.split(split)) for split in records.split_names()} == SMALL
    for split in records.split_names():
        for index, record in enumerate(records.split(split).items):
            scene = sample_scene(3, split, index)
            present = [LABELS[i] for i in np.flatnonzero(record.targets == 1)]
            assert present == list(scene.labels)
            with Image.open(record.path) as image:
                assert (image.size, image.mode) == ((128, 128), "RGB")
            truth = {box.label: box for box in render_scene(scene).boxes}
            assert {box.label for box in record.boxes} == set(truth)
            for box in record.boxes:
                assert box.left == pytest.approx(truth[box.label].left, abs=1e-3)
                assert box.bottom == pytest.approx(truth[box.label].bottom, abs=1e-3)


def test_header_tells_how_it_was_made(tmp_path: Path) -> None:
    folder = draw_scenes(tmp_path, seed=3, counts=SMALL, size=64, workers=1)
    header = json.loads((folder / "scenes.json").read_text())
    assert (header["seed"], header["size"], header["counts"]) == (3, 64, SMALL)
    assert header["version"] == synthetic.VERSION
    assert [row["name"] for row in header["labels"]] == list(LABELS)
    assert header["labels"][0]["prior"] == 0.38


def test_finished_folder_is_left_alone(tmp_path: Path) -> None:
    settings = {"seed": 2, "counts": SMALL, "size": 64}
    assert not scenes_are_drawn(tmp_path, **settings)
    seen: list[int] = []
    draw_scenes(tmp_path, **settings, workers=1, on_progress=seen.append)
    assert seen == [7, 9, 12]
    assert scenes_are_drawn(tmp_path, **settings)
    (tmp_path / "images" / "val" / "00000.jpg").write_bytes(b"touched")
    draw_scenes(tmp_path, **settings, workers=1, on_progress=seen.append)
    assert seen == [7, 9, 12]
    assert (tmp_path / "images" / "val" / "00000.jpg").read_bytes() == b"touched"


@pytest.mark.parametrize(
    "other", [{"seed": 3}, {"size": 65}, {"counts": SMALL | {"val": 4}}], ids=["seed", "size", "n"]
)
def test_folder_of_other_scenes_is_refused(tmp_path: Path, other: dict) -> None:
    settings = {"seed": 2, "counts": SMALL, "size": 64, "workers": 1}
    before = files_of(draw_scenes(tmp_path, **settings))
    with pytest.raises(DataError, match="another seed"):
        draw_scenes(tmp_path, **(settings | other))
    assert files_of(tmp_path) == before


def test_scenes_of_another_version_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_scenes(tmp_path, counts={"val": 1}, workers=1)
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    with pytest.raises(DataError, match="version"):
        draw_scenes(tmp_path, counts={"val": 1}, workers=1)


def test_foreign_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="not empty"):
        draw_scenes(tmp_path, counts=SMALL, workers=1)
    with pytest.raises(DataError, match="no folder"):
        draw_scenes(tmp_path / "holiday.jpg", counts=SMALL, workers=1)
    assert files_of(tmp_path) == {"holiday.jpg": b"mine"}


def test_interrupted_drawing_is_not_whole_and_can_be_completed(tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        draw_scenes(broken, counts=SMALL, size=64, workers=1, on_progress=interrupt)
    assert not (broken / "scenes.json").exists()
    assert not scenes_are_drawn(broken, seed=0, counts=SMALL, size=64)
    with pytest.raises(DataError, match="interrupted"):
        draw_scenes(broken, seed=1, counts=SMALL, size=64, workers=1)
    draw_scenes(broken, counts=SMALL, size=64, workers=1)
    whole = draw_scenes(tmp_path / "whole", counts=SMALL, size=64, workers=1)
    assert files_of(broken) == files_of(whole)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"seed": -1}, "seed"),
        ({"size": 32}, "size"),
        ({"size": 5000}, "size"),
        ({"counts": {"train": 0}}, "counts['train']"),
        ({"counts": {"training": 5}}, "counts"),
        ({"counts": {}}, "counts"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    tmp_path: Path, settings: dict, where: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        draw_scenes(tmp_path / "scenes", workers=1, **settings)
    assert caught.value.where == where
    assert not (tmp_path / "scenes").exists()


def test_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(RunError, match="No space left") as caught:
        draw_scenes(tmp_path / "scenes", counts=SMALL, workers=1)
    assert caught.value.where == str(tmp_path / "scenes")
    assert not (tmp_path / "scenes" / "scenes.json").exists()


# ------------------------------------------------------------------------------- the command


def test_command_draws_once(tmp_path: Path) -> None:
    folder = str(tmp_path / "scenes")
    arguments = ["draw", folder, "--train", "3", "--val", "1", "--test", "2", "--size", "64"]
    first = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    assert f"Drew 6 images with {len(LABELS)} labels into {folder}" in first.stdout
    again = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert again.stdout == f"Already drawn: {folder}\n"
    with pytest.raises(ManylabelError):
        CliRunner().invoke(data, [*arguments, "--seed", "8"], catch_exceptions=False)


def test_command_help_has_an_example() -> None:
    shown = CliRunner().invoke(data, ["draw", "--help"]).output
    assert "manylabel data draw data/scenes --seed 1" in shown
