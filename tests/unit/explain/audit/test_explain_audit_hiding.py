"""Hiding companions, with an engine whose scores are known in closed form."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from toy_shortcut import SIDE, TOY_LABELS, ToyEngine, draw, make_toys, scored, toy_predictor

from manylabel.data.records import Box, Record, Records
from manylabel.errors import ConfigError, ImageError
from manylabel.explain.audit.examples import EXAMPLES
from manylabel.explain.audit.hiding import EMPTY, NO_MAP, NO_ROOM, Hidings, hide_companions
from manylabel.explain.audit.pairs import Pair
from manylabel.explain.audit.plan import HidingSettings
from manylabel.labels import PRESENT

FORK_TABLE, PLATE_TABLE = Pair(0, 1, 9, 9, 9, 9), Pair(2, 1, 9, 9, 9, 9)
SETTINGS = HidingSettings(images=40, fill="surroundings", method=None, seed=0)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Records:
    return make_toys(tmp_path_factory.mktemp("toys"))


def sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def hide(records: Records, shortcut: float, settings=SETTINGS, **options) -> list[Hidings]:
    predictor = toy_predictor(shortcut, **options)
    pairs = [FORK_TABLE, PLATE_TABLE]
    return hide_companions(predictor, records, scored(predictor, records), pairs, settings)


def test_the_effect_is_that_of_the_closed_form(records):
    """A table hidden takes `shortcut` from the logit of a fork; grey elsewhere takes nothing.

    A control region may lie on a plate, which has no part in the logit of a fork.
    """
    fork, plate = hide(records, shortcut=3.0)
    assert (len(fork.effects), sum(fork.present)) == (40, 20)
    with_fork = sigmoid(4 + 3 - 2) - sigmoid(4 - 2)
    without = sigmoid(3 - 2) - sigmoid(-2)
    expected = [with_fork if present else without for present in fork.present]
    np.testing.assert_allclose(fork.effects, expected, atol=0.02)  # fills are rounded to 8 bits
    np.testing.assert_allclose(plate.effects, 0, atol=0.02)
    assert (fork.source, not fork.left_out) == ("boxes", True)


def test_without_a_shortcut_nothing_changes(records):
    fork, _ = hide(records, shortcut=0.0)
    np.testing.assert_allclose(fork.effects, 0, atol=0.02)
    assert fork.because == []


def test_images_in_which_a_label_is_predicted_because_of_its_companion(records):
    """With the shortcut, each table without a fork is a false positive, and only because of it."""
    fork, _ = hide(records, shortcut=3.0)
    wrong = [r.key for r in records if r.targets[1] == PRESENT and r.targets[0] != PRESENT]
    assert 40 < len(wrong) < 80  # more than are drawn for the effect; the others count here, too
    assert fork.false_positives == len(fork.because) == len(set(fork.because)) == 40
    assert set(fork.because) <= set(wrong)


def test_examples_are_those_that_say_most_with_their_pictures(records):
    fork, _ = hide(records, shortcut=3.0)
    assert [each.because for each in fork.examples] == [True] * EXAMPLES
    first = fork.examples[0]
    assert first.scores == pytest.approx((sigmoid(1), sigmoid(-2), sigmoid(1)), abs=0.02)
    assert first.predicted == (True, False, True)
    before, hidden, control = (np.asarray(Image.open(io.BytesIO(p))) for p in first.pictures)
    assert before.shape == (SIDE, SIDE, 3)
    assert before[..., 1].max() > 130  # the green table
    green = [(picture[..., 1].astype(int) - picture[..., 0]).max() for picture in (hidden, control)]
    assert green[0] < 60 < green[1]  # the outlines are yellow


def test_batches_and_order_do_not_matter(records):
    one, other = hide(records, 3.0, batch_size=1)[0], hide(records, 3.0, batch_size=64)[0]
    assert one.effects == other.effects
    assert one.because == other.because


def test_the_seed_chooses_images(records):
    again, other = hide(records, 3.0)[0], hide(records, 3.0, replace(SETTINGS, seed=1))[0]
    keys = [example.key for example in hide(records, 3.0)[0].examples]
    assert [example.key for example in again.examples] == keys
    assert again.because != other.because


def test_batches_are_no_larger_than_asked(records):
    predictor = toy_predictor(3.0, batch_size=8)
    scores = scored(predictor, records)
    assert isinstance(predictor.engine, ToyEngine)
    predictor.engine.runs.clear()
    hide_companions(predictor, records, scores, [FORK_TABLE], SETTINGS)
    assert max(predictor.engine.runs) == 8


def test_progress_counts_images(records):
    predictor, seen = toy_predictor(3.0), []
    scores = scored(predictor, records)
    pair = [FORK_TABLE]
    hide_companions(predictor, records, scores, pair, SETTINGS, lambda *each: seen.append(each))
    total = seen[0][1]
    assert seen == [(done, total) for done in range(1, total + 1)]


def one_image(folder, boxes: list[Box], targets=(1, 1, 0)) -> Records:
    image, _ = draw(np.random.default_rng(0), [t == 1 for t in targets])
    image.save(folder / "one.png")
    record = Record("one", folder / "one.png", np.array(targets, np.int8), boxes=tuple(boxes))
    return Records.of(TOY_LABELS, [record], "one")


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (Box("table", 0.2, 0.2, 0.4, 0.4), EMPTY),  # within the fork
        (Box("table", 0, 0, 1, 1), NO_ROOM),
    ],
)
def test_images_that_cannot_be_used_are_counted(tmp_path, table, why):
    records = one_image(tmp_path, [Box("fork", 0.1, 0.1, 0.5, 0.5), table])
    found = hide(records, 3.0)[0]
    assert found.effects == []
    assert dict(found.left_out) == {why: 1}


def test_the_labels_own_boxes_stay_visible(tmp_path):
    """The table's box covers half of the fork, which stays: its score does not fall."""
    records = one_image(tmp_path, [Box("fork", 0, 0, 0.5, 0.5), Box("table", 0, 0.2, 0.5, 0.6)])
    records = replace(records, targets=np.array([[1, 1, 0]], np.int8))
    image = Image.open(tmp_path / "one.png")
    pixels = np.full_like(np.asarray(image), 100)
    pixels[8:16, 4:12] = (255, 0, 0)  # the fork, which the table's box covers
    Image.fromarray(pixels).save(tmp_path / "one.png")
    assert hide(records, 0.0)[0].effects == pytest.approx([0], abs=0.01)


