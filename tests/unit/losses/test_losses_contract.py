"""What every loss keeps to, over the table and over each loss's settings."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from cases import case
from hypothesis import given, settings
from hypothesis import strategies as st

from manylabel.losses import LOSSES, LabelCounts, Loss

VARIANTS: dict[str, dict[str, Any]] = {
    "bce": {},
    "bce, weighted": {"pos_weight": "balanced"},
    "bce, smoothed": {"smoothing": 0.05, "reduction": "mean_over_labels"},
    "asymmetric": {},
    "asymmetric, no margin": {"margin": 0.0, "gamma_present": 1.0, "gamma_absent": 2.0},
    "asymmetric, small gammas": {"gamma_present": 0.3, "gamma_absent": 0.7, "margin": 1e-9},
    "asymmetric, constant weights": {"focusing_gradient": False},
    "focal": {},
    "focal, small gamma": {"gamma": 0.4, "alpha": 0.6, "reduction": "mean_over_labels"},
    "two-way": {},
    "two-way, cold": {"temperature_present": 0.5, "temperature_absent": 0.25},
    "distribution-balanced": {},
    "distribution-balanced, plain": {"gamma": 0.0, "tolerance": 5.0, "prior": 1.0},
}
"""A loss's name (up to the comma) and its settings."""

HALF_AND_SINGLE = (torch.float16, torch.bfloat16, torch.float32)

SMALL = settings(max_examples=40, deadline=None, database=None, derandomize=True)
over_variants = pytest.mark.parametrize("variant", VARIANTS)


def build(variant: str, present: np.ndarray) -> Loss:
    """The loss, its training set being 100 images in which labels are present so often."""
    config, loss = LOSSES[variant.partition(",")[0]]
    counts = LabelCounts(present, 100 - present)
    return loss(config.model_validate(VARIANTS[variant]), counts)


def frequencies(labels: int) -> np.ndarray:
    """Present images of 100, from common to rare."""
    return np.linspace(50, 1, labels).astype(np.int64)


