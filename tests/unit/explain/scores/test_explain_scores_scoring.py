"""Scores of a whole model: what is measured, what is said, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from toy_engine import LABELS, LEFT, RIGHT, noise, record, toy_predictor, toy_records

from manylabel.data.records import Box, Records
from manylabel.errors import ConfigError, DataError
from manylabel.explain.localisation import score_localisation
from manylabel.explain.scores.masks import MaskClasses
from manylabel.explain.scores.scoring import ScoreSettings, chosen_methods, score_explanations
from manylabel.explain.scores.summary import Resampling
from manylabel.labels import LabelSpace

FAST = ScoreSettings(
    methods=("aim", "away", "cam"), removal_pairs=4, resampling=Resampling(draws=100)
)
CLASSES = MaskClasses(("null", "left", "right", "tree"), "classes.txt")


def test_everything_is_measured_and_ready_for_json(tmp_path):
    found = score_explanations(toy_predictor(), toy_records(tmp_path, 30), FAST)
    assert (found.images, found.pairs, found.removal_pairs) == (30, 45, 4)
    assert list(found.summary) == [
        *("pointing", "energy_inside", "iou_half", "iou_best", "deletion", "insertion")
    ]
    aim, away = (found.summary["energy_inside"][name] for name in ("aim", "away"))
    assert (aim.sign, away.sign) == ("+", "-")
    assert [aim.count(sign) for sign in ("+", "-", "=")] == [2, 0, 0]
    assert [each.pairs for each in aim.labels.values()] == [30, 15]
    assert found.summary["iou_half"]["chance"].all_pairs.value == pytest.approx(0.5)
    written = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert list(written["measures"]["pointing"]["methods"]) == [
        *("aim", "away", "cam", "centre", "chance")
    ]
    assert written["regions"] == "boxes"
    assert written["methods"]["aim"] == "SRN's weighted attention U"
    row = written["measures"]["energy_inside"]["methods"]["aim"]["labels"][0]
    assert (row["label"], row["pairs"], row["against_baselines"]) == ("left", 30, "+")
    assert set(written["best_shares"]) == {"aim", "away", "cam"}


def test_the_pointing_game_is_that_of_score_localisation(tmp_path):
    records = toy_records(tmp_path, 12)
    games = score_localisation(toy_predictor(), records)
    found = score_explanations(toy_predictor(), records, replace(FAST, removal_pairs=0))
    for method, game in games.items():
        score = found.summary["pointing"][method]
        assert score.all_pairs.value == pytest.approx(game.share)
        for name, own in game.per_label.items():
            assert score.labels[name].found.value == pytest.approx(own.share)
            assert score.labels[name].pairs == own.hits + own.misses
    chance = found.summary["pointing"]["chance"].all_pairs.value
    assert chance == pytest.approx(games["aim"].chance)


def test_without_removal_the_model_is_not_asked_again(tmp_path):
    found = score_explanations(
        toy_predictor(), toy_records(tmp_path, 3), replace(FAST, removal_pairs=0)
    )
    assert found.removal_pairs == 0
    assert "deletion" not in found.summary


def test_the_same_seed_gives_the_same_figures_whatever_the_batches(tmp_path):
    records = toy_records(tmp_path, 9)
    one, other = (score_explanations(toy_predictor(size), records, FAST) for size in (2, 7))
    assert one.as_dict() == other.as_dict()


def masked(tmp_path, count: int) -> Records:
    """Images with masks of two halves, left and right."""
    halves = np.repeat([[1, 2]], 16, axis=0).repeat(8, axis=1).astype(np.uint8)
    Image.fromarray(halves).save(tmp_path / "halves.png")
    items = [record(tmp_path, f"{i}.png", noise(i), ()) for i in range(count)]
    return Records.of(
        LABELS, [replace(item, mask=tmp_path / "halves.png") for item in items], "toy"
    )


def test_masks_of_the_boxes_give_the_figures_of_the_boxes(tmp_path):
    items = [record(tmp_path, f"{i}.png", noise(i), (LEFT, RIGHT)) for i in range(4)]
    settings = replace(FAST, methods=("cam",))
    boxes = score_explanations(toy_predictor(), Records.of(LABELS, items, "toy"), settings)
    masks = score_explanations(
        toy_predictor(), masked(tmp_path, 4), replace(settings, mask_classes=CLASSES)
    )
    assert masks.as_dict()["regions"] == "masks"
    for measure, scores in boxes.summary.items():
        own, other = scores["cam"].all_pairs, masks.summary[measure]["cam"].all_pairs
        assert own.as_dict() == pytest.approx(other.as_dict(), abs=1e-6), measure
    assert "Regions are masks: 4 images of 4 may have one" in masks.notes


def test_labels_of_one_side_only_are_named(tmp_path):
    labels = LabelSpace(["tree", "right"])
    items = [record(tmp_path, "a.png", noise(0), (RIGHT, Box("tree", 0, 0, 1, 1)))]
    found = score_explanations(toy_predictor(), Records.of(labels, items, "toy"), FAST)
    assert found.pairs == 1
    assert list(found.summary["pointing"]["aim"].labels) == ["right"]
    assert found.notes[:2] == (
        "Labels that the model does not know, left out: 1 (tree)",
        "Labels that the data set does not have, not measured: 1 (left)",
    )


def test_a_label_without_a_box_has_no_row(tmp_path):
    items = [record(tmp_path, f"{i}.png", noise(i), (LEFT,)) for i in range(3)]
    found = score_explanations(toy_predictor(), Records.of(LABELS, items, "toy"), FAST)
    assert list(found.summary["iou_half"]["aim"].labels) == ["left"]


def test_images_that_cannot_be_used_are_named(tmp_path):
    records = toy_records(tmp_path, 4)
    (tmp_path / "2.png").write_bytes(b"nothing")
    found = score_explanations(toy_predictor(), records, FAST)
    assert found.images == 3
    assert "2.png: The file is not an image" in found.notes[-1]
    assert [error.where.split("/")[-1] for error in found.bad] == ["2.png"]
    assert found.as_dict()["skipped_images"] == 1


def test_data_that_shows_nothing_is_refused(tmp_path):
    predictor = toy_predictor()
    bare = Records.of(LABELS, [record(tmp_path, "a.png", noise(0), ())], "toy")
    with pytest.raises(DataError, match="No image has a box of a label that is present"):
        score_explanations(predictor, bare, FAST)
    with pytest.raises(DataError, match="The data set has no masks"):
        score_explanations(predictor, bare, replace(FAST, mask_classes=CLASSES))
    trees = replace(FAST, mask_classes=replace(CLASSES, names=("null", "tree", "sky", "left")))
    halves = masked(tmp_path, 2)
    with pytest.raises(DataError, match="No mask has a pixel of a label"):
        score_explanations(predictor, halves, trees)
    other = Records.of(LabelSpace(["tree"]), [record(tmp_path, "a.png", noise(0), (), (1,))], "t")
    with pytest.raises(DataError, match="No label of the data set is known to the model"):
        score_explanations(predictor, other, FAST)
    lost = toy_records(tmp_path, 2)
    for i in range(2):
        (tmp_path / f"{i}.png").unlink()
    with pytest.raises(DataError, match="No image can be used"):
        score_explanations(predictor, lost, FAST)


def test_methods_by_name():
    engine = toy_predictor().engine
    assert chosen_methods(engine, None) == ["aim", "cam"]
    assert chosen_methods(engine, ["cam", "aim", "cam"]) == ["cam", "aim"]
    assert chosen_methods(engine, ["occlusion"]) == ["occlusion"]
    with pytest.raises(ConfigError, match="no method of evidence maps 'grad-cam'"):
        chosen_methods(engine, ["grad-cam"])
    with pytest.raises(ConfigError, match="name of a method is empty"):
        chosen_methods(engine, ["aim", ""])
