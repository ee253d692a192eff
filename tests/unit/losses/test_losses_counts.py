"""Counts of training targets, and what is weighed by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from manylabel.config import parse, to_tables
from manylabel.errors import ConfigError
from manylabel.losses import (
    BCE,
    BCEConfig,
    DistributionBalanced,
    DistributionBalancedConfig,
    LabelCounts,
)

TRUTH = np.array([[1, 0, -1], [1, 0, 1], [0, 0, -1], [0, 1, -1], [0, 0, 1]], dtype=np.int8)
LOGITS = torch.from_numpy(np.random.default_rng(0).normal(0, 2, TRUTH.shape))
TARGETS = torch.from_numpy(TRUTH)


def of_known(weight, targets=None) -> torch.Tensor:
    """Torch's own weighted loss, unknown entries taken out."""
    entries = functional.binary_cross_entropy_with_logits(
        LOGITS,
        (TARGETS == 1).double() if targets is None else targets,
        pos_weight=torch.tensor(weight, dtype=torch.float64),
        reduction="none",
    )
    return entries[TARGETS != -1].sum() / len(TRUTH)


def test_counts_by_hand():
    counts = LabelCounts.of(TRUTH)
    assert counts.present.tolist() == [2, 1, 2]
    assert counts.absent.tolist() == [3, 4, 0]
    assert counts.absent_per_present.tolist() == [1.5, 4, 0.5]


def test_a_label_without_a_present_target_has_a_finite_ratio():
    counts = LabelCounts.of(np.zeros((7, 2), dtype=np.int8))
    assert counts.absent_per_present.tolist() == [7, 7]


@pytest.mark.parametrize(
    ("setting", "weight"),
    [(3, [3, 3, 3]), ([0.5, 2, 1], [0.5, 2, 1]), ("balanced", [1.5, 4, 0.5]), (1.0, [1, 1, 1])],
)
def test_positive_weights_are_torchs(setting, weight):
    config = parse(BCEConfig, {"pos_weight": setting}, where="recipe.toml")
    found = BCE(config, LabelCounts.of(TRUTH))(LOGITS, TARGETS)
    torch.testing.assert_close(found, of_known(weight))


def test_balanced_gives_each_label_as_much_gradient_up_as_down():
    """At a score of a half, which is where it then stays without further knowledge."""
    targets = torch.from_numpy(np.random.default_rng(1).random((50, 4)) < 0.2).to(torch.int8)
    loss = BCE(BCEConfig(pos_weight="balanced"), LabelCounts.of(targets.numpy()))
    logits = torch.zeros(50, 4, requires_grad=True)
    loss(logits, targets).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.sum(0), torch.zeros(4))


@pytest.mark.parametrize("weight", [[1.0, 1.0, 1.0], [0.5, 2.0, 4.0]])
def test_smoothing_is_softer_targets(weight):
    soft = torch.where(TARGETS == 1, 0.9, 0.1).double()
    found = BCE(BCEConfig(smoothing=0.1, pos_weight=tuple(weight)))(LOGITS, TARGETS)
    torch.testing.assert_close(found, of_known(weight, soft))


def test_without_settings_it_is_the_same_as_ever():
    found = BCE(BCEConfig())(LOGITS.float(), TARGETS)
    entries = functional.binary_cross_entropy_with_logits(
        LOGITS.float(), (TARGETS == 1).float(), reduction="none"
    )
    assert torch.equal(found, torch.where(TARGETS == -1, 0, entries).sum(1).mean())


@pytest.mark.parametrize("setting", [2.5, [0.5, 2.0, 1.0], "balanced"])
def test_a_written_recipe_reads_as_it_was(setting):
    config = parse(BCEConfig, {"pos_weight": setting}, where="recipe.toml")
    assert to_tables(config)["pos_weight"] == setting
    assert parse(BCEConfig, to_tables(config), where="recipe.toml") == config


@pytest.mark.parametrize(
    "setting", [0, -1, [], [1, 0], [1, "2"], "balance", True, float("inf"), float("nan"), None, {}]
)
def test_a_weight_that_does_not_fit_is_told_in_one_sentence(setting):
    with pytest.raises(ConfigError) as error:
        parse(BCEConfig, {"pos_weight": setting}, where="recipe.toml")
    assert error.value.what == (
        "'pos_weight' does not fit: give a number above 0, a list of such numbers, or 'balanced'."
    )


def test_one_weight_a_label():
    with pytest.raises(ConfigError, match="has 2 numbers for 3 labels"):
        BCE(BCEConfig(pos_weight=(1.0, 2.0)), LabelCounts.of(TRUTH))


@pytest.mark.parametrize(
    ("kind", "config", "what"),
    [
        (BCE, BCEConfig(pos_weight="balanced"), "pos_weight = 'balanced'"),
        (DistributionBalanced, DistributionBalancedConfig(), "The loss 'distribution-balanced'"),
    ],
)
def test_counts_that_are_needed_are_asked_for(kind, config, what):
    with pytest.raises(ConfigError) as error:
        kind(config)
    assert error.value.what.startswith(what)
    assert "LabelCounts.of" in error.value.fix
