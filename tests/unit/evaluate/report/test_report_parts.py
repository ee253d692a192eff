"""The parts of a report's page, against slow counts and hand-made cases."""

from __future__ import annotations

import base64
import io
import sys

import numpy as np
import pytest
from PIL import Image

from manylabel.data.places import Places
from manylabel.errors import MissingExtraError
from manylabel.evaluate.report.cooccurrence import measure_cooccurrence
from manylabel.evaluate.report.curves import MOST_POINTS, points_for, threshold_curve
from manylabel.evaluate.report.mistakes import false_negatives, false_positives
from manylabel.evaluate.report.pictures import SIDE, Pictures
from manylabel.evaluate.report.suspects import suspected_errors


def drawn(images: int = 700, labels: int = 6, *, unknown: float = 0.2, seed: int = 3):
    random = np.random.default_rng(seed)
    scores = (random.random((images, labels)) ** 3).astype(np.float32)
    targets = (random.random((images, labels)) < scores).astype(np.int8)
    targets[random.random((images, labels)) < unknown] = -1
    return scores, targets


class TestCurves:
    @pytest.mark.parametrize("own", [0.0, 0.123456789012345, 0.5, 1.0])
    @pytest.mark.parametrize("points", [8, 50, 200])
    def test_counts_are_exact_at_each_threshold_of_the_grid(self, own, points):
        scores, targets = drawn(labels=1)
        found = threshold_curve(scores[:, 0], targets[:, 0], own, points=points)
        assert len(found.thresholds) <= points
        assert found.thresholds[found.own] == own
        assert (np.diff(found.thresholds) > 0).all()
        for t, right, wrong in zip(found.thresholds, found.right, found.wrong, strict=True):
            said = scores[:, 0].astype(float) >= t
            assert right == (said & (targets[:, 0] == 1)).sum()
            assert wrong == (said & (targets[:, 0] == 0)).sum()

    def test_a_score_at_its_threshold_is_a_prediction(self):
        found = threshold_curve(np.array([0.3, 0.7]), np.array([0, 1], np.int8), 0.7)
        assert (found.right[found.own], found.wrong[found.own]) == (1, 0)

    def test_single_precision_scores_are_not_compared_in_single_precision(self):
        # float32(0.1) is above 0.1: what evaluation decides, too.
        found = threshold_curve(np.array([0.1], np.float32), np.array([1], np.int8), 0.1)
        assert found.right[found.own] == 1

    @pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1], [-1, -1, -1]])
    def test_one_kind_of_target_alone(self, targets):
        found = threshold_curve(np.array([0.2, 0.5, 0.5]), np.array(targets, np.int8), 0.5)
        counts = (found.right if 1 in targets else found.wrong)[found.own]
        assert counts == (0 if -1 in targets else 2)

    def test_many_labels_get_fewer_points(self):
        assert points_for(80) == points_for(160) == MOST_POINTS
        assert 8 <= points_for(9_605) < 20

    def test_recall_of_a_rare_label_with_low_scores_is_resolved(self):
        scores = np.concatenate([np.linspace(1e-6, 1e-4, 50), np.zeros(5000)])
        targets = (scores > 0).astype(np.int8)
        found = threshold_curve(scores, targets, 0.5)
        assert len(np.unique(found.right)) == 51


class TestCooccurrence:
    def test_shares_are_those_of_a_slow_count(self):
        scores, targets = drawn()
        decided = scores >= 0.3
        found = measure_cooccurrence(decided, targets, shown=4)
        order = np.argsort(-(targets == 1).sum(0), kind="stable")[:4]
        assert found.labels == tuple(sorted(order.tolist()))
        for i, a in enumerate(found.labels):
            for j, b in enumerate(found.labels):
                both = (targets[:, a] != -1) & (targets[:, b] != -1)
                true = targets[both & (targets[:, a] == 1), b] == 1
                said = decided[both & decided[:, a], b]
                assert found.true[i, j] == pytest.approx(true.mean())
                assert found.predicted[i, j] == pytest.approx(said.mean())

    def test_a_label_that_is_never_decided_has_no_share_and_no_gap(self):
        targets = np.ones((4, 2), np.int8)
        decided = np.array([[True, False]] * 4)
        found = measure_cooccurrence(decided, targets)
        assert np.isnan(found.predicted[1]).all()
        assert found.largest_differences(5) == [(0, 1, 1.0, 0.0)]


