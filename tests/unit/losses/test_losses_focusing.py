"""Focal and asymmetric loss against their papers' equations, torchvision and timm."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from timm.loss import AsymmetricLossMultiLabel
from torchvision.ops import sigmoid_focal_loss

from manylabel.losses import Asymmetric, AsymmetricConfig, Focal, FocalConfig
from manylabel.losses.focusing import focusing

GAMMAS = [(0, 4), (1, 4), (2, 2), (0.5, 0.5), (0, 0)]
"""Gamma of present and of absent targets."""


def draw(seed: int = 0, *, known: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in 64 bits and int8 targets, about a third of them unknown unless all are known."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (6, 5)))
    return logits, torch.from_numpy(rng.integers(0 if known else -1, 2, (6, 5)).astype(np.int8))


def value_and_gradient(loss, logits):
    logits = logits.clone().requires_grad_()
    value = loss(logits)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def by_entry(logits, targets, cost) -> float:
    """The sum over known entries of cost(score, target), divided by the number of images."""
    pairs = zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    known = [(1 / (1 + math.exp(-z)), t) for z, t in pairs if t != -1]
    return sum(cost(p, t) for p, t in known) / len(logits)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_equation(alpha, gamma):
    def cost(p, t):
        right = p if t else 1 - p
        return -(alpha if t else 1 - alpha) * (1 - right) ** gamma * math.log(right)

    logits, targets = draw()
    found = Focal(FocalConfig(alpha=alpha, gamma=gamma))(logits, targets)
    assert float(found) == pytest.approx(by_entry(logits, targets, cost), rel=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_focal_is_torchvisions(gamma):
    logits, targets = draw(known=True)
    loss = Focal(FocalConfig(gamma=gamma))
    ours = value_and_gradient(lambda z: loss(z, targets), logits)
    theirs = value_and_gradient(
        lambda z: (
            sigmoid_focal_loss(z, targets.double(), alpha=0.25, gamma=gamma, reduction="sum") / 6
        ),
        logits,
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("of_present", "of_absent"), GAMMAS)
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.3])
def test_asymmetric_equation(of_present, of_absent, margin):
    def cost(p, t):
        if t:
            return -((1 - p) ** of_present) * math.log(p)
        lowered = max(p - margin, 0)
        return -(lowered**of_absent) * math.log(1 - lowered)

    logits, targets = draw()
    config = AsymmetricConfig(gamma_present=of_present, gamma_absent=of_absent, margin=margin)
    found = Asymmetric(config)(logits, targets)
    assert float(found) == pytest.approx(by_entry(logits, targets, cost), rel=1e-9)


@pytest.mark.parametrize(("of_present", "of_absent"), [(0, 4), (1, 4), (2, 2), (0, 0)])
@pytest.mark.parametrize("margin", [0.0, 0.05])
@pytest.mark.parametrize("gradient", [True, False])
def test_asymmetric_is_timms(of_present, of_absent, margin, gradient):
    """Value and gradient, focusing held constant or not. timm computes in 32 bits."""
    logits, targets = draw(known=True)
    logits = logits.float()
    ours = Asymmetric(
        AsymmetricConfig(
            gamma_present=of_present,
            gamma_absent=of_absent,
            margin=margin,
            focusing_gradient=gradient,
        )
    )
    timms = AsymmetricLossMultiLabel(
        gamma_pos=of_present,
        gamma_neg=of_absent,
        clip=margin,
        disable_torch_grad_focal_loss=not gradient,
    )
    torch.testing.assert_close(
        value_and_gradient(lambda z: ours(z, targets), logits),
        value_and_gradient(lambda z: timms(z, targets), logits),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_small_gamma_has_a_gradient_below_the_margin_where_timms_is_nan():
    logits, absent = torch.tensor([[-8.0]]), torch.tensor([[0]])
    config = AsymmetricConfig(gamma_present=0.5, gamma_absent=0.5)
    value, slope = value_and_gradient(lambda z: Asymmetric(config)(z, absent), logits)
    assert (float(value), float(slope)) == pytest.approx((0, 0))
    timms = AsymmetricLossMultiLabel(gamma_pos=0.5, gamma_neg=0.5)
    assert value_and_gradient(lambda z: timms(z, absent), logits)[1].isnan()


def test_a_present_label_far_down_is_still_learnt_where_timm_stops():
    """At a score of 1e-13 timm's clamp at 1e-8 gives 18.4 and no gradient; the formula gives 30."""
    logits, present = torch.tensor([[-30.0]]), torch.tensor([[1]])
    value, slope = value_and_gradient(lambda z: Asymmetric(AsymmetricConfig())(z, present), logits)
    assert (float(value), float(slope)) == pytest.approx((30, -1))
    timms = AsymmetricLossMultiLabel(gamma_pos=0)
    value, slope = value_and_gradient(lambda z: timms(z, present), logits)
    assert (float(value), float(slope)) == pytest.approx((-math.log(1e-8), 0))


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2])
def test_asymmetric_gradient_is_the_papers(margin):
    """Eq. 8: q^g (1 / (1 - q) - g log(1 - q) / q) p (1 - p) for absent targets, q = p - m."""
    logits = torch.linspace(-2.9, 6, 40, dtype=torch.float64)[None]
    loss = Asymmetric(AsymmetricConfig(margin=margin, gamma_absent=3))
    _, found = value_and_gradient(lambda z: loss(z, torch.zeros_like(z)), logits)
    p = torch.sigmoid(logits)
    q = p - margin
    slope = q**3 * (1 / (1 - q) - 3 * torch.log(1 - q) / q) * p * (1 - p)
    torch.testing.assert_close(found, torch.where(q > 0, slope, 0))


def test_absent_labels_below_the_margin_cost_nothing():
    logits = torch.tensor([[-3.0, -50.0, -2.9]])  # scores 0.047, 2e-22, 0.052
    loss = Asymmetric(AsymmetricConfig(gamma_absent=1))
    value, gradient = value_and_gradient(lambda z: loss(z, torch.zeros(1, 3)), logits)
    assert float(value) > 0
    assert (gradient[0] > 0).tolist() == [False, False, True]
    value, gradient = value_and_gradient(lambda z: loss(z, torch.zeros(1, 2)), logits[:, :2])
    assert float(value) == 0
    assert not gradient.any()


def test_without_a_gamma_all_weigh_one():
    assert focusing(torch.tensor([0.0, 0.3, 1.0]), 0.0).tolist() == [1, 1, 1]


@pytest.mark.parametrize("gamma", [0.3, 1.0, 4.0])
def test_focusing_has_a_finite_slope_at_zero(gamma):
    wrong = torch.tensor([0.0, 1e-30, 0.25, 1.0], requires_grad=True)
    weights = focusing(wrong, gamma)
    (slope,) = torch.autograd.grad(weights.sum(), wrong)
    assert torch.isfinite(slope).all()
    wanted = [(1.175e-38**gamma), 1e-30**gamma, 0.25**gamma, 1]
    assert weights.tolist() == pytest.approx(wanted, rel=1e-3, abs=1e-37)
