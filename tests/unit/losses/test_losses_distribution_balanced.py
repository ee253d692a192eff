"""Distribution-balanced loss against its equations written out, and cases by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from manylabel.config import parse
from manylabel.errors import ConfigError
from manylabel.losses import DistributionBalanced, DistributionBalancedConfig, LabelCounts

SETTINGS = {
    "the authors' for COCO": {},
    "without focusing": {"gamma": 0.0},
    "the authors' for VOC": {"middle": 0.3, "tolerance": 5.0},
    "others": {"floor": 0.5, "slope": 2.0, "middle": 0.6, "tolerance": 1.0, "prior": 0.4},
}
PRESENT, ABSENT = np.array([100, 20, 3, 40]), np.array([900, 980, 500, 0])
COUNTS = LabelCounts(PRESENT, ABSENT)
NEUTRAL = {"floor": 0.0, "slope": 1e-12, "tolerance": 1.0, "prior": 0.0, "gamma": 0.0}
"""Every weight a half, nothing else done."""


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def by_the_paper(logits, targets, config) -> float:
    total = 0.0
    for row, truths in zip(logits, targets, strict=True):
        shown = sum(1 / PRESENT[i] for i in range(4) if truths[i] == 1)
        for i in range(4):
            rate = (1 / PRESENT[i]) / shown if shown else math.inf
            far = config.slope * (rate - config.middle)
            weight = config.floor + (1.0 if far > 700 else sigmoid(far))
            odds = math.log(PRESENT[i] / max(ABSENT[i], 1))
            y = row[i] + config.prior * odds / config.tolerance
            if truths[i] == 1:
                total -= weight * (1 - sigmoid(y)) ** config.gamma * math.log(sigmoid(y))
            if truths[i] == 0:
                score = sigmoid(config.tolerance * y)
                total -= weight * score**config.gamma * math.log(1 - score) / config.tolerance
    return total / len(logits)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("seed", range(3))
def test_equation(settings, seed):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 2, (8, 4)), rng.integers(-1, 2, (8, 4))
    targets[0] = 0  # an image that shows nothing
    config = DistributionBalancedConfig.model_validate(settings)
    loss = DistributionBalanced(config, COUNTS)
    wanted = by_the_paper(logits, targets, config)
    found = loss(torch.from_numpy(logits), torch.from_numpy(targets))
    assert float(found) == pytest.approx(wanted, rel=1e-9)
    found = loss(torch.from_numpy(logits).float(), torch.from_numpy(targets))
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_without_its_parts_it_is_torchs_cross_entropy():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (8, 4)))
    targets = torch.from_numpy(rng.integers(0, 2, (8, 4)))
    loss = DistributionBalanced(DistributionBalancedConfig.model_validate(NEUTRAL), COUNTS)
    wanted = functional.binary_cross_entropy_with_logits(logits, targets.double(), reduction="sum")
    torch.testing.assert_close(loss(logits, targets), wanted / 8 / 2)


def test_an_image_is_shown_for_its_rarest_label():
    """Beside a label that is rarer, a common one counts less than alone."""
    settings = DistributionBalancedConfig.model_validate({**NEUTRAL, "slope": 10.0})
    loss = DistributionBalanced(settings, COUNTS)
    logits = torch.zeros(2, 4, requires_grad=True)
    loss(logits, torch.tensor([[1, 0, 0, 0], [1, 0, 1, 0]])).backward()
    assert logits.grad is not None
    alone, beside = logits.grad[:, 0].abs().tolist()
    assert alone > 5 * beside
    assert float(logits.grad[1, 2].abs()) == pytest.approx(
        0.5 * sigmoid(10 * (1 / (1 + 3 / 100) - 0.2)) / 2, rel=1e-5
    )


def test_an_absent_label_stops_pressing_earlier():
    pressure = []
    for tolerance in (1.0, 2.0, 5.0):
        settings = DistributionBalancedConfig.model_validate({**NEUTRAL, "tolerance": tolerance})
        logits = torch.full((1, 4), -2.0, requires_grad=True)  # in an image that shows nothing
        DistributionBalanced(settings, COUNTS)(logits, torch.zeros(1, 4)).backward()
        assert logits.grad is not None
        pressure.append(float(logits.grad[0, 0]))
    assert pressure == pytest.approx([sigmoid(-2 * t) for t in (1, 2, 5)], rel=1e-5)


def test_weights_are_of_known_targets():
    """An unknown rare label takes no weight from a common one that is present."""
    loss = DistributionBalanced(DistributionBalancedConfig(), COUNTS)
    found = loss(torch.zeros(1, 4), torch.tensor([[1, -1, -1, -1]]))
    config = DistributionBalancedConfig()
    shift = config.prior * math.log(100 / 900) / config.tolerance
    wanted = (0.1 + sigmoid(8)) * (1 - sigmoid(shift)) ** 2 * -math.log(sigmoid(shift))
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_smoothed_negative_is_refused():
    tables = {"unknown": {"name": "smoothed-negative"}}
    with pytest.raises(ConfigError, match="use 'weak-negative'"):
        parse(DistributionBalancedConfig, tables, where="recipe.toml")