class TestMistakes:
    def test_the_most_confident_mistakes_come_first_and_unknown_is_none(self):
        scores = np.array([[0.9, 0.1], [0.99, 0.2], [0.95, 0.6]])
        targets = np.array([[0, 1], [-1, 1], [0, 1]], np.int8)
        decided = scores >= 0.5
        wrong = false_positives(scores, decided, targets)
        assert [(m.image, m.label) for m in wrong.shown] == [(2, 0), (0, 0)]
        missed = false_negatives(scores, decided, targets)
        assert [(m.image, m.label, m.score) for m in missed.shown] == [(0, 1, 0.1), (1, 1, 0.2)]

    def test_no_label_occurs_more_than_three_times(self):
        scores = np.full((10, 2), 0.9)
        scores[:, 1] = 0.6
        found = false_positives(scores, scores >= 0.5, np.zeros((10, 2), np.int8))
        assert [m.label for m in found.shown] == [0, 0, 0, 1, 1, 1]
        assert found.total == 20


class TestSuspects:
    def test_without_cleanlab_it_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
        with pytest.raises(MissingExtraError, match=r"\.\[cleanlab\]"):
            suspected_errors(*drawn())

    def test_flipped_targets_are_found(self):
        pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed")
        random = np.random.default_rng(1)
        targets = (random.random((400, 3)) < 0.3).astype(np.int8)
        scores = np.clip(targets * 0.8 + 0.1 + random.normal(0, 0.03, targets.shape), 0, 1)
        # Surer than the model usually is of either: confident learning takes no less.
        scores[5, 0], targets[5, 0] = 0.99, 0
        scores[17, 2], targets[17, 2] = 0.01, 1
        targets[40:60, 1] = -1
        found = suspected_errors(scores, targets)
        assert {(s.image, s.label) for s in found.shown[:2]} == {(5, 0), (17, 2)}
        assert all(targets[s.image, s.label] == s.present for s in found.shown)
        assert found.labels == 3

    def test_labels_with_too_few_images_are_skipped(self):
        pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed")
        scores, targets = drawn(labels=2)
        targets[:, 1] = np.where(targets[:, 1] == 1, 0, targets[:, 1])
        assert suspected_errors(scores, targets).labels == 1


class TestPictures:
    @pytest.fixture
    def places(self, tmp_path):
        path = tmp_path / "a.png"
        Image.new("RGB", (400, 200), "red").save(path)
        return Places.below(tmp_path, ("a.png", "missing.png"))

    def test_a_picture_is_small_and_keeps_its_shape(self, places):
        text = Pictures(places).draw(0, 0)
        assert text is not None
        picture = Image.open(io.BytesIO(base64.b64decode(text)))
        assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE // 2))

    def test_the_overlay_stands_beside_the_image(self, places):
        drawn = Pictures(places, lambda image, _: Image.new("RGB", image.size, "blue")).draw(0, 0)
        assert drawn is not None
        picture = Image.open(io.BytesIO(base64.b64decode(drawn)))
        left, right = picture.getpixel((SIDE // 2, 40)), picture.getpixel((SIDE * 3 // 2, 40))
        assert isinstance(left, tuple)
        assert isinstance(right, tuple)
        assert left[0] > 200 > 50 > left[2]
        assert right[2] > 200 > 50 > right[0]

    def test_images_that_fail_or_exceed_the_size_limit_are_counted(self, places):
        one = len(Pictures(places).draw(0, 0) or "")
        pictures = Pictures(places, budget=one + 5)
        assert pictures.draw(1, 0) is None
        assert pictures.draw(0, 0) is not None
        assert pictures.draw(0, 0) is None
        assert (pictures.unreadable, pictures.over_budget) == (1, 1)