def test_images_with_the_label_and_without_its_box_are_not_used(tmp_path):
    records = one_image(tmp_path, [Box("table", 0.5, 0.5, 0.9, 0.9)])
    assert hide(records, 3.0)[0].effects == []


def test_without_boxes_the_evidence_map_says_where_the_companion_is(tmp_path):
    records = make_toys(tmp_path, 80, boxes=False)
    fork, plate = hide(records, shortcut=3.0)
    assert fork.source == plate.source == "map"
    assert not any(fork.present)  # the region might cover the fork
    np.testing.assert_allclose(fork.effects, sigmoid(1) - sigmoid(-2), atol=0.02)
    np.testing.assert_allclose(plate.effects, 0, atol=0.02)


def test_a_companion_without_evidence_is_left_out(tmp_path):
    records = one_image(tmp_path, [], targets=(0, 1, 0))
    Image.new("RGB", (SIDE, SIDE), (90, 90, 90)).save(tmp_path / "one.png")
    assert dict(hide(records, 3.0)[0].left_out) == {NO_MAP: 1}


def test_a_method_that_the_model_does_not_have(tmp_path):
    records = one_image(tmp_path, [], targets=(0, 1, 0))
    with pytest.raises(ConfigError, match="no method of evidence maps 'attention'"):
        hide(records, 3.0, replace(SETTINGS, method="attention"))


def test_an_image_that_disappeared_is_an_error_that_names_it(tmp_path):
    records = make_toys(tmp_path, 12)
    predictor = toy_predictor(3.0)
    scores = scored(predictor, records)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(ImageError, match="cannot be read") as raised:
        hide_companions(predictor, records, scores, [FORK_TABLE], SETTINGS)
    assert str(tmp_path) in raised.value.where
