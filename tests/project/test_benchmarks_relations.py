"""The controls of the study of relations, and its average precision, intervals and scaling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from benchmarks.relations.contenders import ALL, changed, shuffle_labels, shuffle_places
from benchmarks.relations.shares import Interval, average_precisions, calibrated, draws_of
from manylabel.models.heads.srn_modern import RelativeRelations, SRNModernConfig
from manylabel.train.config import resolve


def maps() -> torch.Tensor:
    return torch.arange(2 * 3 * 16, dtype=torch.float32).view(2, 3, 4, 4)


def test_shuffled_places_keep_the_labels_of_a_position_together():
    torch.manual_seed(0)
    before, after = maps().flatten(2), shuffle_places(maps()).flatten(2)
    for image in range(2):
        columns = {tuple(column) for column in before[image].T.tolist()}
        assert {tuple(column) for column in after[image].T.tolist()} == columns
    assert (before != after).any()
    assert (after[0] - before[0, :, :1] != after[1] - before[1, :, :1]).any(), "one order for all"


def test_shuffled_labels_keep_each_map_whole():
    torch.manual_seed(0)
    after = shuffle_labels(maps().repeat(20, 1, 1, 1))
    orders = set()
    for image, mixed in enumerate(after):
        own = maps()[image % 2]
        order = [next(i for i in range(3) if torch.equal(one, own[i])) for one in mixed]
        assert sorted(order) == [0, 1, 2]
        orders.add(tuple(order))
    assert len(orders) == 6


def test_a_change_reaches_the_regulariser_only_within_its_block():
    config = SRNModernConfig(channels=5, relation_channels=4)
    regulariser = RelativeRelations(config, 3).eval()
    weighted, features = torch.rand(2, 3, 4, 4), torch.rand(2, 5, 4, 4)

    def answer(u: torch.Tensor) -> torch.Tensor:
        return regulariser(u, features).logits

    with torch.no_grad():
        plain = answer(weighted)
        with changed(torch.zeros_like):
            changed_answer = answer(weighted)
        assert torch.equal(changed_answer, answer(torch.zeros_like(weighted)))
        assert not torch.equal(changed_answer, plain)
        assert torch.equal(answer(weighted), plain)


def test_average_precision_of_a_draw_is_that_of_the_images_drawn():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(60, 4)), (rng.random((60, 4)) < 0.3).astype(np.int8)
    drawn = draws_of(60)[:5]
    found = average_precisions(scores, targets, drawn)
    for row, weights in zip(found, drawn, strict=True):
        rows = np.repeat(np.arange(60), weights)
        expected = 100 * average_precision_score(targets[rows], scores[rows], average=None)
        # The copies of an image are a tie, and count with the precision at the last of them.
        assert row == pytest.approx(expected, abs=1e-9)


def test_an_interval_holds_the_middle_of_the_draws_and_not_the_figure():
    found = Interval.of(np.concatenate([[500.0], np.arange(101.0)]))
    assert (found.value, found.low, found.high) == (500.0, 2.5, 97.5)


def test_scaling_is_that_of_a_logistic_regression_on_smoothed_targets():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 1)) * 3
    targets = (rng.random((400, 1)) < 1 / (1 + np.exp(-(0.5 * logits - 1)))).astype(np.int8)
    positives = int(targets.sum())
    high, low = (positives + 1) / (positives + 2), 1 / (400 - positives + 2)
    smooth = np.where(targets[:, 0] > 0, high, low)
    # A smoothed target is one positive and one negative image with weights.
    twice = np.concatenate([logits, logits])
    fitted = LogisticRegression(C=1e6, tol=1e-10, max_iter=1000).fit(
        twice, np.repeat([1, 0], 400), sample_weight=np.concatenate([smooth, 1 - smooth])
    )
    expected = fitted.predict_proba(logits)[:, 1]
    assert calibrated(logits, targets, logits)[:, 0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_every_contender_has_a_recipe_with_and_without_a_frozen_backbone(name):
    backbone = {"name": "test_resnet", "pretrained": False}
    for frozen in (True, False):
        steps = ALL[name].tables(frozen=frozen, times=2)
        tables = {"head": dict(ALL[name].head), "steps": steps, "backbone": backbone}
        config = resolve(tables, where=name)
        assert sum(step.epochs for step in config.steps) == 2 * sum(n for _, n in ALL[name].steps)