def loss_of(variant: str, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return build(variant, frequencies(logits.shape[1]))(logits, targets)


def draw(images: int = 6, labels: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in 64 bits and int8 targets, about a third of them unknown."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 3, (images, labels)))
    return logits, torch.from_numpy(rng.integers(-1, 2, (images, labels)).astype(np.int8))


def gradient_of(variant: str, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss_of(variant, logits, targets), logits)[0]


def test_every_loss_is_here():
    assert {variant.partition(",")[0] for variant in VARIANTS} == set(LOSSES)
    for name, (config, _) in LOSSES.items():
        assert config().model_dump()["name"] == name


@over_variants
def test_gradient(variant):
    logits, targets = draw(4, 4, seed=3)
    if VARIANTS[variant].get("focusing_gradient") is False:
        pytest.skip("weights held constant: by intent not the slope of the value")
    assert torch.autograd.gradcheck(lambda z: loss_of(variant, z, targets), logits.requires_grad_())


def filled(value: float) -> torch.Tensor:
    """The same logit or target for 4 images and 80 labels."""
    return torch.full((4, 80), value)


ROWS, COLUMNS = torch.meshgrid(torch.arange(4), torch.arange(80), indexing="ij")
FAR_LOGITS = {
    **{f"{value:g}": filled(value) for value in (1e4, -1e4, 0.0)},
    "both signs": (1 - 2 * ((ROWS + COLUMNS) % 2)) * 1e4,
}
FAR_TARGETS = {
    **{str(value): filled(value) for value in (1, 0, -1)},
    "all three": (COLUMNS + ROWS // 2) % 3 - 1,
}


@over_variants
def test_far_logits_stay_finite(variant):
    """80 labels at 1e4 each lie beyond what 16 bits hold; gradients are those of the logits."""
    loss = build(variant, frequencies(80))
    for dtype, far, target in product(HALF_AND_SINGLE, FAR_LOGITS, FAR_TARGETS):
        with case(dtype=dtype, logits=far, targets=target):
            logits = FAR_LOGITS[far].to(dtype, copy=True).requires_grad_()
            found = loss(logits, FAR_TARGETS[target].to(torch.int8))
            found.backward()
            assert found.dtype == torch.float32
            assert torch.isfinite(found)
            assert found >= 0
            assert logits.grad is not None
            assert logits.grad.dtype == dtype
            assert torch.isfinite(logits.grad).all()


@over_variants
def test_sixteen_bits_cost_no_precision_of_their_own(variant):
    """The loss of half-precision logits is that of the same numbers in 64 bits."""
    logits, targets = draw(32, 80)
    for dtype in (torch.float16, torch.bfloat16):
        found = loss_of(variant, logits.to(dtype), targets)
        wanted = loss_of(variant, logits.to(dtype).double(), targets).float()
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0)


@over_variants
def test_autocast_does_not_lower_its_precision(variant):
    logits, targets = draw()
    plain = loss_of(variant, logits.float(), targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss_of(variant, logits.float(), targets), plain)


@over_variants
def test_ignored_logits_change_not_one_bit(variant):
    """Neither of the loss nor of any gradient, however wild they are."""
    logits, targets = draw(12, 9)
    unknown = targets == -1
    for dtype in (torch.float64, torch.float32, torch.float16):
        first = torch.where(unknown, 0.0, logits).to(dtype)
        wanted = loss_of(variant, first, targets), gradient_of(variant, first, targets)
        assert not wanted[1][unknown].any(), dtype
        assert wanted[1][~unknown].any(), dtype
        for value in (1e4, -1e4):
            with case(dtype=dtype, value=value):
                changed = torch.where(unknown, value, logits).to(dtype)
                assert torch.equal(loss_of(variant, changed, targets), wanted[0])
                assert torch.equal(gradient_of(variant, changed, targets), wanted[1])


@over_variants
def test_with_nothing_known_it_is_zero_with_a_graph(variant):
    logits = draw()[0].requires_grad_()
    found = loss_of(variant, logits, torch.full((6, 5), -1, dtype=torch.int8))
    assert found.requires_grad
    assert float(found.detach()) == 0
    assert not torch.autograd.grad(found, logits)[0].any()


@over_variants
def test_autograd_is_left_as_it_was(variant):
    logits, targets = draw()
    logits.requires_grad_()
    for enabled in (True, False):
        with case(enabled=enabled), torch.set_grad_enabled(enabled):
            found = loss_of(variant, logits, targets)
            assert torch.is_grad_enabled() is enabled
            assert found.requires_grad is enabled


@over_variants
def test_arguments_are_left_alone(variant):
    logits, targets = draw()
    before = logits.clone(), targets.clone()
    loss_of(variant, logits, targets)
    assert torch.equal(logits, before[0])
    assert torch.equal(targets, before[1])


@over_variants
def test_targets_of_any_type(variant):
    logits, targets = draw()
    wanted = loss_of(variant, logits, targets)
    for dtype in (torch.int64, torch.float32):
        assert torch.equal(loss_of(variant, logits, targets.to(dtype)), wanted), dtype


@over_variants
def test_one_image_and_one_label(variant):
    for shape, target in product([(1, 1), (1, 4), (4, 1)], [1, 0, -1]):
        gradient = gradient_of(variant, torch.ones(shape), torch.full(shape, target))
        assert torch.isfinite(gradient).all(), (shape, target)


@over_variants
@SMALL
@given(seed=st.integers(0, 10**6), images=st.integers(1, 6), labels=st.integers(1, 6))
def test_the_order_of_images_and_labels_is_nothing(variant, seed, images, labels):
    logits, targets = draw(images, labels, seed)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(images), rng.permutation(labels)
    shuffled = build(variant, frequencies(labels)[columns])(
        logits[rows][:, columns], targets[rows][:, columns]
    )
    torch.testing.assert_close(shuffled, loss_of(variant, logits, targets))


@over_variants
@SMALL
@given(
    seed=st.integers(0, 10**6),
    entry=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    further=st.floats(0, 30),
)
def test_a_logit_nearer_to_its_truth_never_costs_more(variant, seed, entry, further):
    if VARIANTS[variant].get("smoothing"):
        further = 0.0  # smoothed targets are met at a finite logit
    logits, targets = draw(4, 4, seed)
    if targets[entry] == -1:
        return
    moved = logits.clone()
    moved[entry] += further if targets[entry] == 1 else -further
    before, after = (float(loss_of(variant, z, targets)) for z in (logits, moved))
    assert after <= before + 1e-12 * (1 + before)


@over_variants
def test_every_known_target_pulls_its_own_way(variant):
    """Between images and labels that show both: present logits up, absent ones down."""
    logits = torch.zeros(4, 4, dtype=torch.float64)
    targets = torch.eye(4)
    gradient = gradient_of(variant, logits, targets)
    assert torch.equal(torch.sign(gradient), 1 - 2 * targets.double())


@over_variants
def test_it_compiles_into_one_graph(variant):
    """Forward and backward, without a break, with the same bits."""
    logits, targets = draw(8, 5)
    logits = logits.float()
    loss = build(variant, frequencies(5))
    torch.compiler.reset()
    compiled = torch.compile(lambda z, t: loss(z, t), fullgraph=True, backend="aot_eager")
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found, wanted = loss(ours, targets), compiled(theirs, targets)
    torch.testing.assert_close(wanted, found)
    torch.testing.assert_close(
        torch.autograd.grad(wanted, theirs)[0], torch.autograd.grad(found, ours)[0]
    )
