"""Two-way loss against its equation written out, softmax cross-entropy, and cases by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from cases import case
from torch.nn import functional

from manylabel.config import parse
from manylabel.errors import ConfigError
from manylabel.losses import IgnoreConfig, NegativeConfig, TwoWay, TwoWayConfig

IGNORE, NEGATIVE = (
    TwoWay(TwoWayConfig()),
    TwoWay(TwoWayConfig(unknown=NegativeConfig())),
)


def by_the_paper(logits, targets, hot: float, cold: float) -> float:
    """The mean over images that show something, and over labels that are shown, added."""
    total = 0.0
    for z, t in ((logits, targets), (logits.T, targets.T)):
        lines = []
        for values, truths in zip(z, t, strict=True):
            present, absent = values[truths == 1], values[truths == 0]
            if not len(present):
                continue
            if len(absent):
                highest = cold * math.log(sum(math.exp(v / cold) for v in absent))
                lowest = -hot * math.log(sum(math.exp(-v / hot) for v in present))
                lines.append(math.log(1 + math.exp(highest - lowest)))
            else:
                lines.append(0.0)
        total += sum(lines) / max(1, len(lines))
    return total


@pytest.mark.parametrize("unknown", ["ignore", "negative"])
@pytest.mark.parametrize(("hot", "cold"), [(4.0, 1.0), (1.0, 1.0), (0.5, 3.0)])
def test_equation(hot, cold, unknown):
    config = TwoWayConfig(
        temperature_present=hot,
        temperature_absent=cold,
        unknown=IgnoreConfig() if unknown == "ignore" else NegativeConfig(),
    )
    for seed, shape in product(range(4), [(7, 5), (1, 6), (6, 1), (3, 2)]):
        rng = np.random.default_rng(seed)
        logits, targets = rng.normal(0, 2, shape), rng.integers(-1, 2, shape)
        meant = targets if unknown == "ignore" else np.maximum(targets, 0)
        wanted = by_the_paper(logits, meant, hot, cold)
        found = TwoWay(config)(torch.from_numpy(logits), torch.from_numpy(targets))
        with case(seed=seed, shape=shape):
            assert float(found) == pytest.approx(wanted, rel=1e-9)


def test_with_one_label_an_image_it_is_softmax_cross_entropy_both_ways():
    """Whatever the temperature of present labels: there is one."""
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (6, 6)))
    truth = torch.arange(6)
    wanted = functional.cross_entropy(logits, truth) + functional.cross_entropy(logits.T, truth)
    torch.testing.assert_close(IGNORE(logits, torch.eye(6)), wanted)


def test_by_hand():
    """One image, a present and an absent label alike: log 2; no label has an absent image."""
    targets = torch.tensor([[1, 0]])
    assert float(IGNORE(torch.zeros(1, 2), targets)) == pytest.approx(math.log(2))
    assert float(IGNORE(torch.tensor([[3.0, 3.0 - math.log(3)]]), targets)) == pytest.approx(
        math.log(4 / 3)
    )


@pytest.mark.parametrize("value", [1, 0, -1])
def test_where_nothing_can_be_ranked_it_is_zero_with_a_graph(value):
    logits = torch.randn(3, 4, requires_grad=True, generator=torch.Generator().manual_seed(0))
    found = IGNORE(logits, torch.full((3, 4), value))
    assert float(found.detach()) == 0
    (gradient,) = torch.autograd.grad(found, logits)
    assert not gradient.any()


def test_images_and_labels_without_a_present_target_are_in_no_mean():
    """Their absent targets still stand in the sums of the others' labels."""
    logits, targets = torch.zeros(2, 2), torch.tensor([[1, 0], [0, 0]])
    assert float(IGNORE(logits, targets)) == pytest.approx(2 * math.log(2))


def test_only_differences_count():
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (5, 4)))
    targets = torch.from_numpy(np.random.default_rng(1).integers(-1, 2, (5, 4)))
    torch.testing.assert_close(IGNORE(logits + 17, targets), IGNORE(logits, targets))


def test_images_and_labels_are_treated_alike():
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (5, 4)))
    targets = torch.from_numpy(np.random.default_rng(1).integers(-1, 2, (5, 4)))
    torch.testing.assert_close(IGNORE(logits.T, targets.T), IGNORE(logits, targets))


def test_unknown_as_negative_is_pushed_down():
    logits = torch.zeros(1, 3, requires_grad=True)
    targets = torch.tensor([[1, 0, -1]])
    for loss, pushed in ((IGNORE, False), (NEGATIVE, True)):
        (gradient,) = torch.autograd.grad(loss(logits, targets), logits)
        assert bool(gradient[0, 2] > 0) is pushed
        assert bool(gradient[0, 2] == 0) is not pushed


@pytest.mark.parametrize("name", ["weak-negative", "smoothed-negative", "entropy"])
def test_what_needs_losses_of_entries_is_refused(name):
    with pytest.raises(ConfigError) as error:
        parse(TwoWayConfig, {"unknown": {"name": name}}, where="recipe.toml")
    assert error.value.what.startswith("'unknown' does not fit: 'two-way' ranks whole images")


def test_there_is_no_reduction_to_set():
    with pytest.raises(ConfigError, match="Unknown key 'reduction'"):
        parse(TwoWayConfig, {"reduction": "mean_over_labels"}, where="recipe.toml")
