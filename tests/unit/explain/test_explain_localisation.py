"""The pointing game on hand-made cases, and of small models."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manylabel.bundle.classifier import Bundle, architecture
from manylabel.bundle.info import BundleInfo
from manylabel.data.records import Box, Record, Records
from manylabel.engines.torch import TorchEngine
from manylabel.errors import DataError
from manylabel.explain.explaining import explain_image
from manylabel.explain.localisation import peaks, pointing_game, score_localisation
from manylabel.images import open_image
from manylabel.labels import LabelSpace
from manylabel.models.backbones import BackboneConfig
from manylabel.models.classifier import ModelConfig, build_classifier
from manylabel.models.heads import LinearConfig, SRNConfig
from manylabel.models.heads.base import class_activation_maps
from manylabel.pixels import normalise, to_pixels
from manylabel.predict import Predictor
from manylabel.preprocess import InputSpec

LABELS = LabelSpace(["cat", "dog"])
SPEC = InputSpec(height=64, width=64)


def one_hot(row: int, column: int, shape: tuple[int, int] = (4, 4)) -> np.ndarray:
    result = np.zeros(shape)
    result[row, column] = 1
    return result


def cat_game(point: tuple[int, int], *boxes: Box):
    maps = np.stack([one_hot(*point), one_hot(0, 0)])[None]
    return pointing_game(maps, np.array([[1, 0]], dtype=np.int8), [boxes], LABELS)


def test_the_point_is_the_centre_of_the_highest_position():
    maps = np.stack([one_hot(0, 0, (2, 5)), one_hot(1, 4, (2, 5)) - 3, one_hot(1, 2, (2, 5))])
    assert peaks(maps).tolist() == [[0.1, 0.25], [0.9, 0.75], [0.5, 0.75]]


def test_of_equal_positions_the_first_counts():
    assert peaks(np.ones((1, 4, 4))).tolist() == [[0.125, 0.125]]


@pytest.mark.parametrize(
    ("box", "hit"),
    [
        (Box("cat", 0.5, 0.25, 0.75, 0.5), True),
        (Box("cat", 0.625, 0.375, 0.7, 0.4), True),  # its top left corner is the point
        (Box("cat", 0.6, 0.3, 0.625, 0.375), True),  # its bottom right corner is the point
        (Box("cat", 0.63, 0.3, 0.7, 0.4), False),
        (Box("cat", 0.6, 0.38, 0.7, 0.4), False),
        (Box("cat", 0.25, 0.5, 0.5, 0.75), False),  # the point with x and y swapped
    ],
)
def test_a_box_holds_its_edges(box, hit):
    game = cat_game((1, 2), box)  # the point is (0.625, 0.375)
    assert (game.hits, game.misses) == ((1, 0) if hit else (0, 1))


def test_any_of_several_boxes_will_do():
    game = cat_game((3, 3), Box("cat", 0, 0, 0.2, 0.2), Box("cat", 0.8, 0.8, 1, 1))
    assert game.share == 1
    assert game.chance == pytest.approx(0.08)


def test_a_box_of_another_label_is_no_hit():
    game = cat_game((3, 3), Box("cat", 0, 0, 0.2, 0.2), Box("dog", 0.8, 0.8, 1, 1))
    assert (game.hits, game.misses) == (0, 1)
    assert game.chance == pytest.approx(0.04)


def test_only_present_labels_with_a_box_count():
    here = (Box("cat", 0, 0, 0.5, 0.5), Box("dog", 0, 0, 1, 0.5))
    targets = np.array([[1, 1], [0, -1], [1, 1]], dtype=np.int8)
    maps = np.stack([np.stack([one_hot(0, 0), one_hot(3, 3)])] * 3)
    game = pointing_game(maps, targets, [here, here, ()], LABELS)
    assert (game.hits, game.misses, game.share) == (1, 1, 0.5)
    assert game.chance == pytest.approx((0.25 + 0.5) / 2)
    assert game.per_label["cat"].share == 1
    assert game.per_label["cat"].chance == pytest.approx(0.25)
    assert game.per_label["dog"].as_dict() == {"share": 0, "chance": 0.5, "hits": 0, "misses": 1}


def test_nothing_to_point_at_is_not_a_number():
    game = pointing_game(np.zeros((1, 2, 4, 4)), np.zeros((1, 2), dtype=np.int8), [()], LABELS)
    assert math.isnan(game.share)
    assert math.isnan(game.chance)
    assert game.as_dict()["share"] is None
    assert [row["label"] for row in game.as_dict()["labels"]] == ["cat", "dog"]


def predictor(head: LinearConfig | SRNConfig, labels: LabelSpace = LABELS) -> Predictor:
    torch.manual_seed(0)
    config = ModelConfig(backbone=BackboneConfig(name="test_resnet", pretrained=False), head=head)
    model = build_classifier(config, labels, SPEC).eval()
    info = BundleInfo(
        model=architecture(config, model),
        labels=labels.names,
        input=SPEC,
        thresholds=(0.5,) * len(labels),
    )
    return Predictor(TorchEngine(Bundle(info, model, "0" * 64), device="cpu"))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """40 noisy images, more than a batch; all with a cat in the left half, the last box-less."""
    rng = np.random.default_rng(0)
    items = []
    for i in range(40):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (48, 80, 3), dtype=np.uint8)).save(path)
        boxes = (Box("cat", 0, 0, 0.5, 1),) if i < 39 else ()
        items.append(Record(path.name, path, np.array([1, 0], dtype=np.int8), boxes=boxes))
    return Records.of(LABELS, tuple(items), "noise")


def test_a_predictor_is_scored_for_both_maps(records):
    pointer = predictor(SRNConfig(attention_channels=16, relation_channels=16))
    games = score_localisation(pointer, records)
    assert isinstance(pointer.engine, TorchEngine)
    model = pointer.engine.classifier
    pixels = torch.stack([to_pixels(open_image(r.image), SPEC) for r in records.select(range(39))])
    with torch.no_grad():
        maps = model.backbone(normalise(pixels, SPEC))
        u = model.head(maps).maps["weighted"].numpy()
        cam = class_activation_maps(model.get_parameter("head.main.fc.weight"), maps.final).numpy()
    for name, each in (("attention", u), ("cam", cam)):
        columns = each[:, 0].reshape(39, -1).argmax(1) % each.shape[3]
        assert games[name].hits == (columns < each.shape[3] / 2).sum()
        assert games[name].hits + games[name].misses == 39
        assert games[name].chance == pytest.approx(0.5)


def test_a_linear_head_has_cam_alone(records):
    assert list(score_localisation(predictor(LinearConfig()), records)) == ["cam"]


def test_labels_are_matched_by_name(records):
    swapped = predictor(LinearConfig(), LabelSpace(["dog", "cat"]))
    game = score_localisation(swapped, records)["cam"]
    assert game.per_label["cat"].hits + game.per_label["cat"].misses == 39


def test_data_without_boxes_is_refused(records):
    bare = records.select(range(39, len(records)))
    with pytest.raises(DataError, match="No image has a box"):
        score_localisation(predictor(LinearConfig()), bare)


def test_an_image_is_explained_as_it_is_predicted(records):
    pointer = predictor(SRNConfig(attention_channels=16, relation_channels=16))
    image = open_image(records[0].image)
    found = explain_image(pointer, image)
    assert found.scores == pytest.approx(pointer.predict(image).scores, abs=1e-6)
    assert isinstance(pointer.engine, TorchEngine)
    with torch.no_grad():
        output = pointer.engine.classifier(normalise(to_pixels(image, SPEC)[None], SPEC))
    assert found.maps == pytest.approx(output.maps["weighted"][0].numpy(), abs=1e-6)
    assert found.method == "attention"
