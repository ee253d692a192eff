"""Sigmoid cross-entropy against its formula in NumPy and against torch."""

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
from manylabel.losses import BCE, BCEConfig

REDUCTIONS = ("sum_over_labels", "mean_over_labels")
over_reductions = pytest.mark.parametrize("reduction", REDUCTIONS)


def loss(reduction: str) -> BCE:
    return BCE(BCEConfig.model_validate({"reduction": reduction}))


def draw(images: int = 6, labels: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and int8 targets, about a third of them unknown."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (images, labels)).astype(np.float32))
    return logits, torch.from_numpy(rng.integers(-1, 2, (images, labels)).astype(np.int8))


def by_formula(logits: torch.Tensor, targets: torch.Tensor, reduction: str) -> float:
    """-(t log p + (1 - t) log(1 - p)) of each known target; over labels, then over images."""
    total = 0.0
    for row, truths in zip(logits.double().tolist(), targets.tolist(), strict=True):
        for logit, truth in zip(row, truths, strict=True):
            score = 1 / (1 + math.exp(-logit))
            if truth == 1:
                total -= math.log(score)
            if truth == 0:
                total -= math.log(1 - score)
    images, labels = logits.shape
    return total / images / (labels if reduction == "mean_over_labels" else 1)


@over_reductions
@pytest.mark.parametrize("seed", range(3))
def test_formula(reduction, seed):
    logits, targets = draw(seed=seed)
    found = loss(reduction)(logits, targets)
    assert found.ndim == 0
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(by_formula(logits, targets, reduction), rel=1e-5)


def test_by_hand():
    """Logit 0 costs log 2 whatever the truth; one image has two of them, the other one."""
    logits = torch.zeros(2, 3)
    targets = torch.tensor([[1, 0, -1], [-1, -1, 0]], dtype=torch.int8)
    assert float(loss("sum_over_labels")(logits, targets)) == pytest.approx(1.5 * math.log(2))
    assert float(loss("mean_over_labels")(logits, targets)) == pytest.approx(0.5 * math.log(2))


@pytest.mark.parametrize(
    ("reduction", "torchs"), [("sum_over_labels", "sum"), ("mean_over_labels", "mean")]
)
def test_value_and_gradient_are_torchs_where_everything_is_known(reduction, torchs):
    logits, targets = draw()
    targets = targets.clamp(min=0)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = loss(reduction)(ours, targets)
    expected = functional.binary_cross_entropy_with_logits(
        theirs, targets.float(), reduction=torchs
    )
    if torchs == "sum":
        expected = expected / len(logits)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, x)[0] for value, x in ((found, ours), (expected, theirs)))
    )


@over_reductions
def test_unknown_targets_change_neither_value_nor_gradient(reduction):
    """Whatever their logits: the known ones keep their loss, the unknown ones a gradient of 0."""
    logits, targets = draw()
    unknown = targets == -1
    assert unknown.any()
    assert not unknown.all()
    results = []
    for value in (0.0, 50.0, -1e4):
        changed = torch.where(unknown, value, logits).requires_grad_()
        found = loss(reduction)(changed, targets)
        (gradient,) = torch.autograd.grad(found, changed)
        assert (gradient[unknown] == 0).all()
        assert (gradient[~unknown] != 0).all()
        results.append((found.detach(), gradient))
    for found, gradient in results[1:]:
        assert torch.equal(found, results[0][0])
        assert torch.equal(gradient, results[0][1])


@over_reductions
def test_an_image_without_a_known_target_costs_nothing_and_counts(reduction):
    """The mean is over all images, so that a loss is no larger where less is known."""
    logits, targets = draw(images=1)
    targets = targets.clamp(min=0)
    alone = loss(reduction)(logits, targets)
    beside = loss(reduction)(logits.repeat(2, 1), torch.cat([targets, targets * 0 - 1]))
    torch.testing.assert_close(beside, alone / 2)
    assert float(loss(reduction)(logits, targets * 0 - 1)) == 0


def test_the_sum_is_the_mean_times_the_number_of_labels():
    logits, targets = draw(labels=80)
    summed, averaged = (loss(reduction)(logits, targets) for reduction in REDUCTIONS)
    torch.testing.assert_close(summed, 80 * averaged)


@over_reductions
def test_it_does_not_depend_on_the_batch_size(reduction):
    logits, targets = draw()
    once, twice = (loss(reduction)(logits.repeat(k, 1), targets.repeat(k, 1)) for k in (1, 2))
    torch.testing.assert_close(once, twice)


@over_reductions
def test_far_logits_stay_finite(reduction):
    """Half precision ends at 65504; the sum over 80 labels of 1e4 lies beyond."""
    share = 80 if reduction == "sum_over_labels" else 1
    dtypes = torch.float16, torch.bfloat16, torch.float32
    for dtype, logit, target in product(dtypes, [1e4, -1e4], [1, 0, -1]):
        with case(dtype=dtype, logit=logit, target=target):
            logits = torch.full((2, 80), logit, dtype=dtype, requires_grad=True)
            found = loss(reduction)(logits, torch.full((2, 80), target, dtype=torch.int8))
            found.backward()
            wrong = (logit > 0) != (target == 1) and target != -1
            assert found.dtype == torch.float32
            assert found.item() == pytest.approx(share * 1e4 if wrong else 0, rel=1e-2)
            assert logits.grad is not None
            assert logits.grad.dtype == dtype
            assert torch.isfinite(logits.grad).all()


def test_autocast_does_not_lower_its_precision():
    logits, targets = draw()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss("sum_over_labels")(logits, targets)
    assert torch.equal(found, loss("sum_over_labels")(logits, targets))


@pytest.mark.parametrize("enabled", [True, False])
def test_autograds_mode_is_left_alone(enabled):
    """Known losses switch gradients off and on again, for whoever runs beside them."""
    logits, targets = draw()
    with torch.set_grad_enabled(enabled):
        found = loss("sum_over_labels")(logits.requires_grad_(), targets)
        assert torch.is_grad_enabled() is enabled
    assert found.requires_grad is enabled


def test_arguments_are_left_alone():
    logits, targets = draw()
    before = logits.clone(), targets.clone()
    loss("sum_over_labels")(logits, targets)
    assert torch.equal(logits, before[0])
    assert torch.equal(targets, before[1])


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float32])
def test_targets_of_any_type(dtype):
    logits, targets = draw()
    found = loss("sum_over_labels")(logits, targets.to(dtype))
    assert torch.equal(found, loss("sum_over_labels")(logits, targets))


def test_the_default_is_the_authors_scale():
    assert BCEConfig().reduction == "sum_over_labels"


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ConfigError, match=r"'reduction' does not fit"):
        parse(BCEConfig, {"reduction": "mean"}, where="recipe.toml")
